"""How long a pick takes: through LiteLLM's router with this plugin and with LiteLLM's strategies, and our part alone.

    python -m evaluation.overhead.pick_time [--repeats 7] [--picks 300] [--deployments 10]

The strategies take turns to pick from the same deployments for the same prompt. The tables show the median of each
repeat's median, with the lowest and the highest repeat. The first table is LiteLLM with its defaults. In the second,
LiteLLM's pre-call checks are on, and LiteLLM counts the prompt's tokens. The plugin then decides first and asks LiteLLM
about its pick only. `own part` is the time from features to decision, which is this project's own code.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import litellm
import typer
from litellm.proxy import proxy_server
from litellm.router import Router
from rich.console import Console
from rich.table import Table

from evaluation.shared.proxy_config import Json, deployment
from evaluation.shared.results import Aim, Save, Spread, conclude
from evaluation.shared.sample import messages_of_words
from slo_router.contract.model import Metrics
from slo_router.contract.settings.config import PluginSettings, Settings
from slo_router.contract.settings.deployments import read_deployment
from slo_router.contract.settings.group import GroupSettings, SloSettings
from slo_router.gateway import seams
from slo_router.gateway.hooks import Plugin
from slo_router.worker.snapshot import MetricsStore, make_snapshot
from slo_router.worker.strategy import Strategy
from slo_router.worker.trace import TRACE_KEY, Trace

GROUP = "smart"
DEPLOYMENTS = (3, 10, 50)
WORDS = (200, 2_000, 20_000)
PEERS = ("simple-shuffle", "latency-based-routing", "cost-based-routing", "least-busy")
OURS, RIVAL = "slo-router", "latency-based-routing"
BUDGET_US = {200: 60.0, 2_000: 150.0, 20_000: 300.0}  # own part at 10 deployments, p50
Pick = Callable[[], Awaitable[object]]
MICRO = 1e6
LIVE_SAMPLES = 20  # of each deployment, so that the live curve predicts


@dataclass(frozen=True, slots=True)
class Row:
    """Whole picks for one number of deployments and of the prompt's words: medians in µs, by strategy."""

    deployments: int
    words: int
    us: dict[str, Spread]
    of_latency_based: Spread


@dataclass(frozen=True, slots=True)
class OwnRow:
    """The plugin's own part, for one number of deployments and of words."""

    deployments: int
    words: int
    p50_us: Spread
    p99_us: Spread


def model_list(count: int) -> list[Json]:
    """`count` deployments of rising price."""
    info = {"max_input_tokens": 128_000}
    return [
        deployment(GROUP, f"model-{i}", usd=(1e-7 * (i + 1), 2e-7 * (i + 1)), info=info, quality=0.9)
        for i in range(count)
    ]


def settings() -> PluginSettings:
    """Settings of a group whose SLO has every field."""
    slo = SloSettings(ttft_ms=150.0, tpot_ms=30.0, e2e_ms=60_000.0, cost_per_1k=1.0)
    return PluginSettings(groups={GROUP: GroupSettings(slo=slo, min_quality={"default": 0.6})})


def fill(strategy: Strategy, count: int) -> Strategy:
    """Gives the plugin's strategy a full snapshot and live curves."""
    strategy.know(read_deployment(entry, "model_list", {}) for entry in model_list(count))
    now_s = time.time()
    metrics = Metrics(measured_at_s=now_s, ttft_s=0.08, ttft_p95_s=0.1, tpot_s=0.01, error_rate=0.0, samples=100)
    categories = strategy.groups[GROUP].categories
    measured = {f"model-{i}": dict.fromkeys(categories, metrics) for i in range(count)}
    strategy.store.snapshot = make_snapshot(measured, now_s)
    for name in measured:
        for _ in range(LIVE_SAMPLES):
            flight = strategy.live.dispatched(name, now_s)
            times = {"ttft_s": 0.08, "e2e_s": 1.1}
            strategy.live.finished(flight, "success", now_s, prompt_tokens=300, output_tokens=100, **times)
    strategy.absorb(())
    return strategy


def request_of(messages: list[dict[str, str]]) -> dict[str, object]:
    """The parameters that the router hands to a strategy, with the trace that the pre-call hook leaves."""
    metadata: dict[str, object] = {"user_api_key_metadata": {}, TRACE_KEY: Trace("acompletion", time.time())}
    return {"messages": messages, "metadata": metadata, "max_tokens": 400}


def pick_by(router: Router, messages: list[dict[str, str]], callbacks: list[object]) -> Pick:
    """One pick of a router while only these callbacks are in the process."""
    newer = hasattr(router, "select")  # from LiteLLM 1.109 on
    select = router.select if newer else router.async_get_available_deployment

    async def pick() -> object:
        litellm.callbacks = callbacks
        return await select(GROUP, request_kwargs=request_of(messages), messages=messages)

    return pick


def through_router(count: int, messages: list[dict[str, str]], *, checks: bool) -> dict[str, Pick]:
    """The pick of each strategy. `checks`: with LiteLLM's pre-call checks."""
    picks: dict[str, Pick] = {}
    for peer in PEERS:
        router = Router(model_list=model_list(count), routing_strategy=peer, enable_pre_call_checks=checks)
        picks[peer] = pick_by(router, messages, [])
    router = proxy_server.llm_router = Router(model_list=model_list(count), enable_pre_call_checks=checks)
    plugin = Plugin(Settings(settings(), ()))
    litellm.callbacks = [plugin]
    plugin.take_over()
    fill(plugin.strategy, count)
    whole = pick_by(router, messages, [plugin])

    async def pick() -> object:
        proxy_server.llm_router = router  # the plugin asks the proxy's router for the pool
        return await whole()

    picks[OURS] = pick
    return picks


def own_part(count: int, messages: list[dict[str, str]]) -> Pick:
    """The plugin's own part of a pick, from features to decision."""
    strategy = fill(Strategy(settings(), MetricsStore("")), count)
    names = [f"model-{i}" for i in range(count)]

    async def pick() -> object:
        return strategy.choose(GROUP, request_of(messages), names, Trace("acompletion", 0.0))

    return pick


async def time_picks(pick: Pick, picks: int) -> list[float]:
    """The microseconds of each of `picks` picks, without garbage collection."""
    for _ in range(10):
        await pick()
    gc.collect()
    gc.disable()
    taken: list[float] = []
    for _ in range(picks):
        begun = time.perf_counter()
        await pick()
        taken.append((time.perf_counter() - begun) * MICRO)
    gc.enable()
    return taken


async def measure(repeats: int, picks: int, counts: Sequence[int], *, checks: bool) -> list[Row]:
    """Times whole picks of each strategy in turns. `checks`: with LiteLLM's pre-call checks."""
    rows = []
    for count, words in itertools.product(counts, WORDS):
        candidates = through_router(count, messages_of_words(words), checks=checks)
        rounds = max(picks // 10, 10) if words == max(WORDS) else picks  # LiteLLM tokenizes it each time
        medians: dict[str, list[float]] = {name: [] for name in candidates}
        for _ in range(repeats):
            for name, pick in candidates.items():
                medians[name].append(statistics.median(await time_picks(pick, rounds)))
        ratios = [ours / theirs for ours, theirs in zip(medians[OURS], medians[RIVAL], strict=True)]
        rows.append(Row(count, words, {name: Spread.of(us) for name, us in medians.items()}, Spread.of(ratios)))
    return rows


async def own_parts(repeats: int, picks: int, counts: Sequence[int]) -> list[OwnRow]:
    """Times the plugin's own part alone."""
    rows = []
    for count, words in itertools.product(counts, WORDS):
        pick = own_part(count, messages_of_words(words))
        taken = [await time_picks(pick, picks) for _ in range(repeats)]
        p50s, p99s = ([statistics.quantiles(us, n=100)[at] for us in taken] for at in (49, 98))
        rows.append(OwnRow(count, words, Spread.of(p50s), Spread.of(p99s)))
    return rows


def table_of(rows: Sequence[Row], form: str) -> Table:
    """The table of whole picks."""
    title = f"whole pick, µs (p50), LiteLLM {seams.version()}, {form or 'as it comes'}"
    table = Table("deployments", "words", *PEERS, OURS, "ours ÷ latency-based", title=title)
    for row in rows:
        cells = (row.us[name].text() for name in (*PEERS, OURS))
        table.add_row(str(row.deployments), f"{row.words:,}", *cells, row.of_latency_based.text(2))
    return table


def aims_of(rows: Sequence[Row], form: str) -> Iterator[Aim]:
    """A whole pick is no slower than LiteLLM's latency-based strategy."""
    for row in rows:
        world = ", ".join([f"{row.deployments} deployments", f"{row.words:,} words", *([form] if form else [])])
        what = f"{world}: a pick, ours ÷ latency-based,"
        yield Aim.at_most(1, what, row.of_latency_based.value)


def own_table(rows: Sequence[OwnRow]) -> Table:
    """The table of the plugin's own part."""
    table = Table("deployments", "words", "p50 µs", "p99 µs", title="own part")
    for row in rows:
        table.add_row(str(row.deployments), f"{row.words:,}", row.p50_us.text(), row.p99_us.text())
    return table


def own_aims(rows: Sequence[OwnRow]) -> Iterator[Aim]:
    """The plugin's own part stays within the budget."""
    for row in rows:
        if row.deployments == 10:
            yield Aim.at_most(
                BUDGET_US[row.words],
                f"own part of a pick, 10 deployments, {row.words:,} words:",
                row.p50_us.value,
                0,
                " µs",
            )


def main(
    repeats: Annotated[int, typer.Option(help="Interleaved repeats.")] = 7,
    picks: Annotated[int, typer.Option(help="Picks per repeat and strategy.")] = 300,
    deployments: Annotated[int | None, typer.Option(help="Only this many deployments; else 3, 10 and 50.")] = None,
    *,
    is_saved: Save = False,
) -> None:
    """Time of a pick, ours beside LiteLLM's own strategies."""
    logging.getLogger("LiteLLM").setLevel(logging.ERROR)
    logging.getLogger("slo_router").setLevel(logging.ERROR)
    counts, console = DEPLOYMENTS if deployments is None else (deployments,), Console(width=160)
    for form in ("", "pre-call checks"):
        rows = asyncio.run(measure(repeats, picks, counts, checks=bool(form)))
        console.print(table_of(rows, form))
        figures = {"repeats": repeats, "picks": picks, "rows": rows}
        conclude(figures, aims_of(rows, form), form=form, is_saved=is_saved)
    own = asyncio.run(own_parts(repeats, picks, counts))
    console.print(own_table(own))
    conclude({"repeats": repeats, "picks": picks, "rows": own}, own_aims(own), form="own part", is_saved=is_saved)
    print(f"median (lowest–highest) of {repeats} interleaved repeats of {picks} picks, a tenth of them for the longest")


if __name__ == "__main__":
    typer.run(main)
