"""Emulated endpoints that fall silent: at which place, for which requests, how long, and what they record of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from evaluation.emulator import EndpointSpec, Fault, Handle, instant, running_endpoints
from evaluation.emulator.answers import words
from evaluation.emulator.faults import FaultSwitch, StallPlace
from evaluation.emulator.record import Seen

MARK = "#0000beef"
LATE = replace(instant("late", slots=100), opens_early=False)
CLIENT = httpx.Client(limits=httpx.Limits(max_keepalive_connections=0), timeout=60)
BODIES: dict[str, dict[str, object]] = {
    "/chat/completions": {"messages": [{"role": "user", "content": f"{MARK} Hi"}]},
    "/completions": {"prompt": f"{MARK} Hi"},
    "/responses": {"input": f"{MARK} Hi"},
    "/messages": {"messages": [{"role": "user", "content": f"{MARK} Hi"}], "max_tokens": 50},
}
# What a client gets before the silence of a stream, by route, in the order of BODIES.
BEFORE: dict[StallPlace, tuple[bytes, ...]] = {
    "headers": (b"",) * 4,
    "comments": (b": keep-alive",) * 4,
    "opening": (b'"role":"assistant"', b"", b"response.content_part.added", b"content_block_start"),
    "token": (b'"role":"assistant"', b"", b"response.content_part.added", b"content_block_start"),
    "middle": (MARK.encode(),) * 4,
}


@pytest.fixture(scope="module")
def running() -> Iterator[Handle]:
    with running_endpoints([LATE]) as handles:
        yield handles[0]


@pytest.fixture
def late(running: Handle) -> Handle:
    running.reset()
    return running


def asked(handle: Handle, path: str, *, stream: bool) -> contextlib.AbstractContextManager[httpx.Response]:
    return CLIENT.stream("POST", handle.api_base + path, json={"model": "any", "stream": stream, **BODIES[path]})


def left(handle: Handle) -> Seen:
    """The only request, once the endpoint has noticed that its client left."""
    deadline_s = time.monotonic() + 60
    while not any(seen.closed_s for seen in handle.seen()):
        assert time.monotonic() < deadline_s, "the endpoint did not notice that its client left"
        time.sleep(0.001)
    (seen,) = handle.seen()
    return seen


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("place", BEFORE)
def test_a_stream_falls_silent_at_its_place_and_the_endpoint_sees_its_client_leave(
    late: Handle, path: str, place: StallPlace
) -> None:
    late.control("stall", place=place, stall_s=None, after_chunks=1)
    expected, got = BEFORE[place][list(BODIES).index(path)], b""
    with asked(late, path, stream=True) as response:
        pieces = response.iter_bytes()
        while expected not in got:
            got += next(pieces)
    seen = left(late)
    assert (seen.status, seen.completed, seen.mark, seen.pieces) == (200, False, MARK, int(place == "middle"))
    assert got.count(MARK.encode()) == int(place == "middle")
    assert seen.at_s <= (seen.headers_s or 0.0) <= (seen.closed_s or 0.0)
    assert (seen.content_s is not None) == (place == "middle")


@pytest.mark.parametrize("stream", [True, False])
def test_silence_on_the_connection_has_no_status(late: Handle, stream: bool) -> None:
    late.control("stall", place="connection", stall_s=None)
    with pytest.raises(httpx.ReadTimeout):
        CLIENT.post(
            late.api_base + "/completions",
            json={"model": "any", "stream": stream, **BODIES["/completions"]},
            timeout=httpx.Timeout(60, read=0.5),
        )
    assert (left(late).status, left(late).headers_s, left(late).mark) == (None, None, MARK)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("place", ["connection", *BEFORE])
def test_after_the_silence_comes_the_answer_that_would_have_come(
    late: Handle, path: str, place: StallPlace, stream: bool
) -> None:
    def answer() -> list[str]:
        with asked(late, path, stream=stream) as response:
            text = "".join(response.iter_text())
        return [line.split('"created')[0][-9:] for line in text.split("\n") if line and not line.startswith(":")]

    plain = answer()
    late.control("stall", place=place, stall_s=0.01, after_chunks=1)
    assert answer() == plain
    assert [(seen.completed, seen.closed_s) for seen in late.seen()] == [(True, None)] * 2


def test_a_whole_answer_may_fall_silent_after_its_headers(late: Handle) -> None:
    late.control("stall", place="comments", stall_s=None)
    with asked(late, "/chat/completions", stream=False) as response:
        assert next(response.iter_bytes()) == b"\n"
    assert left(late).status == 200


def test_a_marked_answer_depends_on_the_mark_alone_and_begins_with_it(late: Handle) -> None:
    with asked(late, "/completions", stream=False) as response:
        text = response.read().decode()
    assert "".join(words("late", f"Something else {MARK}", 8)) in text
    assert words("late", MARK, 2)[0] == f"[late] {MARK} "


def test_a_share_of_the_requests_meets_a_fault_and_the_same_ones_with_the_same_seed() -> None:
    mix = (Fault(fault="stall", share=0.3, seed=5), Fault(fault="cut", share=0.2))
    found = []
    for _ in range(2):
        switch = FaultSwitch(Fault())
        switch.set(*mix)
        found.append([switch.take(reused=False).fault for _ in range(2_000)])
    assert found[0] == found[1]
    shares = [found[0].count(kind) / 2_000 for kind in ("stall", "cut", "ok")]
    assert shares == pytest.approx([0.3, 0.2, 0.5], abs=0.04)


def test_a_fault_ends_when_its_time_is_over_and_a_server_gets_warm() -> None:
    now_s = [0.0]
    switch = FaultSwitch(Fault(fault="hang", for_s=10), clock=lambda: now_s[0])
    assert switch.take(reused=False).fault == "hang"
    now_s[0] = 10.0
    assert (switch.take(reused=False).fault, switch.fault.fault) == ("ok", "ok")
    switch.set(Fault(fault="stall", stall_s=None, for_s=10))
    now_s[0] = 13.0
    assert switch.take(reused=False).stall_s == 7.0
    switch.set(Fault(fault="warming", factor=5, warm_s=8))
    now_s[0] = 100.0  # no request came yet, so it is cold
    factors = []
    for later_s in (0.0, 4.0, 8.0):
        now_s[0] = 100.0 + later_s
        factors.append((one := switch.take(reused=False)).fault == "slow" and one.factor)
    assert factors == [5.0, 3.0, False]


def test_a_mix_can_be_set_over_http(late: Handle) -> None:
    mix = [{"fault": "stall", "share": 0.0}, {"fault": "error500"}]
    assert CLIENT.post(late.url + "/control", json=mix).json()["fault"]["fault"] == "stall"
    assert CLIENT.post(late.api_base + "/completions", json=BODIES["/completions"]).status_code == 500


def test_a_spec_may_begin_cold() -> None:
    assert EndpointSpec(name="cold", fault="warming").fault == "warming"


def test_anthropics_route_calls_a_required_tool(late: Handle) -> None:
    body = {**BODIES["/messages"], "tools": [{"name": "look_up", "input_schema": {}}], "model": "any"}
    choice = {"type": "tool", "name": "look_up"}
    found = CLIENT.post(late.api_base + "/messages", json={**body, "tool_choice": choice}).json()
    assert (found["stop_reason"], found["content"][0]["name"]) == ("tool_use", "look_up")
    assert found["content"][0]["input"] == {"answer": "[late]"}
    plain = CLIENT.post(late.api_base + "/messages", json={**body, "tool_choice": {"type": "auto"}}).json()
    assert (plain["stop_reason"], plain["content"][0]["type"]) == ("end_turn", "text")
