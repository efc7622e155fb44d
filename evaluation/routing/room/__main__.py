"""Quota and account faults: 429s a window, refusals a minute and contracts kept, beside LiteLLM's own strategies.

Each way in its turn gets a stock proxy with two workers and the same requests at the same instants, over HTTP:

1. Quota: for so many windows; the cheapest of three endpoints takes a tenth of the requests.
2. Account: to each of four groups ten requests in a row that are themselves wrong, then ten good ones; then the cheaper
   of its two endpoints is out of credit for `--minutes`.

    python -m evaluation.routing.room --windows 10 --rate 10
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import httpx

from evaluation.emulator import Handle, running_endpoints
from evaluation.routing.room.world import (
    CAPPED,
    COST_PER_1K,
    MINUTE_S,
    OURS,
    QUALITY,
    STATUSES,
    TTFT_MS,
    WAYS,
    WORKERS,
    Endpoint,
    document,
    endpoints,
)
from evaluation.shared.stock_proxy import StockProxy
from slo_router.contract.redis import embedded

WINDOW_S = 10.0
SHARE = 0.1  # of the traffic that the capped endpoint takes
WARM_UP = 15
WRONG = 10
BAD_TEMPERATURE = 9
KNOWN_AFTER_S = 2.0  # after the first health check: what was under way then has come
TIMEOUT_S = 30.0


class Answer(NamedTuple):
    """What a client saw: the status (0 for none), who answered, when the first token came."""

    sent_s: float  # Unix seconds
    status: int
    deployment: str
    ttft_s: float | None


class Found(NamedTuple):
    """One way's results."""

    quota: list[Answer]
    refused: Counter[int]  # 429s by window
    windows: range
    passed: Counter[int]
    wrong: dict[int, int]  # by status: of ten good requests right after wrong ones those that went elsewhere
    account: dict[int, list[Answer]]
    reached: dict[int, list[tuple[float, bool]]]  # by status: what came there, seconds since it broke; a health check?


async def ask(client: httpx.AsyncClient, group: str, **body: object) -> Answer:
    """One streamed request."""
    sent_s, content = time.time(), {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
    headers = {
        "x-slo-ttft-ms": f"{TTFT_MS}",
        "x-slo-cost-per-1k": f"{COST_PER_1K}",
        "x-slo-min-quality": f"{QUALITY}",
    }
    try:
        async with client.stream(
            "POST", "/v1/chat/completions", json={"model": group, "stream": True, **content, **body}, headers=headers
        ) as answer:
            ttft_s = None
            async for line in answer.aiter_lines():
                if ttft_s is None and '"content":"' in line.replace(" ", ""):
                    ttft_s = time.time() - sent_s
            return Answer(sent_s, answer.status_code, answer.headers.get("x-litellm-model-id", ""), ttft_s)
    except httpx.HTTPError:
        return Answer(sent_s, 0, "", None)


async def steadily(client: httpx.AsyncClient, group: str, seconds: float, pause_s: float) -> list[Answer]:
    """Requests at their instants, whatever becomes of the earlier ones."""
    began_s, tasks = time.monotonic(), []
    for number in range(int(seconds / pause_s)):
        await asyncio.sleep(max(began_s + number * pause_s - time.monotonic(), 0))
        tasks.append(asyncio.create_task(ask(client, group)))
    return list(await asyncio.gather(*tasks))


async def play(client: httpx.AsyncClient, handles: dict[str, Handle], options: argparse.Namespace) -> Found:
    """Everything on one proxy."""
    groups = [f"account-{status}" for status in STATUSES]
    for _ in range(WARM_UP):
        await asyncio.gather(*(ask(client, group) for group in groups))  # not the one whose limit is to be found out
    await asyncio.sleep(2)
    quota, windows = [], range(0)
    if options.windows:
        await asyncio.sleep(WINDOW_S - time.time() % WINDOW_S)
        first = round(time.time() / WINDOW_S)
        windows = range(first, first + options.windows)
        handles[CAPPED].reset()
        quota = await steadily(client, "quota", options.windows * WINDOW_S, 1 / options.rate)
    seen = [one for one in handles[CAPPED].seen() if int(one.at_s // WINDOW_S) in windows]
    refused = Counter(int(one.at_s // WINDOW_S) for one in seen if one.status == 429)
    passed = Counter(int(one.at_s // WINDOW_S) for one in seen if one.status == 200)
    wrong = dict(zip(STATUSES, await asyncio.gather(*(after_wrong(client, group) for group in groups)), strict=True))
    await asyncio.sleep(2)
    for status in STATUSES:
        handles[f"broke-{status}"].reset()
        handles[f"broke-{status}"].control("status", status=status)
    began_s = time.time()
    seconds = options.minutes * MINUTE_S + KNOWN_AFTER_S
    answers = await asyncio.gather(*(steadily(client, group, seconds, 4 / options.rate) for group in groups))
    reached = {
        status: [(one.at_s - began_s, one.stream is not True) for one in handles[f"broke-{status}"].seen()]
        for status in STATUSES
    }
    return Found(quota, refused, windows, passed, wrong, dict(zip(STATUSES, answers, strict=True)), reached)


async def after_wrong(client: httpx.AsyncClient, group: str) -> int:
    """Ten requests that are themselves wrong, in a row, and ten good ones: how many of those went elsewhere."""
    for _ in range(WRONG):
        await ask(client, group, temperature=BAD_TEMPERATURE)
    good = [await ask(client, group) for _ in range(WRONG)]
    return sum(not one.deployment.startswith("broke") for one in good)


def kept(answer: Answer, known: dict[str, Endpoint]) -> bool:
    """Whether a request got what its contract says."""
    served = known.get(answer.deployment)
    if answer.status != 200 or answer.ttft_s is None or served is None:
        return False
    in_time = answer.ttft_s * 1_000 <= TTFT_MS
    return in_time and served.usd * 1_000 <= COST_PER_1K and served.quality >= QUALITY


def before_and_after(reached: Sequence[tuple[float, bool]]) -> tuple[int, int]:
    """How many came before it was known that it refuses everything, and in a minute at most after that."""
    known_s = min((at_s for at_s, is_check in reached if is_check), default=float("inf")) + KNOWN_AFTER_S
    late = [at_s for at_s, _ in reached if at_s > known_s]
    most = max((sum(at_s <= other < at_s + MINUTE_S for other in late) for at_s in late), default=0)
    return len(reached) - len(late), most


def run(way: str, options: argparse.Namespace) -> list[str]:
    """One way's lines of the report."""
    per_window = round(options.rate * WINDOW_S * SHARE)
    known = endpoints(per_window, WINDOW_S)
    with tempfile.TemporaryDirectory() as name, running_endpoints([one.spec for one in known]) as running:
        home, handles = Path(name) / "valkey", {handle.name: handle for handle in running}
        bases = {handle.name: handle.api_base for handle in running}
        environment = {embedded.DIRECTORY_VARIABLE: str(home)}
        settings = document(way, known, bases, per_window, WINDOW_S)
        with StockProxy(settings, Path(name), workers=WORKERS, environment=environment) as proxy:
            limits = httpx.Limits(max_keepalive_connections=0)  # a connection each, which any worker may take
            found = asyncio.run(_playing(proxy, limits, handles, options))
        if way == OURS:
            embedded.stop(home)
    return report(way, found, {one.spec.name: one for one in known}, per_window)


async def _playing(
    proxy: StockProxy, limits: httpx.Limits, handles: dict[str, Handle], options: argparse.Namespace
) -> Found:
    async with httpx.AsyncClient(base_url=proxy.url, headers=proxy.auth, timeout=TIMEOUT_S, limits=limits) as client:
        return await play(client, handles, options)


def report(way: str, found: Found, known: dict[str, Endpoint], per_window: int) -> list[str]:
    """What it came to."""
    lines = [f"{way}"]
    if found.quota:
        lost = sum(one.status != 200 for one in found.quota)
        share = sum(kept(one, known) for one in found.quota) / len(found.quota)
        per = [found.refused[window] for window in found.windows]
        used = sum(found.passed[window] for window in found.windows) / (per_window * len(found.windows))
        lines.append(
            f"  quota    429s by window {per}, at most {max(per)}; lost {lost} of {len(found.quota)}; "
            f"contract kept {share:.1%}; {used:.0%} of the quota used"
        )
    for status, answers in found.account.items():
        handful, most = before_and_after(found.reached[status])
        lost = sum(one.status != 200 for one in answers)
        lines.append(
            f"  HTTP {status} reached it: {handful} before it is known, then at most "
            f"{most} in a minute; lost {lost} of {len(answers)}; "
            f"after {WRONG} wrong ones {found.wrong[status]} of {WRONG} good ones went elsewhere"
        )
    return lines


def main() -> None:
    """Plays and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=10, help=f"of {WINDOW_S:g} s each")
    parser.add_argument(
        "--rate", type=float, default=10.0, help="requests per second, in the account part to all groups together"
    )
    parser.add_argument("--minutes", type=float, default=1.0, help="of the account part")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    options = parser.parse_args()
    for way in options.ways:
        print("\n".join(run(way, options)), flush=True)


if __name__ == "__main__":
    main()
