"""A deployment over its quota is full, not broken: it gets no request until it has room, and no request is lost.

Two proxies share a Valkey and get the requests in turn. LiteLLM's cooldowns are off. Each group has its own endpoints:

refusing   its cheap endpoint answers 429 when a test says so
limited    its cheap endpoint takes LIMIT requests in a window, and tells this only by a 429
telling    the same, and each answer also says how many requests are left
alone      has only the cheap endpoint
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import cycle

import httpx
import pytest
import redis

from evaluation.emulator import EndpointSpec, running_endpoints
from evaluation.emulator.record import Seen
from evaluation.shared.stock_proxy import StockProxy
from evaluation.shared.valkey_server import ValkeyServer
from tests.e2e.conftest import SPECS, Stack, deployment, document, publish, publish_one, refreshed

WINDOW_S, LIMIT, AT_ONCE = 5.0, 12, 4
ANY = "20000"  # a limit that nothing here breaks
FULL = 429
RETRY_AFTER_S = 6


def limited(name: str, per_window: int = LIMIT, window_s: float = WINDOW_S, *, says_left: bool = False) -> EndpointSpec:
    return replace(SPECS[0], name=name, per_window=per_window, window_s=window_s, says_left=says_left)


@dataclass
class Pair(Stack):
    """Two proxies, which get requests in turn."""

    proxies: Sequence[StockProxy] = ()

    def __post_init__(self) -> None:
        self._turns = cycle(self.proxies)

    def _asked(self) -> StockProxy:
        return next(self._turns)

    def refreshed(self) -> None:
        """Waits until both proxies have read Redis once more."""
        for proxy in self.proxies:
            refreshed(proxy, self.redis, self.prefix)


@pytest.fixture(scope="module")
def _quota(valkey: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    prefix = "quota:"
    others = [
        replace(SPECS[0], name="refusing"),
        limited("limited"),
        limited("telling", says_left=True),
        limited("alone", per_window=3),
    ]
    with running_endpoints([*SPECS, *others]) as handles:
        medium, cheap = handles[1], handles[3:]
        settings = document(
            handles[:3],
            valkey.url,
            live_measurements=True,
            refresh_interval_s=Stack.refresh_interval_s,
            key_prefix=prefix,
        )
        settings["model_list"] += [  # type: ignore[operator]
            *(deployment(one, f"group-{one.name}", one.name, like="small") for one in cheap),
            *(deployment(medium, f"group-{one.name}", f"{one.name}-medium") for one in cheap[:3]),
        ]
        groups = settings["callback_settings"]["slo_router"]["groups"]  # type: ignore[index]
        groups |= {f"group-{one.name}": {"trial_share": 0} for one in cheap}
        client = redis.Redis.from_url(valkey.url)
        publish(client, prefix)
        for one in cheap:
            publish_one(client, prefix, one.name, "small")
            publish_one(client, prefix, f"{one.name}-medium", "medium")
        with ExitStack() as entered:
            proxies = [entered.enter_context(StockProxy(settings, tmp_path_factory.mktemp("quota"))) for _ in range(2)]
            endpoints = {handle.name: handle for handle in handles}
            running = Pair(proxies[0], valkey, endpoints, time.time(), prefix=prefix, proxies=proxies)
            running.refreshed()
            yield running


@pytest.fixture
def quota(_quota: Pair) -> Iterator[Stack]:
    for handle in _quota.endpoints.values():
        handle.reset()
    _quota.began_s = time.time()
    yield _quota
    for handle in _quota.endpoints.values():
        handle.reset()


def ask(stack: Stack, name: str, retries: int = 2, **headers: str) -> httpx.Response:
    body = {"stream": True, "max_tokens": 4}
    named = {"x_slo_ttft_ms": ANY, "x_litellm_num_retries": str(retries), **headers}
    return stack.ask(model=f"group-{name}", body=body, **named)


def refusals(stack: Stack, name: str) -> Counter[int]:
    """How many requests the endpoint refused in each window; windows without refusals are left out."""
    return Counter(int(seen.at_s // WINDOW_S) for seen in sent(stack, name) if seen.status == FULL)


def sent(stack: Stack, name: str) -> list[Seen]:
    return [seen for seen in stack.endpoints[name].seen() if seen.stream]


def test_who_answers_429_gets_nothing_until_it_said_and_is_not_broken(quota: Stack) -> None:
    """Neither proxy sends requests or health checks to this deployment, and its circuit stays closed."""
    endpoint = quota.endpoints["refusing"]
    deadline_s = time.monotonic() + 30
    while ask(quota, "refusing").headers["x-slo-selected-model"] != "refusing":
        assert time.monotonic() < deadline_s
    endpoint.reset()
    endpoint.control("error429", retry_after_s=RETRY_AFTER_S)
    assert ask(quota, "refusing").status_code == 200
    while not endpoint.seen():
        assert ask(quota, "refusing").status_code == 200
    at_s = endpoint.seen()[0].at_s
    quota.refreshed()
    time.sleep(2 * quota.refresh_interval_s)
    known = len(endpoint.seen())
    endpoint.control("ok")
    answers = [ask(quota, "refusing") for _ in range(20) if time.time() < at_s + RETRY_AFTER_S]
    assert {one.status_code for one in answers} <= {200}
    assert all(seen.at_s >= at_s + RETRY_AFTER_S for seen in endpoint.seen()[known:])
    time.sleep(max(at_s + RETRY_AFTER_S + 1.5 - time.time(), 0))
    back = [ask(quota, "refusing").headers["x-slo-selected-model"] for _ in range(10)]
    assert set(back) == {"refusing"}
    assert all(seen.stream for seen in endpoint.seen())  # a health check would not be streamed
    (first, *_) = [
        record for record in quota.records(1) if record["model_group"] == "group-refusing" and record["attempts"] == 1
    ]
    assert first["outcome"] == "success"


def ask_for_windows(quota: Stack, name: str, windows: int) -> tuple[set[int], Counter[int], int, int]:
    """Asks at the beginning of each window.

    Returns the statuses, the number of requests in each window, the first window, and the number of late requests. A
    late request ends after its window: the endpoint may count it in the next one, of which the workers do not know.
    Only a slow machine has late requests.
    """
    statuses: set[int] = set()
    asked: Counter[int] = Counter()
    late, first = 0, 1 + int(time.time() // WINDOW_S)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for window in range(first, first + windows):
            time.sleep(max(window * WINDOW_S - time.time(), 0.0))
            while asked[window] < 3 * LIMIT and time.time() < (window + 1) * WINDOW_S:
                asked[window] += AT_ONCE
                statuses |= {one.status_code for one in pool.map(lambda _: ask(quota, name), range(AT_ONCE))}
                late += AT_ONCE if time.time() >= (window + 1) * WINDOW_S else 0
    return statuses, asked, first, late


def test_beyond_its_limit_the_next_one_answers_and_a_known_limit_is_kept(quota: Stack) -> None:
    """If no answer tells the limit, two windows teach it. In each later window one request may still be refused.

    In one later window all requests in flight may be refused: Retry-After is in whole seconds, so a window may begin at
    another moment than was learned.
    """
    names = "limited", "telling"
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(names, pool.map(lambda name: ask_for_windows(quota, name, 6), names), strict=True))
    for name, (statuses, asked, first, _) in found.items():
        assert statuses == {200}
        refused = refusals(quota, name)
        passed = Counter(int(seen.at_s // WINDOW_S) for seen in sent(quota, name) if seen.status != FULL)
        assert max(passed.values()) <= LIMIT
        known = [window for window in range(first + 3, first + 6) if asked[window] >= 2 * LIMIT]
        *usual, most = sorted([0, *(refused[window] for window in known)])
        assert most <= AT_ONCE, (name, refused)
        assert all(one <= 1 for one in usual), (name, refused)
        assert sum(passed[window] for window in known) >= LIMIT // 2 * len(known), (name, passed, asked)
    late = found["telling"][-1]
    assert (
        sum(refusals(quota, "telling").values()) <= AT_ONCE + late
    )  # requests in flight before the first answer told the limit


def test_where_all_are_full_a_request_waits_for_room_if_its_slo_allows(quota: Stack) -> None:
    with ThreadPoolExecutor(2) as pool:
        while len(refusals(quota, "alone")) < 2:  # then the limit is known
            list(pool.map(lambda _: ask(quota, "alone", retries=0), range(2)))
    quota.refreshed()
    quota.endpoints["alone"].reset()
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: ask(quota, "alone", retries=0), range(6)))
    assert [one.status_code for one in answers].count(200) >= 5
    passed = [seen.at_s for seen in sent(quota, "alone") if seen.status != FULL]
    assert max(passed) - min(passed) >= 1.0  # three in each window
    hasty = ask(quota, "alone", retries=0, x_slo_ttft_ms="50")
    assert hasty.status_code in {200, FULL}  # LiteLLM sends it anyway
