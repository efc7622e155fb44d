"""Emulated endpoints behave, over real HTTP, like the model servers that they stand for.

Every text route answers the same prompt with the same text, streamed or not; latency grows with prompt, batch and
queue; each fault is what a client of a broken server would see; and what was received can be asserted afterwards.
"""

import asyncio
import json
import math
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pydantic
import pytest
from httpx_sse import EventSource
from hypothesis import given
from hypothesis import strategies as st

from evaluation.emulator import EndpointSpec, Handle, instant, read_specs, running_endpoints
from evaluation.emulator.answers import Ask, compose, output_tokens
from evaluation.emulator.engine import Engine
from evaluation.emulator.prefix_cache import PrefixCache
from evaluation.emulator.spec import Allowance
from evaluation.shared import virtual_time
from evaluation.shared.traffic import IMAGE_TOKENS, PATHS, Route, body
from evaluation.shared.traffic import Ask as AskedFor
from evaluation.shared.traffic import Fault as AskFault
from evaluation.shared.virtual_time import VirtualLoop

Json = dict[str, Any]

# One client, because to make one takes long; no kept-alive connections, because some of the faults are about them.
CLIENT = httpx.Client(limits=httpx.Limits(max_keepalive_connections=0), timeout=60)

CHAT, COMPLETIONS, RESPONSES = "/chat/completions", "/completions", "/responses"
QUICK = instant("quick", slots=8)
PACED = EndpointSpec(name="paced", ttft_ms=40, prefill_us_per_token=200, tpot_ms=10, tpot_growth=1, slots=2, jitter=0)
SINGLE = EndpointSpec(name="single", ttft_ms=100, prefill_us_per_token=0, tpot_ms=5, slots=1, jitter=0)
TOOLS = {
    CHAT: [{"type": "function", "function": {"name": "look_up", "parameters": {}}}],
    RESPONSES: [{"type": "function", "name": "look_up", "parameters": {}}],
}


@pytest.fixture(scope="module")
def endpoints() -> Iterator[dict[str, Handle]]:
    with running_endpoints([QUICK, PACED, SINGLE]) as handles:
        yield {handle.name: handle for handle in handles}


@pytest.fixture
def quick(endpoints: dict[str, Handle]) -> Handle:
    endpoints["quick"].reset()
    return endpoints["quick"]


@pytest.fixture
def paced(endpoints: dict[str, Handle]) -> Handle:
    endpoints["paced"].reset()
    return endpoints["paced"]


@pytest.fixture
def single(endpoints: dict[str, Handle]) -> Handle:
    endpoints["single"].reset()
    return endpoints["single"]


def asking(path: str, prompt: str, **fields: object) -> Json:
    """A body for one of the text routes."""
    if path == CHAT:
        return {"model": "any", "messages": [{"role": "user", "content": prompt}], **fields}
    return {"model": "any", "prompt" if path == COMPLETIONS else "input": prompt, **fields}


def post(handle: Handle, path: str, body: Json, timeout: float | httpx.Timeout = 60) -> httpx.Response:
    return CLIENT.post(handle.api_base + path, json=body, timeout=timeout)


def stream(handle: Handle, path: str, body: Json) -> Iterator[Json]:
    """The JSON of each event, as it comes."""
    with CLIENT.stream("POST", handle.api_base + path, json={**body, "stream": True}, timeout=60) as response:
        for event in EventSource(response).iter_sse():
            if event.data != "[DONE]":
                yield json.loads(event.data)


def content_of(path: str, event: Json) -> str | None:
    """The text that an event adds; None where it is another kind of event."""
    if path == RESPONSES:
        return str(event["delta"]) if event["type"] == "response.output_text.delta" else None
    if not event["choices"]:
        return None
    choice: Json = event["choices"][0]
    text: str | None = choice["text"] if path == COMPLETIONS else choice["delta"].get("content")
    return text


def text_of(path: str, answer: Json) -> str:
    if path == RESPONSES:
        return str(answer["output"][0]["content"][0]["text"])
    choice: Json = answer["choices"][0]
    return str(choice["text"] if path == COMPLETIONS else choice["message"]["content"])


def gauge(handle: Handle, name: str) -> float:
    match = re.search(rf"^vllm:{name}{{[^}}]*}} (\S+)$", CLIENT.get(handle.url + "/metrics").text, re.MULTILINE)
    assert match is not None, name
    return float(match[1])


def seen_by(handle: Handle, count: int) -> None:
    """Returns when so many requests have reached it."""
    deadline = time.monotonic() + 60
    while len(handle.seen()) < count:
        assert time.monotonic() < deadline, f"{len(handle.seen())} of {count} requests came"
        time.sleep(0.001)


def eventually(handle: Handle, name: str, value: float) -> None:
    deadline = time.monotonic() + 60
    while gauge(handle, name) != value:
        assert time.monotonic() < deadline, f"{name} did not become {value}"
        time.sleep(0.01)


# --- routes


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, RESPONSES])
def test_a_prompt_gets_the_same_text_streamed_or_not_and_it_names_the_model(quick: Handle, path: str) -> None:
    body = asking(path, "Name three rivers.")
    text = text_of(path, post(quick, path, body).json())
    assert text.startswith("[quick] ")
    assert "".join(filter(None, (content_of(path, event) for event in stream(quick, path, body)))) == text


@pytest.mark.parametrize(
    ("path", "limit"), [(CHAT, "max_completion_tokens"), (CHAT, "max_tokens"), (COMPLETIONS, "max_tokens")]
)
def test_the_token_limit_ends_an_answer_and_usage_counts_it(quick: Handle, path: str, limit: str) -> None:
    """18 characters are 18 / 4 = 4.5, so 5 tokens; an answer is 8 to 24 tokens long unless it is limited."""
    answer = post(quick, path, asking(path, "Name three rivers.", **{limit: 4})).json()
    assert answer["usage"] == {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9}
    assert answer["choices"][0]["finish_reason"] == "length"
    assert len(text_of(path, answer).split()) == 4

    whole = post(quick, path, asking(path, "Name three rivers.")).json()
    assert 8 <= whole["usage"]["completion_tokens"] <= 24
    assert whole["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_a_stream_has_usage_in_its_last_chunk_only_where_asked_for(quick: Handle, path: str) -> None:
    body = asking(path, "Name three rivers.", max_tokens=4)
    assert not any("usage" in event for event in stream(quick, path, body))
    *_, last = stream(quick, path, {**body, "stream_options": {"include_usage": True}})
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], 4)


def test_responses_are_streamed_as_numbered_events(quick: Handle) -> None:
    got = list(stream(quick, RESPONSES, asking(RESPONSES, "Hi", max_output_tokens=2)))
    assert [event["type"].removeprefix("response.") for event in got] == [
        *("created", "in_progress", "output_item.added", "content_part.added"),
        *("output_text.delta", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done", "incomplete"),
    ]
    assert [event["sequence_number"] for event in got] == list(range(10))
    final = got[-1]["response"]
    assert final["incomplete_details"] == {"reason": "max_output_tokens"}
    assert (final["usage"]["input_tokens"], final["usage"]["output_tokens"]) == (1, 2)


def test_a_required_tool_is_called_in_chat(quick: Handle) -> None:
    body = asking(CHAT, "Hi", tools=TOOLS[CHAT], tool_choice="required")
    choice = post(quick, CHAT, body).json()["choices"][0]
    function = choice["message"]["tool_calls"][0]["function"]
    assert (choice["finish_reason"], function["name"]) == ("tool_calls", "look_up")
    assert json.loads(function["arguments"]) == {"answer": "[quick]"}

    deltas = [event["choices"][0]["delta"] for event in stream(quick, CHAT, body)]
    calls = [delta["tool_calls"][0]["function"] for delta in deltas if "tool_calls" in delta]
    assert [call.get("name") for call in calls] == ["look_up", None, None, None]
    assert "".join(call["arguments"] for call in calls) == function["arguments"]


def test_a_required_tool_is_called_in_responses(quick: Handle) -> None:
    body = asking(RESPONSES, "Hi", tools=TOOLS[RESPONSES], tool_choice="required")
    item = post(quick, RESPONSES, body).json()["output"][0]
    assert (item["type"], item["name"]) == ("function_call", "look_up")
    got = list(stream(quick, RESPONSES, body))
    assert [event["sequence_number"] for event in got] == list(range(len(got)))
    assert got[-1]["response"]["output"][0]["arguments"] == item["arguments"]


def test_embeddings_are_unit_vectors_of_the_text(quick: Handle) -> None:
    answer = post(quick, "/embeddings", {"input": ["a", "b", "a"]}).json()
    first, other, again = (entry["embedding"] for entry in answer["data"])
    assert sum(x * x for x in first) == pytest.approx(1)
    assert first == again != other


def test_models_and_health(quick: Handle) -> None:
    assert CLIENT.get(quick.api_base + "/models").json()["data"][0]["id"] == "quick"
    assert CLIENT.get(quick.url + "/health").status_code == 200


def test_a_prompt_beyond_the_context_is_refused(single: Handle) -> None:
    """32,768 characters are 8,192 tokens: no room for an answer in a context of 8,192."""
    response = post(single, CHAT, asking(CHAT, "x" * 32_768))
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "messages"), ({"messages": []}, "messages"), (asking(CHAT, "Hi", max_tokens=0), "max_tokens"), ([], "body")],
)
def test_a_malformed_body_is_refused_naming_the_field(quick: Handle, body: Json, field: str) -> None:
    response = post(quick, CHAT, body)
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith(f"{field}: ")


# --- answers


@given(prompt=st.text(), mean=st.integers(1, 500), limit=st.none() | st.integers(1, 500), room=st.integers(1, 500))
def test_answers_vary_from_token_to_token_and_keep_every_limit(
    prompt: str, mean: int, limit: int | None, room: int
) -> None:
    ask = Ask(prompt=prompt, max_tokens=limit, stream=True, include_usage=False, tool=None)
    answer = compose(ask, EndpointSpec(name="m", output_tokens=mean), answer_id="1", created=0, room=room)
    assert all(one != next_one for one, next_one in pairwise(answer.pieces))
    assert 1 <= len(answer.pieces) <= min(room, limit or room)
    if answer.finish_reason == "stop":
        assert mean * 0.5 - 1 <= len(answer.pieces) <= max(1, mean * 1.5)


def test_a_chunk_may_carry_several_tokens_and_the_first_comes_alone() -> None:
    spec = EndpointSpec(name="m", output_tokens=40, tokens_per_chunk=16)
    ask = Ask(prompt="hello", max_tokens=35, stream=True, include_usage=False, tool=None)
    answer = compose(ask, spec, answer_id="1", created=0, room=99)
    alone = compose(ask, replace(spec, tokens_per_chunk=1), answer_id="1", created=0, room=99)
    assert (answer.text, answer.tokens) == (alone.text, alone.tokens)
    assert len(answer.pieces) == 1 + math.ceil((answer.tokens - 1) / 16)
    assert answer.pieces[0] == alone.pieces[0]
    with running_endpoints([spec]) as (handle,):
        *_, last = stream(handle, CHAT, {**asking(CHAT, "hello"), "stream_options": {"include_usage": True}})
    assert last["usage"]["completion_tokens"] == output_tokens("hello", 40)


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_one_that_thinks_writes_its_hidden_reasoning_before_the_first_piece(path: str) -> None:
    thinks = replace(QUICK, name="thinks", tpot_ms=1, thought_tokens=100)
    with running_endpoints([thinks]) as (handle,):
        hidden: dict[str, int] = {}
        for effort in ("minimal", "medium", "high"):
            asked = {"reasoning": {"effort": effort}} if path == RESPONSES else {"reasoning_effort": effort}
            body = {**asking(path, "hello"), **asked}
            usage = post(handle, path, body).json()["usage"]
            written, details = ("output_tokens", "output_tokens_details")
            if path == CHAT:
                written, details = ("completion_tokens", "completion_tokens_details")
            hidden[effort] = usage.get(details, {}).get("reasoning_tokens", 0)
            assert usage[written] == hidden[effort] + output_tokens("hello", QUICK.output_tokens)
            began_s = time.monotonic()
            next(text for event in stream(handle, path, body) if (text := content_of(path, event)))
            assert time.monotonic() - began_s >= hidden[effort] / 1_000
        assert hidden == {"minimal": 0, "medium": output_tokens("hello", 100), "high": 3 * output_tokens("hello", 100)}


def test_answers_of_a_heavy_tail_have_the_mean_that_was_asked_for() -> None:
    lengths = sorted(output_tokens(f"prompt {i}", 100, sigma=0.9) for i in range(5_000))
    assert sum(lengths) / len(lengths) == pytest.approx(100, rel=0.05)
    assert lengths[-50] > 5 * lengths[2_500]


@pytest.mark.parametrize("route", list(PATHS))
def test_tools_and_images_are_part_of_the_prompt(quick: Handle, route: Route) -> None:
    if route == "messages":
        return  # LiteLLM translates those
    with_both = AskedFor(route, stream=False, text_tokens=50, answer_tokens=5, tools=3, tool_tokens=100, images=2)
    usage = CLIENT.post(quick.url + PATHS[route], json=body(with_both, "any")).json()["usage"]
    found = usage["prompt_tokens" if route == "chat" else "input_tokens"]
    assert found == pytest.approx(50 + 3 * 100 + 2 * IMAGE_TOKENS, rel=0.05)


@pytest.mark.parametrize(("fault", "code"), [("parameter", "invalid_value"), ("policy", "content_policy_violation")])
def test_a_request_with_a_fault_of_its_own_is_refused(quick: Handle, fault: AskFault, code: str) -> None:
    wrong = AskedFor("chat", stream=False, text_tokens=50, answer_tokens=5, fault=fault)
    response = CLIENT.post(quick.url + PATHS["chat"], json=body(wrong, "any"))
    assert (response.status_code, response.json()["error"]["code"]) == (400, code)


@pytest.mark.parametrize("says_when", [True, False])
def test_beyond_its_rate_limit_an_endpoint_answers_429_and_says_when_to_come_back_or_does_not(says_when: bool) -> None:
    now_s = 0.0
    allowance = Allowance(EndpointSpec(name="limited", per_minute=30, burst=2), lambda: now_s)
    assert [allowance.wait_s() for _ in range(3)] == [None, None, 2.0]
    now_s = 2.0
    assert [allowance.wait_s() for _ in range(2)] == [None, 2.0]
    limited = EndpointSpec(name="limited", per_minute=1, burst=1, says_when=says_when)
    with running_endpoints([limited]) as (handle,):
        assert post(handle, CHAT, asking(CHAT, "hello")).status_code == 200
        refused = post(handle, CHAT, asking(CHAT, "hello"))
    assert refused.status_code == 429
    assert refused.headers.get("retry-after") == ("60" if says_when else None)


# --- pace


class Times(NamedTuple):
    """Of one request: the seconds until its first token, and until its last."""

    first_s: float
    last_s: float


def timed(spec: EndpointSpec, prompt_tokens: int, tokens: int, requests: int = 1) -> list[Times]:
    """What requests take that come together, on a clock that nothing else delays."""

    async def main(loop: VirtualLoop) -> list[Times]:
        engine = Engine(spec, loop.time)

        async def one() -> Times:
            async with engine.admit(prompt_tokens) as run:
                await run.first_token()
                first_s = loop.time()
                while run.generated < tokens:
                    await run.more_tokens(1)
                return Times(first_s, loop.time())

        return list(await asyncio.gather(*(one() for _ in range(requests))))

    return virtual_time.run(main)


def test_the_first_token_takes_longer_for_a_longer_prompt_and_the_others_come_at_the_pace(paced: Handle) -> None:
    """400 tokens: 40 ms + 400 · 0.2 ms = 120 ms to the first; 9 more at 10 ms each."""
    assert timed(PACED, 400, 10) == [pytest.approx((0.12, 0.21))]
    start = time.perf_counter()
    events = [
        event for event in stream(paced, CHAT, asking(CHAT, "x" * 1600, max_tokens=10)) if content_of(CHAT, event)
    ]
    assert len(events) == 10
    assert time.perf_counter() - start >= 0.208  # over HTTP it takes no less


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_what_precedes_the_first_token_comes_at_once_or_with_it(path: str) -> None:
    """The first token takes a second; a role-only chunk, or an output item that is still empty, waits for it or not."""
    early, late = (
        EndpointSpec(name=name, ttft_ms=1_000, tpot_ms=1, jitter=0, opens_early=opens_early)
        for name, opens_early in (("early", True), ("late", False))
    )
    with running_endpoints([early, late]) as handles:
        before_s, together_s = (_between_opening_and_token_s(handle, path) for handle in handles)
    assert before_s > 0.2
    assert together_s < before_s


def _between_opening_and_token_s(handle: Handle, path: str) -> float:
    opened_s = 0.0
    for event in stream(handle, path, asking(path, "Hi", max_tokens=2)):
        if content_of(path, event):
            return time.perf_counter() - opened_s
        opened_s = time.perf_counter()
    raise AssertionError("no token came")


def test_requests_side_by_side_slow_each_other() -> None:
    """With tpot_growth 1, two at once decode at 20 ms: 20 tokens after the first take 400 ms, not 200."""
    one, other = timed(PACED, 1, 21, requests=2)
    assert one.last_s - one.first_s == pytest.approx(0.4, abs=0.02)
    assert other.last_s - other.first_s == pytest.approx(0.4, abs=0.02)


def test_with_one_slot_the_second_request_waits_for_the_first(single: Handle) -> None:
    """100 ms to the first token, 20 more at 5 ms: 200 ms each, one after the other."""
    assert timed(SINGLE, 1, 21, requests=2) == [pytest.approx((0.1, 0.2)), pytest.approx((0.3, 0.4))]
    single.control("slow", factor=10_000)
    with begun(single) as first, begun(single):
        eventually(single, "num_requests_waiting", 1)
        assert gauge(single, "num_requests_running") == 1
        first.close()
        eventually(single, "num_requests_waiting", 0)
        assert gauge(single, "num_requests_running") == 1
    eventually(single, "num_requests_running", 0)


@contextmanager
def begun(handle: Handle, requests: int = 1) -> Iterator[socket.socket]:
    """A connection with requests that nobody reads the answers of."""
    body = json.dumps(asking(CHAT, "Hi", max_tokens=1, stream=True)).encode()
    request = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    with socket.create_connection(("127.0.0.1", handle.port)) as client:
        client.sendall(requests * request)
        yield client


def test_a_client_that_hangs_up_frees_its_slot(single: Handle) -> None:
    single.control("slow", factor=10_000)
    with begun(single):
        eventually(single, "num_requests_running", 1)
    eventually(single, "num_requests_running", 0)
    assert [seen.completed for seen in single.seen()] == [False]


def test_metrics_have_the_names_of_vllm(quick: Handle) -> None:
    before = gauge(quick, "generation_tokens_total")
    post(quick, CHAT, asking(CHAT, "Hi", max_tokens=4))
    assert gauge(quick, "generation_tokens_total") == before + 4
    text = CLIENT.get(quick.url + "/metrics").text
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r'vllm:\w+\{engine="0",model_name="quick"\} \d+\.\d+', line) for line in samples)
    assert {"num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "gpu_cache_usage_perc"} <= {
        line[len("vllm:") : line.index("{")] for line in samples
    }


# --- faults


@pytest.mark.parametrize(("fault", "status"), [("error500", 500), ("error429", 429), ("status", 503)])
def test_status_faults_answer_with_an_error_body(quick: Handle, fault: Any, status: int) -> None:
    quick.control(fault)
    response = post(quick, CHAT, asking(CHAT, "Hi"))
    assert (response.status_code, response.headers.get("retry-after")) == (status, "1" if status == 429 else None)
    assert response.json()["error"]["message"]


def test_a_hanging_endpoint_never_answers(quick: Handle) -> None:
    quick.control("hang")
    with pytest.raises(httpx.ReadTimeout):
        post(quick, CHAT, asking(CHAT, "Hi"), timeout=httpx.Timeout(60, read=0.2))
    seen_by(quick, 1)
    assert [(seen.fault, seen.status) for seen in quick.seen()] == [("hang", None)]


def test_a_hanging_request_on_a_connection_that_streamed_before_does_not_outlive_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with running_endpoints([EndpointSpec(name="one", ttft_ms=50, tpot_ms=1, jitter=0)]) as (handle,):
        with begun(handle, requests=2):  # so that the second begins while the first one's task still ends
            seen_by(handle, 1)
            handle.control("hang")
            seen_by(handle, 2)
        eventually(handle, "num_requests_running", 0)
    assert "graceful" not in caplog.text  # the server had nothing to wait for, and nothing to cancel after a second


@pytest.mark.parametrize("streamed", [False, True])
def test_a_dropped_connection_ends_before_the_first_byte(quick: Handle, streamed: bool) -> None:
    quick.control("drop")
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        post(quick, CHAT, asking(CHAT, "Hi", stream=streamed))


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, RESPONSES])
def test_a_cut_stream_ends_after_its_chunks(quick: Handle, path: str) -> None:
    quick.control("cut", after_chunks=2)
    got: list[Json] = []
    with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
        got.extend(stream(quick, path, asking(path, "Hi")))
    assert len([event for event in got if content_of(path, event)]) == 2
    assert [(seen.status, seen.completed) for seen in quick.seen()] == [(200, False)]


def test_a_cut_body_ends_half_way(quick: Handle) -> None:
    quick.control("cut")
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        post(quick, CHAT, asking(CHAT, "Hi"))


def test_a_slow_endpoint_takes_its_factor_as_long(paced: Handle) -> None:
    """41 tokens after 40.2 ms at 10 ms each would be 440 ms; one token is 40.2 ms, and five times as long 201 ms."""
    paced.control("slow", factor=5)
    start = time.perf_counter()
    post(paced, CHAT, asking(CHAT, "Hi", max_tokens=1))
    assert time.perf_counter() - start >= 0.2


def test_noise_surrounds_the_content(paced: Handle) -> None:
    body = asking(CHAT, "Hi", max_tokens=2)
    plain = [event["choices"] for event in stream(paced, CHAT, body)]
    paced.control("noise")
    assert [event["choices"] for event in stream(paced, CHAT, body)] == plain
    text = post(paced, CHAT, {**body, "stream": True}).text
    assert text.count(": keep-alive\n\n\n\n") == 3  # before the content and after each token


def test_a_fault_can_be_limited_to_a_number_of_requests(quick: Handle) -> None:
    quick.control("error500", times=2)
    assert [post(quick, CHAT, asking(CHAT, "Hi")).status_code for _ in range(3)] == [500, 500, 200]


def test_every_nth_request_on_a_reused_connection_is_dropped(quick: Handle) -> None:
    """Five requests on one connection: the first opens it, so the third is the second that reuses it."""
    quick.control(drop_keepalive_every=2)
    outcomes: list[int | None] = []
    with httpx.Client() as client:
        for _ in range(5):
            try:
                outcomes.append(client.post(quick.api_base + CHAT, json=asking(CHAT, "Hi")).status_code)
            except httpx.RemoteProtocolError:
                outcomes.append(None)
    assert outcomes == [200, 200, None, 200, 200]


# --- control


def test_faults_and_what_was_received_are_reachable_over_http(quick: Handle) -> None:
    control = quick.url + "/control"
    assert CLIENT.post(control, json={"fault": "error500", "times": 1}).json()["fault"]["fault"] == "error500"
    headers = {"x-request-id": "7", "authorization": "Bearer secret"}
    CLIENT.post(quick.api_base + CHAT, json=asking(CHAT, "Hi", stream=True), headers=headers)
    got = CLIENT.get(control).json()
    assert (got["requests"], got["fault"]["fault"]) == (1, "ok")
    assert got["seen"][0].pop("headers_s") >= got["seen"][0].pop("at_s") > time.time() - 60
    assert got["seen"] == [
        {
            "path": "/v1/chat/completions",
            "stream": True,
            "headers": {"x-request-id": "7"},
            "body_keys": ["messages", "model", "stream"],
            "fault": "error500",
            "status": 500,
            "completed": False,
            "prompt_tokens": None,
            "completion_tokens": None,
            "mark": None,
            "content_s": None,
            "pieces": 0,
            "ended_s": None,
            "closed_s": None,
        }
    ]
    assert CLIENT.delete(control).json()["requests"] == 0


def test_an_unknown_fault_is_refused(quick: Handle) -> None:
    response = CLIENT.post(quick.url + "/control", json={"fault": "explode"})
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith("fault: ")


def test_specs_are_read_from_yaml_and_a_wrong_field_is_named(tmp_path: Path) -> None:
    file = tmp_path / "endpoints.yaml"
    file.write_text("- {name: small, tpot_ms: 3}\n- {name: large, slots: 2}\n")
    assert read_specs(file) == [EndpointSpec(name="small", tpot_ms=3), EndpointSpec(name="large", slots=2)]
    file.write_text("- {name: small, slots: 0}\n")
    with pytest.raises(pydantic.ValidationError, match="slots"):
        read_specs(file)


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=str(port)), running_endpoints([EndpointSpec(name="late", port=port)]):
            pass


def test_the_command_prints_where_each_endpoint_is_and_ends_on_a_signal(tmp_path: Path) -> None:
    file = tmp_path / "endpoints.yaml"
    file.write_text("- {name: small}\n- {name: large}\n")
    command = [sys.executable, "-m", "evaluation.emulator", "--spec", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        started = [json.loads(process.stdout.readline()) for _ in range(2)]
        names = [CLIENT.get(one["api_base"] + "/models").json()["data"][0]["id"] for one in started]
        process.terminate()
        assert process.wait(60) == -signal.SIGTERM
    assert names == ["small", "large"]


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, RESPONSES])
def test_a_prompt_that_begins_as_one_before_needs_prefill_for_the_rest_alone_and_usage_says_how_much(path: str) -> None:
    spec = EndpointSpec(
        name="cached", ttft_ms=0, prefill_us_per_token=1_000, tpot_ms=0, jitter=0, cache_tokens=10_000, output_tokens=4
    )
    begins, whole_s = "word " * 160, 0.2

    with running_endpoints([spec]) as (cached,):

        def asked(prompt: str) -> tuple[int, float]:
            """How many tokens were cached, and what it took."""
            began_s = time.perf_counter()
            usage = post(cached, path, asking(path, prompt)).json()["usage"]
            details = usage.get("prompt_tokens_details") or usage["input_tokens_details"]
            return details["cached_tokens"], time.perf_counter() - began_s

        prompts = begins, begins + "and more", begins + "and more " * 80, "other " * 160
        known, took_s = zip(*map(asked, prompts), strict=True)
        while asked(begins + "and more")[1] >= whole_s:
            """A busy machine may be slow now and then."""
    assert known == (0, 192, 192, 0)  # blocks of 16 tokens of 4 characters, the last token aside
    assert took_s[0] > whole_s


def test_what_a_prefix_cache_was_not_asked_for_lately_is_gone() -> None:
    cache = PrefixCache(64)
    assert [cache.take("a" * 200), cache.take("a" * 200), cache.take("b" * 300), cache.take("a" * 200)] == [0, 48, 0, 0]
