"""`python -m evaluation.demo [--keep] [--real | --endpoints FILE]`: what `make demo` calls."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from evaluation.demo.endpoints import EXAMPLE, emulated, own, real
from evaluation.demo.errors import DemoError
from evaluation.demo.modes import EMULATED, OWN, REAL
from evaluation.demo.scenario import GROUP, middle
from evaluation.demo.stack import Stack
from evaluation.demo.story import Narrator, Story
from evaluation.shared.results import OPTION
from slo_router.contract.redis.link import LINK_ERRORS
from slo_router.errors import SloRouterError

WIDTH = 100
EXPECTED = (DemoError, SloRouterError, RuntimeError, OSError, *LINK_ERRORS)
STOPPING = (signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Runs the demo and stops everything that it started, whatever happens. Returns the exit status."""
    options = _parser().parse_args()
    width = min(Console().width, WIDTH) if sys.stdout.isatty() else WIDTH
    narrator = Narrator(Console(width=width, highlight=False, markup=False))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores SIGINT in background jobs
    for number in STOPPING:
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    exits, status = ExitStack(), 0
    try:
        _run(options, exits, narrator)
    except KeyboardInterrupt:
        narrator.say("\nstopping …")
        status = 128 + signal.SIGINT
    except EXPECTED as error:
        narrator.console.print(f"\n{error}", style="red", soft_wrap=True)
        status = 1
    finally:
        for number in (signal.SIGINT, *STOPPING):
            signal.signal(number, signal.SIG_IGN)  # no signal interrupts the stopping
        exits.close()
    narrator.say(f"\n{narrator.elapsed_s:.0f} seconds. Everything that was started is stopped.")
    return status


def _run(options: argparse.Namespace, exits: ExitStack, narrator: Narrator) -> None:
    listed = own(options.endpoints) if options.endpoints else None
    directory = Path(tempfile.mkdtemp(prefix="slo-demo-"))
    narrator.say(f"Configuration, records and logs are kept in {directory}")
    if listed is not None:
        mode, endpoints = OWN, listed
    elif options.real:
        mode, endpoints = REAL, exits.enter_context(real())
    else:
        mode, endpoints = EMULATED, exits.enter_context(emulated())
    story = Story(mode, endpoints, directory, narrator, is_saved=options.save)
    stack = story.start(exits)
    story.measure(stack)
    secrets = story.ask(stack)
    narrator.say(f"\nThe same as a page, with plots (slo-router report): {stack.report().as_uri()}")
    if options.keep:
        _keep(stack, secrets["frontend"], middle(endpoints).default_quality, narrator)


def _keep(stack: Stack, key: str, quality: float, narrator: Narrator) -> None:
    """Stays up until Ctrl-C, which is the normal end with `--keep`."""
    body = f'{{"model": "{GROUP}", "messages": [{{"role": "user", "content": "List all names: Ada met Bo in Rome."}}]}}'
    command = ["curl", "-i", f"{stack.proxy.url}/v1/chat/completions", "-H", f"Authorization: Bearer {key}"]
    command += ["-H", "Content-Type: application/json", "-H", f"x-slo-min-quality: {quality:g}", "-d", body]
    tool = Path(sys.executable).with_name("slo-router")
    check = f"{stack.setting} {tool} check {stack.proxy.config_path}"
    narrator.step("5  Everything stays up until Ctrl-C", "As the frontend, in another terminal:\n")
    narrator.say(f"{shlex.join(command)}\n\nThe last requests' records, and what is measured:\n")
    narrator.say(f"tail -n 1 {stack.directory}/requests.*.jsonl\n{check}")
    try:
        signal.pause()
    except KeyboardInterrupt:
        narrator.say("stopping …")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m evaluation.demo", description="The whole loop from nothing.")
    parser.add_argument("--keep", action="store_true", help="stay up until Ctrl-C")
    parser.add_argument(
        OPTION, action="store_true", help="save the figures in evaluation/results, for docs/evidence.md"
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--real", action="store_true", help="two real but tiny models instead of emulated endpoints")
    kind.add_argument("--endpoints", type=Path, metavar="FILE", help=f"your own endpoints, listed as in {EXAMPLE}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
