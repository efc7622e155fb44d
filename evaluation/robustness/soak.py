"""Whether the proxy's memory stays flat under load: with the plugin, with `freeze_heap`, and with a no-op callback.

    python -m evaluation.robustness.soak [--minutes 10]

Three stock proxies with one worker each share the same endpoints, which answer at once. Each proxy gets as many
requests as it can take, the same ones in the same order: those of `evaluation.shared.traffic`, streamed and whole on
three routes, with tools and images. Some requests are wrong or too long, some name no known model, and the client
leaves some in the middle. Memory is the resident set of a proxy's processes, from Linux's /proc. LiteLLM keeps caches
that fill in the first minutes. So growth is the slope of a straight line through the second half, per 1,000 requests.
The bar compares the plugin's growth with the callback's. Latency is the time of a whole answer on a fully loaded
machine. It leaves out requests that the client left, and the first 50, for which LiteLLM loads what a route needs.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Annotated, NamedTuple

import httpx
import redis
import typer
from rich.console import Console
from rich.table import Table

from evaluation.emulator import instant
from evaluation.overhead.proxy_overhead import CALLBACKS, GROUP, NOOP, MeasuredProxy, document, world
from evaluation.shared.results import Aim, Save, conclude
from evaluation.shared.traffic import PATHS, Ask, Lengths, body, mixed
from slo_router.contract.redis import embedded

AT_A_TIME = 4  # requests to each proxy
SAMPLE_S = 15.0
LEFT_EVERY, UNKNOWN_EVERY = 20, 50  # the client leaves one request in 20; one in 50 names no known model
PROMPTS = Lengths(200, 0.99, 4_000)  # the recorded spread, but shorter: more requests tell more
TOO_LONG_TOKENS, CONTEXT_TOKENS = 40_000, 32_768
WARM_UP_REQUESTS = 50
MIB = 2**20
MARGIN_MIB = 1.0  # per 1,000 requests: a resident set changes by whole arenas
MS_PER_S = 1_000.0
FROZEN = "freeze_heap"
VARIANTS = (FROZEN, "plugin", "no-op")
USUAL_MINUTES = 10.0


class Sample(NamedTuple):
    """One proxy at one moment."""

    requests: int
    resident_mib: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Figures:
    """One proxy over the whole time. `mib` is its memory at first, half-way and at last."""

    name: str
    requests: int
    cpu_ms: float  # of one request
    unexpected_errors: int
    mib: list[float]
    mib_per_1k: float  # growth per 1,000 requests in the second half
    p99_ms: float
    longest_ms: float


class Load:
    """Sends to one proxy without a pause, several requests at a time."""

    def __init__(self, proxy: MeasuredProxy) -> None:
        self.proxy = proxy
        self.sent = 0
        self.failed = 0  # requests that should not have failed
        self.took_s: list[float] = []

    async def run(self, until_s: float) -> None:
        """Sends until `time.monotonic()` is `until_s`."""
        limits = httpx.Limits(max_connections=AT_A_TIME)
        async with httpx.AsyncClient(
            base_url=self.proxy.url, headers=self.proxy.auth, timeout=60, limits=limits
        ) as client:
            numbers = itertools.count()
            await asyncio.gather(*(self._send_all(client, numbers, until_s) for _ in range(AT_A_TIME)))

    async def _send_all(self, client: httpx.AsyncClient, numbers: itertools.count[int], until_s: float) -> None:
        while time.monotonic() < until_s:
            number = next(numbers)
            ask, is_unknown = asked(number), number % UNKNOWN_EVERY == 1
            sent = body(ask, "unknown" if is_unknown else GROUP)
            begun_s = time.monotonic()
            async with client.stream("POST", PATHS[ask.route], json=sent) as answer:
                self.failed += answer.is_error and not is_unknown and ask.fault is None
                if number % LEFT_EVERY:
                    await answer.aread()
                    if number >= WARM_UP_REQUESTS:
                        self.took_s.append(time.monotonic() - begun_s)
            self.sent += 1


def asked(number: int) -> Ask:
    """The `number`-th request, the same for every proxy."""
    rng = random.Random(number)
    ask = mixed(rng, PROMPTS.draw(rng), 0)
    return ask._replace(text_tokens=TOO_LONG_TOKENS) if ask.fault == "too_long" else ask


async def watch(loads: Mapping[str, Load], minutes: float, console: Console) -> dict[str, list[Sample]]:
    """Runs the loads, and takes a sample of each proxy from time to time."""
    begun_s = time.monotonic()
    tasks = [asyncio.create_task(load.run(begun_s + 60 * minutes)) for load in loads.values()]
    seen: dict[str, list[Sample]] = {name: [] for name in loads}
    while not all(task.done() for task in tasks):
        await asyncio.sleep(min(SAMPLE_S, 6 * minutes))
        for name, load in loads.items():
            seen[name].append(Sample(load.sent, load.proxy.resident_bytes() / MIB, load.proxy.cpu_s()))
        said = ", ".join(
            f"{name} {row[-1].requests} requests {row[-1].resident_mib:.0f} MiB" for name, row in seen.items()
        )
        console.print(f"[{time.monotonic() - begun_s:5.0f} s] {said}", markup=False, highlight=False)
    await asyncio.gather(*tasks)
    return seen


def slope(samples: Sequence[Sample]) -> float:
    """MiB per 1,000 requests over the second half."""
    half = samples[len(samples) // 2 :]
    requests = [sample.requests / 1_000 for sample in half]
    return statistics.linear_regression(requests, [sample.resident_mib for sample in half]).slope


def figures(seen: Mapping[str, Sequence[Sample]], loads: Mapping[str, Load]) -> list[Figures]:
    """The figures of each proxy."""
    return [
        Figures(
            name,
            rows[-1].requests,
            (rows[-1].cpu_s - rows[0].cpu_s) / (rows[-1].requests - rows[0].requests) * MS_PER_S,
            loads[name].failed,
            [rows[at].resident_mib for at in (0, len(rows) // 2, -1)],
            slope(rows),
            statistics.quantiles(loads[name].took_s, n=100)[98] * MS_PER_S,
            max(loads[name].took_s) * MS_PER_S,
        )
        for name, rows in seen.items()
    ]


def table_of(found: Sequence[Figures], minutes: float) -> Table:
    """One line per proxy."""
    names = (
        "proxy with",
        "requests",
        "a second",
        "CPU ms each",
        "unexpected errors",
        "MiB at first",
        "half-way",
        "at last",
    )
    table = Table(*names, "growth per 1,000", "p99 ms", "longest ms")
    for one in found:
        counts = f"{one.requests:,}", f"{one.requests / minutes / 60:.0f}", f"{one.cpu_ms:.1f}"
        times = f"{one.p99_ms:.0f}", f"{one.longest_ms:.0f}"
        table.add_row(
            one.name,
            *counts,
            str(one.unexpected_errors),
            *(f"{mib:.0f}" for mib in one.mib),
            f"{one.mib_per_1k:+.2f} MiB",
            *times,
        )
    return table


def aims_of(found: Sequence[Figures]) -> Iterator[Aim]:
    """The plugin's memory grows no faster than with a callback that does nothing."""
    *ours, noop = found
    for one in ours:
        more = one.mib_per_1k - noop.mib_per_1k
        yield Aim.at_most(MARGIN_MIB, f"{one.name}: growth beyond the callback's", more, 2, " MiB per 1,000 requests")


def main(
    minutes: Annotated[
        float, typer.Option(help="How long; caches fill for some minutes, so 30 tell more.", min=0.2)
    ] = USUAL_MINUTES,
    *,
    is_saved: Save = False,
) -> None:
    """Memory of the proxy with the plugin beside one with a no-op callback, under all the load that they take."""
    console = Console(width=160)
    specs = [replace(instant(name), context_tokens=CONTEXT_TOKENS) for name in ("small", "medium", "large")]
    loads: dict[str, Load] = {}
    with ExitStack() as stack:
        root, home, handles = stack.enter_context(world(specs))
        for name in VARIANTS:
            directory = root / name
            directory.mkdir()
            (directory / "noop_callback.py").write_text(NOOP, encoding="utf-8")
            environment = {embedded.DIRECTORY_VARIABLE: str(home)}
            settings = document(handles, CALLBACKS["plugin" if name == FROZEN else name])
            if name == FROZEN:
                settings["callback_settings"]["slo_router"]["freeze_heap"] = True  # type: ignore[index]
            proxy = MeasuredProxy(settings, directory, environment=environment)
            loads[name] = Load(stack.enter_context(proxy))
        seen = asyncio.run(watch(loads, minutes, console))
        with redis.Redis.from_url(embedded.ensure_running(home)) as client:
            used_mib = client.info("memory")["used_memory"] / MIB
        console.print(f"Redis holds {used_mib:.0f} MiB, the stream of records included")
    found = figures(seen, loads)
    console.print(table_of(found, minutes))
    form = "" if minutes == USUAL_MINUTES else f"{minutes:g} minutes"
    if not conclude({"minutes": minutes, "proxies": found}, aims_of(found), form=form, is_saved=is_saved):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
