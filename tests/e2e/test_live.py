"""By live measurements a real proxy leaves a slow or failing endpoint, and comes back to it.

All the time one `metrics_url` sends a byte from time to time, and the file of records is a pipe that nobody reads.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

import pytest

from evaluation.emulator.record import Seen
from slo_router.live.circuit import SUSPECT_REQUESTS
from tests.e2e.conftest import SOON, TTFT_MS, Stack

BACK_WITHIN_S = 60.0
ANY = "20000"  # a limit that nothing here breaks, however busy the machine
LEAVES_AFTER = 3  # failed requests
SEVERAL_PAUSES_S = 4.0


def selected(live: Stack, max_tokens: int = 8, **headers: str) -> str:
    answer = live.ask(body={"stream": True, "max_tokens": max_tokens}, **headers)
    assert answer.status_code == 200
    return answer.headers["x-slo-selected-model"]


def test_predictions_become_live_and_say_how_likely_the_slo_is_kept(live: Stack) -> None:
    for _ in range(12):
        assert selected(live, x_slo_ttft_ms=ANY) == "small"
    deadline_s = time.monotonic() + 60
    while True:  # LiteLLM reports the end of a stream with a delay
        live.refreshed()
        answer = live.ask(body={"stream": True}, x_slo_ttft_ms=ANY)
        if float(answer.headers["x-slo-predicted-ttft-ms"]) != TTFT_MS["small"]:  # the published value
            break
        assert time.monotonic() < deadline_s
    assert answer.headers["x-slo-selected-model"] == "small"
    assert float(answer.headers["x-slo-probability"]) > 0.9


def test_a_deployment_that_became_slow_loses_the_traffic_whose_slo_it_misses(live: Stack) -> None:
    for _ in range(8):
        selected(live, x_slo_ttft_ms=ANY)
    live.endpoints["small"].control("slow", factor=200)  # 5 ms to the first token become 1 s
    for _ in range(6):
        selected(live, max_tokens=1, x_slo_ttft_ms=ANY)
    live.refreshed()
    assert selected(live, x_slo_ttft_ms="800") != "small"
    assert selected(live, x_slo_ttft_ms=ANY) == "small"  # slow is not dead


def test_a_failing_deployment_is_left_after_three_requests_and_comes_back_by_itself(live: Stack) -> None:
    live.endpoints["small"].control("error500")
    for _ in range(12):
        selected(live, x_slo_ttft_ms=ANY)  # each is answered, if need be by a retry
    assert len(streamed(live, "small")) == LEAVES_AFTER
    comes_back(live)


@pytest.mark.parametrize(("rescue", "finds_out"), [("off", 0), ("deadline", SUSPECT_REQUESTS - 1)])
def test_no_request_finds_out_that_a_deployment_still_hangs(live: Stack, rescue: str, finds_out: int) -> None:
    """With rescue, a few may: one silence makes a deployment suspect, and the next silence is a failure."""
    for _ in range(3):  # a worker that stood still judges no deployment late; then the test tries again
        live.endpoints["small"].control("hang")
        for _ in range(2 * LEAVES_AFTER):
            selected(
                live, x_slo_ttft_ms=ANY, x_slo_rescue=rescue, **SOON
            )  # waits for the attempt's timeout, and is answered by another
        waited = len(streamed(live, "small"))
        if waited <= LEAVES_AFTER + 1:
            break
        comes_back(live)
        live.endpoints["small"].reset()
    assert 0 < waited <= LEAVES_AFTER + 1  # one is enough just after failures; one more may come before the next look
    until_s = time.monotonic() + SEVERAL_PAUSES_S
    while time.monotonic() < until_s:
        assert selected(live, x_slo_ttft_ms=ANY, x_slo_rescue=rescue) != "small"
        time.sleep(0.1)
    assert len(streamed(live, "small")) <= waited + finds_out
    assert len(live.endpoints["small"].seen()) > waited  # health checks
    comes_back(live)


def streamed(live: Stack, name: str) -> Sequence[Seen]:
    """The test's own requests, which are streamed. LiteLLM's health checks are not."""
    return [seen for seen in live.endpoints[name].seen() if seen.stream]


def comes_back(live: Stack) -> None:
    live.endpoints["small"].control("ok")
    recovered_s = time.monotonic()
    while time.monotonic() < recovered_s + BACK_WITHIN_S:
        chosen = [selected(live, x_slo_ttft_ms=ANY) for _ in range(5)]
        if chosen == ["small"] * 5:
            break
        time.sleep(0.2)
    assert chosen == ["small"] * 5


def test_redis_hangs_beside_the_file_and_the_metrics_url_and_what_is_seen_here_still_counts(live: Stack) -> None:
    for _ in range(8):
        selected(live, x_slo_ttft_ms=ANY)
    live.valkey.pause()
    try:
        live.endpoints["small"].control("slow", factor=200)
        deadline_s = time.monotonic() + 60
        while selected(live, max_tokens=1, x_slo_ttft_ms="800") == "small":
            assert time.monotonic() < deadline_s
            selected(live, max_tokens=1, x_slo_ttft_ms=ANY)
        asked_s = time.time()
        selected(live, max_tokens=1, x_slo_ttft_ms=ANY, x_slo_category="code")
        while "routing on the last snapshot until it answers" not in live.proxy.log:
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
    finally:
        live.valkey.resume()
    live.began_s = asked_s
    deadline_s = time.monotonic() + 60
    while [one["category"] for one in live.records(1)].count("code") != 1:  # the record waited in memory
        assert time.monotonic() < deadline_s
    log = live.proxy.log
    assert "the load of medium cannot be read from its metrics_url (TimeoutError)" in log
    assert re.findall("the job .*", log) == []
    assert [path.is_fifo() for path in live.proxy.config_path.parent.glob("records.*")] == [True]


def test_the_workers_state_is_shared_under_the_prefix_and_gone_when_the_worker_is(live: Stack) -> None:
    keys = list(live.redis.scan_iter("live:slo_router:live:*"))
    assert len(keys) == 1
    assert 0 < live.redis.ttl(keys[0]) <= 6
