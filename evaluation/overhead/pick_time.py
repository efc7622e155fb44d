"""How long a pick takes: through LiteLLM's router with this plugin and with LiteLLM's strategies, and our part alone.

    python -m evaluation.overhead.pick_time [--repeats 7] [--picks 300] [--deployments 10]

Every strategy picks in turn from the same deployments for the same prompt, interleaved, and the tables show the median
over the repeats of each repeat's median, with the lowest and the highest. The first table is LiteLLM as it comes. In
the second its pre-call checks are on: it counts the prompt's tokens, and the plugin asks for the pool before it
decides, so LiteLLM walks its steps twice. `own part` is features to decision: what this project's code adds by itself.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

import litellm
import typer
from litellm.proxy import proxy_server
from litellm.router import Router
from rich.console import Console
from rich.table import Table

from evaluation.shared.sample import messages_of_words
from slo_router.contract.model import Metrics
from slo_router.contract.settings.config import GroupSettings, PluginSettings, Settings, SloSettings
from slo_router.contract.settings.deployments import read_deployment
from slo_router.gateway import seams
from slo_router.gateway.hooks import Plugin
from slo_router.worker.snapshot import MetricsStore, make_snapshot
from slo_router.worker.strategy import Strategy
from slo_router.worker.trace import TRACE_KEY, Trace

GROUP = "smart"
DEPLOYMENTS = (3, 10, 50)
WORDS = (200, 2_000, 20_000)
PEERS = ("simple-shuffle", "latency-based-routing", "cost-based-routing", "least-busy")
BUDGET_US = {200: 60.0, 2_000: 150.0, 20_000: 300.0}  # own part at 10 deployments, p50
Pick = Callable[[], Awaitable[object]]
MICRO = 1e6
LIVE_SAMPLES = 20  # of each deployment: its predictions are the live curve's


def model_list(count: int) -> list[dict[str, object]]:
    """Deployments of rising price and quality."""
    return [
        {
            "model_name": GROUP,
            "litellm_params": {
                "model": f"openai/model-{i}",
                "api_base": "http://127.0.0.1:9/v1",
                "api_key": "none",
                "input_cost_per_token": 1e-7 * (i + 1),
                "output_cost_per_token": 2e-7 * (i + 1),
            },
            "model_info": {"id": f"model-{i}", "max_input_tokens": 128_000, "slo_router": {"quality": 0.9}},
        }
        for i in range(count)
    ]


def settings() -> PluginSettings:
    """An SLO in every field."""
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
    """One pick of a router, with these callbacks in the process and no others."""
    newer = hasattr(router, "select")  # from LiteLLM 1.109 on
    select = router.select if newer else router.async_get_available_deployment

    async def pick() -> object:
        litellm.callbacks = callbacks
        return await select(GROUP, request_kwargs=request_of(messages), messages=messages)

    return pick


def through_router(count: int, messages: list[dict[str, str]], *, checks: bool) -> dict[str, Pick]:
    """A pick by each strategy; `checks`: with LiteLLM's pre-call checks."""
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
        proxy_server.llm_router = router  # that of the proxy, which the plugin asks for the pool
        return await whole()

    picks["slo-router"] = pick
    return picks


def own_part(count: int, messages: list[dict[str, str]]) -> Pick:
    """Features to decision."""
    strategy = fill(Strategy(settings(), MetricsStore("")), count)
    names = [f"model-{i}" for i in range(count)]

    async def pick() -> object:
        return strategy.choose(GROUP, request_of(messages), names, Trace("acompletion", 0.0))

    return pick


async def time_picks(pick: Pick, picks: int) -> list[float]:
    """Microseconds of each of `picks` picks, garbage collection off."""
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


async def measure(console: Console, repeats: int, picks: int, counts: Sequence[int]) -> None:
    """Prints the tables."""
    for checks in (False, True):
        title = f"whole pick, µs (p50), LiteLLM {seams.version()}, pre-call checks {'on' if checks else 'off'}"
        whole = Table("deployments", "words", *PEERS, "slo-router", "ours ÷ latency-based", title=title)
        for count in counts:
            for words in WORDS:
                candidates = through_router(count, messages_of_words(words), checks=checks)
                rounds = max(picks // 10, 10) if words == max(WORDS) else picks  # LiteLLM tokenizes it each time
                medians: dict[str, list[float]] = {name: [] for name in candidates}
                for _ in range(repeats):
                    for name, pick in candidates.items():
                        medians[name].append(statistics.median(await time_picks(pick, rounds)))
                ratios = [a / b for a, b in zip(medians["slo-router"], medians["latency-based-routing"], strict=True)]
                row = [_spread(medians[name]) for name in (*PEERS, "slo-router")]
                whole.add_row(str(count), f"{words:,}", *row, _spread(ratios, digits=2))
        console.print(whole)
    console.print(await own_parts(repeats, picks, counts))
    console.print(
        f"median (lowest to highest) of {repeats} interleaved repeats of {picks} picks, a tenth of them for the"
    )
    console.print("longest prompts. A busy machine widens the spread.")


async def own_parts(repeats: int, picks: int, counts: Sequence[int]) -> Table:
    """The table of our own part."""
    own = Table("deployments", "words", "p50 µs", "p99 µs", "p99 ÷ p50", "budget", title="own part")
    for count in counts:
        for words in WORDS:
            pick = own_part(count, messages_of_words(words))
            ours = [await time_picks(pick, picks) for _ in range(repeats)]
            p50s = [statistics.median(taken) for taken in ours]
            p99s = [statistics.quantiles(taken, n=100)[98] for taken in ours]
            tails = [p99 / p50 for p50, p99 in zip(p50s, p99s, strict=True)]
            budget = f"≤ {BUDGET_US[words]:.0f}" if count == 10 else ""
            own.add_row(str(count), f"{words:,}", _spread(p50s), _spread(p99s), _spread(tails, digits=1), budget)
    return own


def _spread(values: list[float], digits: int = 0) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def main(
    repeats: Annotated[int, typer.Option(help="Interleaved repeats.")] = 7,
    picks: Annotated[int, typer.Option(help="Picks per repeat and strategy.")] = 300,
    deployments: Annotated[int | None, typer.Option(help="Only this many deployments; else 3, 10 and 50.")] = None,
) -> None:
    """Time of a pick, ours beside LiteLLM's own strategies."""
    logging.getLogger("LiteLLM").setLevel(logging.ERROR)
    logging.getLogger("slo_router").setLevel(logging.ERROR)
    counts = DEPLOYMENTS if deployments is None else (deployments,)
    asyncio.run(measure(Console(width=160), repeats, picks, counts))


if __name__ == "__main__":
    typer.run(main)
