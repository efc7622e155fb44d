"""`python -m evaluation.emulator`: one or more emulated endpoints as a process of their own.

Once all of them listen it prints one JSON line for each, `{"name": …, "url": …, "api_base": …}`. It ends on SIGINT or
SIGTERM.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
from dataclasses import fields
from pathlib import Path

import pydantic
import yaml

from .server import Host
from .spec import EndpointSpec, read_specs


def main(arguments: list[str] | None = None) -> None:
    """Serve what the command line describes."""
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    path: Path | None = options.pop("spec")
    if options.pop("until_stdin_closes"):
        threading.Thread(target=_follow_stdin, daemon=True).start()
    if (path is None) == (not options):
        parser.error("say either --model NAME, with options, or --spec FILE")
    try:
        specs = read_specs(path) if path else [EndpointSpec(**options)]
        host = Host(specs, on_ready=lambda: _announce(host))
    except (pydantic.ValidationError, yaml.YAMLError, OSError) as error:
        parser.error(str(error))
    with contextlib.suppress(KeyboardInterrupt):
        host.serve_until_stopped()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m evaluation.emulator", description=EndpointSpec.__doc__)
    parser.add_argument("--spec", type=Path, metavar="FILE", help="YAML or JSON list of endpoints with these fields")
    until = "end with the process that started this one"
    parser.add_argument("--until-stdin-closes", action="store_true", help=until)
    for field in fields(EndpointSpec):
        flag = "--model" if field.name == "name" else "--" + field.name.replace("_", "-")
        parser.add_argument(flag, dest=field.name, metavar="VALUE", default=argparse.SUPPRESS)
    return parser


def _follow_stdin() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _announce(host: Host) -> None:
    for handle in host.handles:
        print(json.dumps({"name": handle.name, "url": handle.url, "api_base": handle.api_base}), flush=True)


if __name__ == "__main__":
    main()
