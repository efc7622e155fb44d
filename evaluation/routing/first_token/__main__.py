"""The record's TTFT against the client's own clock, route by route.

    python -m evaluation.routing.first_token

The record may differ from the client's TTFT by 5 ms plus 2 %, or be `null`. The client sends one request at a time,
because the study looks for wrong readings, not for a busy machine. Each version of LiteLLM needs its own run:

    .venv-lowest/bin/python -m evaluation.routing.first_token
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, cast

import redis
import typer
from rich.console import Console
from rich.table import Table

from evaluation.routing.first_token.asking import PATHS, Seen, ask_all, document
from evaluation.routing.first_token.cost import cost_us
from evaluation.routing.first_token.habits import HABITS
from evaluation.routing.first_token.server import providers
from evaluation.shared.results import Save, save
from evaluation.shared.stock_proxy import StockProxy
from slo_router.contract.keys import REQUESTS_STREAM
from slo_router.contract.redis import embedded

WITHIN_S, SHARE = 0.005, 0.02  # the bar
RECORDED_WITHIN_S = 30.0
MS_PER_S = 1_000.0
Place = tuple[str, str]  # habit and route


def measure(
    proxy: StockProxy, client: redis.Redis, rounds: int
) -> dict[Place, list[tuple[float | None, float | None]]]:
    """The client's and the record's TTFT in seconds, by place, one pair per round. A round before them warms up."""
    found: dict[Place, list[tuple[float | None, float | None]]] = defaultdict(list)
    for number in range(rounds + 1):
        client.delete(REQUESTS_STREAM)
        asked = asyncio.run(ask_all(proxy.url, proxy.auth))
        records = _records(client, len(asked))
        for seen in asked if number else ():
            told_ms = records[seen.key]["ttft_ms"]
            found[seen.habit.name, seen.route].append((_ttft_s(seen), None if told_ms is None else told_ms / MS_PER_S))
    return found


def _ttft_s(seen: Seen) -> float | None:
    return None if seen.token_s is None else seen.token_s - seen.sent_s


def _records(client: redis.Redis, count: int) -> Mapping[tuple[str, str], dict[str, float | None]]:
    deadline_s = time.monotonic() + RECORDED_WITHIN_S
    while client.xlen(REQUESTS_STREAM) < count and time.monotonic() < deadline_s:
        time.sleep(0.05)
    entries = cast("list[tuple[str, dict[str, str]]]", client.xrange(REQUESTS_STREAM))
    records = [json.loads(fields["record"]) for _, fields in entries]
    return {(record["model_group"], record["call_type"]): record for record in records}


def is_kept(pair: tuple[float | None, float | None]) -> bool:
    """Whether the record's TTFT is the client's, within the bar. A `null` record claims nothing, so it is kept."""
    seen_s, told_s = pair
    if told_s is None:
        return True
    return seen_s is not None and abs(told_s - seen_s) <= WITHIN_S + SHARE * seen_s


def report(console: Console, found: Mapping[Place, Sequence[tuple[float | None, float | None]]]) -> dict[str, float]:
    """Prints a row for each habit. Returns the figures of all requests."""
    table = Table("before the first token, as", *PATHS, title="record − client, ms: median (furthest)")
    for habit in HABITS:
        cells = (_cell(found[habit.name, route]) if route in habit.routes else "" for route in PATHS)
        table.add_row(habit.name, *cells)
    console.print(table)
    pairs = [pair for place in found.values() for pair in place]
    known = [(seen_s, told_s) for seen_s, told_s in pairs if seen_s is not None and told_s is not None]
    off = sorted(abs(told_s - seen_s) * MS_PER_S for seen_s, told_s in known)
    kept, median_ms = sum(map(is_kept, pairs)), statistics.median(off)
    print(f"{len(pairs)} requests, {len(known)} with a TTFT in both: off by {median_ms:.1f} ms at the median,")
    print(f"{off[int(0.95 * len(off))]:.1f} at p95, {off[-1]:.1f} at most; bar (5 ms + 2 %) kept by {kept}")
    return {"requests": len(pairs), "kept": kept, "median_ms": median_ms, "most_ms": off[-1]}


def _cell(pairs: Sequence[tuple[float | None, float | None]]) -> str:
    if any(told_s is None for _, told_s in pairs):
        return "null" if all(told_s is None for _, told_s in pairs) else "null at times"
    if any(seen_s is None for seen_s, _ in pairs):
        return "TTFT of nothing"
    off = [(told_s - seen_s) * MS_PER_S for seen_s, told_s in pairs if seen_s is not None and told_s is not None]
    return f"{statistics.median(off):+.1f} ({max(off, key=abs):+.1f})"


def main(
    rounds: Annotated[int, typer.Option(help="Rounds that count.", min=1)] = 5,
    gap_ms: Annotated[float, typer.Option(help="From what opens a stream to its first token.", min=10)] = 400.0,
    *,
    is_saved: Save = False,
) -> None:
    """The record's TTFT against the client's clock, for every route and first-chunk habit."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slo-")))
        server = stack.enter_context(providers(gap_ms / MS_PER_S))
        stack.callback(embedded.stop, directory / "valkey")
        url = embedded.ensure_running(directory / "valkey")
        client = stack.enter_context(redis.Redis.from_url(url, decode_responses=True))
        proxy = stack.enter_context(StockProxy(document(server, url, refresh_interval_s=0.5), directory))
        found = measure(proxy, client, rounds)
    cost = asyncio.run(cost_us())
    print(f"LiteLLM {version('litellm')}, {rounds} rounds, the first token {gap_ms:g} ms after what opens the stream")
    figures = report(Console(width=120), found)
    before_us, after_us = cost
    print(f"CPU of the look: {before_us:.1f} µs for a piece before the first token, {after_us:.2f} µs after it")
    if is_saved:
        within = {"within_ms": WITHIN_S * MS_PER_S, "within_percent": 100 * SHARE}
        save({**figures, **within, "look_before_us": before_us, "look_after_us": after_us})


if __name__ == "__main__":
    typer.run(main)
