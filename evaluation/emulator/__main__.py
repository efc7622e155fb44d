"""One or more emulated endpoints as a process of their own.

    python -m evaluation.emulator --spec FILE

Once all of them listen it prints one JSON line for each, `{"name": …, "url": …, "api_base": …}`. It ends on SIGINT or
SIGTERM.
"""

import contextlib
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import pydantic
import typer
import yaml

from .server import Host
from .spec import read_specs


def main(
    *,
    spec: Annotated[Path, typer.Option(help="YAML or JSON list of endpoints, with the fields of EndpointSpec.")],
    until_stdin_closes: Annotated[
        bool, typer.Option("--until-stdin-closes", help="End with the process that started this one.")
    ] = False,
) -> None:
    """Serves the endpoints of a list."""
    if until_stdin_closes:
        threading.Thread(target=_follow_stdin, daemon=True).start()
    try:
        host = Host(read_specs(spec), on_ready=lambda: _announce(host))
    except (pydantic.ValidationError, yaml.YAMLError, OSError) as error:
        raise typer.BadParameter(str(error), param_hint="--spec") from error
    with contextlib.suppress(KeyboardInterrupt):
        host.serve_until_stopped()


def _follow_stdin() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _announce(host: Host) -> None:
    for handle in host.handles:
        print(json.dumps({"name": handle.name, "url": handle.url, "api_base": handle.api_base}), flush=True)


if __name__ == "__main__":
    typer.run(main)
