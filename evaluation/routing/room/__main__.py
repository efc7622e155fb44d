"""Quota and account faults: 429s a window, refusals a minute and contracts kept, beside LiteLLM's own strategies.

Each way in its turn gets a stock proxy with two workers and the same requests at the same instants, over HTTP:

1. Wrong requests: to each of four groups ten in a row that are themselves wrong, then ten good ones.
2. Quota: for so many windows; the cheapest of three endpoints takes a tenth of the requests.
3. Account: the cheaper of each group's two endpoints is out of credit for `--minutes`. It says so as a provider does,
   but with 403, where its words tell nothing.

    python -m evaluation.routing.room --windows 10 --rate 10 [--save]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
    WORDS,
    WORKERS,
    Endpoint,
    document,
    endpoints,
)
from evaluation.shared.results import OPTION, Aim, conclude
from evaluation.shared.stock_proxy import StockProxy
from slo_router.contract.redis import embedded

WINDOW_S = 10.0
SHARE = 0.1  # the capped endpoint's quota, as a share of the traffic
WARM_UP = 15
WRONG = 10
BAD_TEMPERATURE = 9
KEPT_PERCENT, REACHED = 97, 5  # the aims
KNOWN_AFTER_S = 2.0  # after the first health check, until requests in flight have arrived
TIMEOUT_S = 30.0


class Answer(NamedTuple):
    """What a client saw: the status (0 if none came), the deployment that answered, and the TTFT."""

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
    wrong: dict[int, int]  # by status: of ten good requests right after wrong ones, how many went elsewhere
    account: dict[int, list[Answer]]
    reached: dict[int, list[tuple[float, bool]]]  # by status: requests there: seconds since it broke, is it a check


@dataclass(frozen=True, slots=True)
class Quota:
    """What became of the requests to the group whose cheapest endpoint has a quota. `refused`: its 429s by window."""

    refused: tuple[int, ...]
    lost: int
    requests: int
    kept_percent: float
    used_percent: float


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the requests to a group whose cheaper endpoint refuses everything."""

    status: int
    before: int  # requests that reached the endpoint before it was known to refuse
    minute: int  # the most that reached it in one minute after that
    lost: int
    requests: int
    elsewhere: int  # good requests after wrong ones that went elsewhere


@dataclass(frozen=True, slots=True)
class Way:
    """One way's figures."""

    name: str
    quota: Quota | None
    accounts: list[Account]


async def ask(client: httpx.AsyncClient, group: str, **body: object) -> Answer:
    """Sends one streamed request."""
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
    """Sends a request every `pause_s`, whatever becomes of the earlier ones."""
    began_s, tasks = time.monotonic(), []
    for number in range(int(seconds / pause_s)):
        await asyncio.sleep(max(began_s + number * pause_s - time.monotonic(), 0))
        tasks.append(asyncio.create_task(ask(client, group)))
    return list(await asyncio.gather(*tasks))


async def play(client: httpx.AsyncClient, handles: dict[str, Handle], options: argparse.Namespace) -> Found:
    """Plays all parts on one proxy."""
    groups = [f"account-{status}" for status in STATUSES]
    for _ in range(WARM_UP):
        await asyncio.gather(*(ask(client, group) for group in groups))  # the proxy must find out the quota by itself
    wrong = dict(zip(STATUSES, await asyncio.gather(*(after_wrong(client, group) for group in groups)), strict=True))
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
    for status, words in WORDS.items():
        handles[f"broke-{status}"].reset()
        handles[f"broke-{status}"].control("status", status=status, message=words)
    began_s = time.time()
    seconds = options.minutes * MINUTE_S + KNOWN_AFTER_S
    answers = await asyncio.gather(*(steadily(client, group, seconds, 4 / options.rate) for group in groups))
    reached = {
        status: [(one.at_s - began_s, one.stream is not True) for one in handles[f"broke-{status}"].seen()]
        for status in STATUSES
    }
    return Found(quota, refused, windows, passed, wrong, dict(zip(STATUSES, answers, strict=True)), reached)


async def after_wrong(client: httpx.AsyncClient, group: str) -> int:
    """Sends ten wrong requests, then ten good ones. Returns how many of the good ones went elsewhere."""
    for _ in range(WRONG):
        await ask(client, group, temperature=BAD_TEMPERATURE)
    good = [await ask(client, group) for _ in range(WRONG)]
    return sum(not one.deployment.startswith("broke") for one in good)


def kept(answer: Answer, known: dict[str, Endpoint]) -> bool:
    """Whether the request's contract was kept."""
    served = known.get(answer.deployment)
    if answer.status != 200 or answer.ttft_s is None or served is None:
        return False
    in_time = answer.ttft_s * 1_000 <= TTFT_MS
    return in_time and served.usd * 1_000 <= COST_PER_1K and served.quality >= QUALITY


def before_and_after(reached: Sequence[tuple[float, bool]]) -> tuple[int, int]:
    """How many requests came before the endpoint was known to refuse, and the most in one minute after that."""
    known_s = min((at_s for at_s, is_check in reached if is_check), default=float("inf")) + KNOWN_AFTER_S
    late = [at_s for at_s, _ in reached if at_s > known_s]
    most = max((sum(at_s <= other < at_s + MINUTE_S for other in late) for at_s in late), default=0)
    return len(reached) - len(late), most


def run(way: str, options: argparse.Namespace) -> Way:
    """Plays one way on a new proxy. Returns its figures."""
    per_window = round(options.rate * WINDOW_S * SHARE)
    known = endpoints(per_window, WINDOW_S)
    with tempfile.TemporaryDirectory() as name, running_endpoints([one.spec for one in known]) as running:
        home, handles = Path(name) / "valkey", {handle.name: handle for handle in running}
        bases = {handle.name: handle.api_base for handle in running}
        environment = {embedded.DIRECTORY_VARIABLE: str(home)}
        settings = document(way, known, bases, per_window, WINDOW_S)
        with StockProxy(settings, Path(name), workers=WORKERS, environment=environment) as proxy:
            limits = httpx.Limits(max_keepalive_connections=0)  # a connection per request, which any worker may take
            found = asyncio.run(_playing(proxy, limits, handles, options))
        if way == OURS:
            embedded.stop(home)
    return figures_of(way, found, {one.spec.name: one for one in known}, per_window)


async def _playing(
    proxy: StockProxy, limits: httpx.Limits, handles: dict[str, Handle], options: argparse.Namespace
) -> Found:
    async with httpx.AsyncClient(base_url=proxy.url, headers=proxy.auth, timeout=TIMEOUT_S, limits=limits) as client:
        return await play(client, handles, options)


def figures_of(way: str, found: Found, known: dict[str, Endpoint], per_window: int) -> Way:
    """The figures of one way."""
    quota = None
    if found.quota:
        per = tuple(found.refused[window] for window in found.windows)
        used = sum(found.passed[window] for window in found.windows) / (per_window * len(found.windows))
        lost = sum(one.status != 200 for one in found.quota)
        share = sum(kept(one, known) for one in found.quota) / len(found.quota)
        quota = Quota(per, lost, len(found.quota), 100 * share, 100 * used)
    accounts = []
    for status, answers in found.account.items():
        handful, most = before_and_after(found.reached[status])
        lost = sum(one.status != 200 for one in answers)
        accounts.append(Account(status, handful, most, lost, len(answers), found.wrong[status]))
    return Way(way, quota, accounts)


def report(way: Way) -> Iterator[str]:
    """The figures in words."""
    yield way.name
    if way.quota is not None:
        yield (
            f"  quota    429s by window {list(way.quota.refused)}, at most {max(way.quota.refused)}; lost "
            f"{way.quota.lost} of {way.quota.requests}; contract kept {way.quota.kept_percent:.1f} %; "
            f"{way.quota.used_percent:.0f} % of the quota used"
        )
    for one in way.accounts:
        yield (
            f"  HTTP {one.status} reached it: {one.before} before it is known, then at most "
            f"{one.minute} in a minute; lost {one.lost} of {one.requests}; "
            f"after {WRONG} wrong ones {one.elsewhere} of {WRONG} good ones went elsewhere"
        )


def aims_of(ours: Way) -> Iterator[Aim]:
    """The aims for this plugin's way."""
    if ours.quota is not None:
        yield Aim.at_most(1, "429s in a window:", max(ours.quota.refused), 0)
        yield Aim.at_most(0, "requests lost beside a quota:", ours.quota.lost, 0)
        found = ours.quota.kept_percent
        yield Aim(f"contract kept beside a quota: {found:.1f} %, at least {KEPT_PERCENT} %", found >= KEPT_PERCENT)
    minute = max(one.minute for one in ours.accounts)
    yield Aim.at_most(REACHED, "requests a minute to an account that is known to refuse:", minute, 0)
    elsewhere = max(one.elsewhere for one in ours.accounts)
    yield Aim.at_most(0, "good requests sent elsewhere after wrong ones:", elsewhere, 0)


def main() -> None:
    """Plays and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=10, help=f"of {WINDOW_S:g} s each")
    parser.add_argument(
        "--rate", type=float, default=10.0, help="requests per second, in the account part to all groups together"
    )
    parser.add_argument("--minutes", type=float, default=1.0, help="of the account part")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument(OPTION, action="store_true", help="save the figures in evaluation/results")
    options = parser.parse_args()
    ways = []
    for name in options.ways:
        ways.append(run(name, options))
        print("\n".join(report(ways[-1])), flush=True)
    figures = {"workers": WORKERS, "window_s": WINDOW_S, "wrong": WRONG, "ways": ways}
    conclude(figures, *(aims_of(one) for one in ways if one.name == OURS), is_saved=options.save)


if __name__ == "__main__":
    main()
