"""Live traffic moves the picture: a real proxy leaves a slow or failing endpoint by what it sees, and comes back.

All the while one of its `metrics_url` sends a byte now and then, and its file of records is a pipe that nobody reads.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis

from evaluation.endpoints import Handle, running_endpoints
from evaluation.endpoints.record import Seen
from evaluation.stock_proxy import StockProxy
from tests.e2e.conftest import SPECS, Stack, document, publish
from tests.valkey_server import ValkeyServer

BACK_WITHIN_S = 15.0
ANY = "20000"  # a limit that nothing here breaks, however busy the machine
LEAVES_AFTER = 3  # failed requests
SEVERAL_PAUSES_S = 4.0


@pytest.fixture(scope="module")
def handles() -> Iterator[Sequence[Handle]]:
    with running_endpoints(SPECS) as running:
        yield running


@pytest.fixture(scope="module")
def stack(handles: Sequence[Handle], valkey: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    interval_s = Stack.refresh_interval_s
    directory = tmp_path_factory.mktemp("proxy")
    settings = document(
        handles,
        valkey.url,
        live_measurements=True,
        refresh_interval_s=interval_s,
        key_prefix="live:",
        log={"jsonl_path": str(directory / "records.jsonl")},
    )
    publish(redis.Redis.from_url(valkey.url), "live:")
    with dripping() as metrics_url:
        settings["model_list"][1]["model_info"]["slo_router"]["metrics_url"] = metrics_url  # type: ignore[index]
        yield from served(settings, directory, handles, valkey)


def served(
    settings: dict[str, object], directory: Path, handles: Sequence[Handle], valkey: ValkeyServer
) -> Iterator[Stack]:
    """The stack, once its worker's file of records is a pipe."""
    with StockProxy(settings, directory) as proxy:
        assert proxy._process is not None
        os.mkfifo(directory / f"records.{proxy._process.pid}.jsonl")
        by_name = {handle.name: handle for handle in handles}
        running = Stack(proxy, valkey, by_name, time.time(), prefix="live:")
        running.ask()
        yield running


@contextmanager
def dripping() -> Iterator[str]:
    """The address of a page that sends a byte now and then, and never ends."""
    listening, over = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def drip(link: socket.socket) -> None:
        with link, suppress(OSError):
            while not over.wait(0.2):
                link.send(b"H")

    def meet() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=drip, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=meet, daemon=True).start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/metrics"
    over.set()
    listening.close()


@pytest.fixture(autouse=True)
def healthy(stack: Stack) -> None:
    for handle in stack.endpoints.values():
        handle.reset()


def selected(stack: Stack, max_tokens: int = 8, **headers: str) -> str:
    answer = stack.ask(body={"stream": True, "max_tokens": max_tokens}, **headers)
    assert answer.status_code == 200
    return answer.headers["x-slo-selected-model"]


def test_predictions_become_live_and_say_how_likely_the_slo_is_kept(stack: Stack) -> None:
    for _ in range(12):
        assert selected(stack, x_slo_ttft_ms=ANY) == "small"
    stack.refreshed()
    answer = stack.ask(body={"stream": True}, x_slo_ttft_ms=ANY)
    assert float(answer.headers["x-slo-probability"]) > 0.9
    assert float(answer.headers["x-slo-predicted-ttft-ms"]) < 1000


def test_a_deployment_that_became_slow_loses_the_traffic_whose_slo_it_misses(stack: Stack) -> None:
    for _ in range(8):
        selected(stack, x_slo_ttft_ms=ANY)
    stack.endpoints["small"].control("slow", factor=200)  # 5 ms to the first token become 1 s
    for _ in range(6):
        selected(stack, max_tokens=1, x_slo_ttft_ms=ANY)
    stack.refreshed()
    assert selected(stack, x_slo_ttft_ms="800") == "medium"
    assert selected(stack, x_slo_ttft_ms=ANY) == "small"  # slow is not dead


def test_a_failing_deployment_is_left_after_three_requests_and_comes_back_by_itself(stack: Stack) -> None:
    stack.endpoints["small"].control("error500")
    for _ in range(12):
        selected(stack, x_slo_ttft_ms=ANY)  # each is answered, by a retry where need be
    assert len(streamed(stack, "small")) == LEAVES_AFTER
    comes_back(stack)


def test_no_request_finds_out_that_a_deployment_still_hangs(stack: Stack) -> None:
    stack.endpoints["small"].control("hang")
    for _ in range(2 * LEAVES_AFTER):
        selected(stack, x_slo_ttft_ms=ANY)  # waits for the attempt's timeout, and is answered by another
    waited = len(streamed(stack, "small"))
    assert 0 < waited <= LEAVES_AFTER  # one where it had failed just before
    until_s = time.monotonic() + SEVERAL_PAUSES_S
    while time.monotonic() < until_s:
        assert selected(stack, x_slo_ttft_ms=ANY) != "small"
        time.sleep(0.1)
    assert len(streamed(stack, "small")) == waited
    assert len(stack.endpoints["small"].seen()) > waited  # health checks
    comes_back(stack)


def streamed(stack: Stack, name: str) -> Sequence[Seen]:
    """Our requests; LiteLLM's health checks want their answers whole."""
    return [seen for seen in stack.endpoints[name].seen() if seen.stream]


def comes_back(stack: Stack) -> None:
    stack.endpoints["small"].control("ok")
    recovered_s = time.monotonic()
    while time.monotonic() < recovered_s + BACK_WITHIN_S:
        chosen = [selected(stack, x_slo_ttft_ms=ANY) for _ in range(5)]
        if chosen == ["small"] * 5:
            break
        time.sleep(0.2)
    assert chosen == ["small"] * 5


def test_redis_hangs_beside_the_file_and_the_metrics_url_and_what_is_seen_here_still_counts(stack: Stack) -> None:
    for _ in range(8):
        selected(stack, x_slo_ttft_ms=ANY)
    stack.valkey.pause()
    try:
        stack.endpoints["small"].control("slow", factor=200)
        deadline_s = time.monotonic() + 60
        while selected(stack, max_tokens=1, x_slo_ttft_ms="800") == "small":
            assert time.monotonic() < deadline_s
            selected(stack, max_tokens=1, x_slo_ttft_ms=ANY)
        asked_s = time.time()
        selected(stack, max_tokens=1, x_slo_ttft_ms=ANY)
        while "routing on the last snapshot until it answers" not in stack.proxy.log:
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
    finally:
        stack.valkey.resume()
    stack.began_s = asked_s
    assert len(stack.records(1)) == 1  # it waited in memory
    log = stack.proxy.log
    assert "the load of medium cannot be read from its metrics_url (TimeoutError)" in log
    assert re.findall("the job .*", log) == []
    assert [path.is_fifo() for path in stack.proxy.config_path.parent.glob("records.*")] == [True]


def test_the_workers_state_is_shared_under_the_prefix_and_gone_when_the_worker_is(stack: Stack) -> None:
    keys = list(stack.redis.scan_iter("live:slo_router:live:*"))
    assert len(keys) == 1
    assert 0 < stack.redis.ttl(keys[0]) <= 6
