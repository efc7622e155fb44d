"""The usage that a server reports is recorded as LiteLLM bills it. An unknown value is null, and never 0."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping

import pytest

from slo_router.contract.record import SloRecord
from tests.e2e.conftest import LITELLM, ODD_USD, Stack
from tests.e2e.test_routes import ROUTES
from tests.shared.particular_server import GOOD, Answers, Particular, Request, refuse, whole
from tests.shared.scripted_server import DONE, Reply, chunk, delta, stream, usage

RIGHT: Mapping[str, int] = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}
ZEROS: Mapping[str, int] = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
ABSENT = "absent"
COST_USD = 12 * ODD_USD[0] + 5 * ODD_USD[1]
of_one_deployment = pytest.mark.skipif(LITELLM < (1, 108), reason="LiteLLM asks nobody where a group has but one")
BASE = {"id": "c", "created": 1, "model": "odd"}


@pytest.fixture
def server(odd: Particular) -> Iterator[Particular]:
    yield odd
    odd.answers = lambda _: GOOD


def answering(usage: object, beside: Mapping[str, object] = {}, choices: int = 1) -> Answers:
    """An answer with this usage. `beside` has further fields of a provider's own."""

    def answer(request: Request) -> bytes:
        said = {**beside} if usage == ABSENT else {**beside, "usage": usage}
        if request.body.get("stream"):
            shape = {**BASE, "object": "chat.completion.chunk"}
            parts: list[Mapping[str, object]] = [delta(content="Yes, it is."), {**delta("stop"), **beside}]
            parts += [] if usage == ABSENT else [{"choices": [], "usage": usage}]
            return whole(stream(*(chunk({**shape, **part}) for part in parts), DONE))
        message = {"message": {"role": "assistant", "content": "Yes, it is."}, "finish_reason": "stop"}
        listed = [{"index": index, **message} for index in range(choices)]
        raw = json.dumps({**BASE, "object": "chat.completion", "choices": listed, **said}).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        return head % len(raw) + raw

    return answer


def recorded(stack: Stack, **body: object) -> Mapping[str, object]:
    answer = stack.ask("Is it?", model="odd", body=body)
    assert answer.status_code == 200, answer.text
    (record,) = stack.records(1)
    billed = answer.headers.get("x-litellm-response-cost")  # only answers in one piece have it
    if billed is not None and record["cost_usd"] is not None:
        assert record["cost_usd"] == pytest.approx(float(billed))
    assert record["outcome"] == "success"
    return record


@pytest.mark.parametrize(
    "usage",
    [ABSENT, None, {}, ZEROS, {"total_tokens": 17}, dict.fromkeys(RIGHT), {**RIGHT, "prompt_tokens": -12}],
    ids=["absent", "null", "{}", "zeros", "total alone", "nulls", "negative"],
)
def test_usage_that_says_nothing_is_null_in_tokens_and_cost(stack: Stack, server: Particular, usage: object) -> None:
    server.answers = answering(usage)
    record = recorded(stack)
    assert (record["prompt_tokens"], record["cost_usd"]) == (None, None)
    assert record["completion_tokens"] in (None, 5)


@pytest.mark.parametrize(
    "usage",
    [RIGHT, {name: float(value) for name, value in RIGHT.items()}, {name: str(value) for name, value in RIGHT.items()}],
    ids=["right", "floats", "text"],
)
@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "streamed"])
def test_numbers_in_any_clothes_are_numbers(stack: Stack, server: Particular, usage: object, is_stream: bool) -> None:
    server.answers = answering(usage)
    options = {"stream_options": {"include_usage": True}} if is_stream else {}
    record = recorded(stack, stream=is_stream, **options)
    assert (record["prompt_tokens"], record["completion_tokens"]) == (12, 5)
    assert record["cost_usd"] == pytest.approx(COST_USD)


@pytest.mark.parametrize("usage", [ABSENT, None, ZEROS], ids=["absent", "null", "zeros"])
def test_a_stream_without_usage_is_what_litellm_counts_or_null(stack: Stack, server: Particular, usage: object) -> None:
    server.answers = answering(usage, {"x_groq": {"id": "r", "usage": RIGHT}})  # Groq's place for it
    record = recorded(stack, stream=True)
    if record["prompt_tokens"] is None:
        assert (record["completion_tokens"], record["cost_usd"]) == (None, None)
    else:  # LiteLLM counts the words itself
        prompt, completion = record["prompt_tokens"], record["completion_tokens"]
        assert isinstance(prompt, int)
        assert isinstance(completion, int)
        assert record["cost_usd"] == pytest.approx(prompt * ODD_USD[0] + completion * ODD_USD[1])


@pytest.mark.parametrize("said", ["[DONE]", "nothing", "a page"])
def test_a_stream_with_nothing_in_it_is_an_error_and_leaves_a_record(
    stack: Stack, server: Particular, said: str
) -> None:
    page = b"<html>Bad Gateway</html>"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: %d\r\n\r\n" % len(page)
    server.answers = lambda _: head + page if said == "a page" else whole(stream(*[DONE] * (said == "[DONE]")))
    answer = stack.ask("Is it?", model="odd", body={"stream": True})
    assert answer.status_code == 200
    (record,) = stack.records(1)
    assert (record["outcome"], record["error_class"], record["slo_met"]) == ("error", "EmptyStreamError", False)
    assert (record["deployment"], record["cost_usd"]) == ("odd", None)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize("body", [{"choices": []}, {"error": {"message": "Overloaded", "code": 529}}])
def test_an_answer_with_nothing_in_it_is_an_error_and_leaves_a_record(
    stack: Stack, server: Particular, body: Mapping[str, object], path: str
) -> None:
    """LiteLLM passes some of these on as answers."""
    server.answers = lambda _: refuse(200, {**BASE, **body})
    stack.post(path, {**ROUTES[path], "model": "odd"})
    (record,) = stack.records(1)
    assert (record["outcome"], record["slo_met"], record["deployment"]) == ("error", False, "odd")
    assert (record["prompt_tokens"], record["completion_tokens"], record["cost_usd"]) == (None, None, None)


def test_an_answer_that_was_filtered_is_one(stack: Stack, server: Particular) -> None:
    """It counts as an answer, whatever the usage says."""
    filtered = {"index": 0, "message": {"role": "assistant", "content": None}, "finish_reason": "content_filter"}
    server.answers = lambda _: refuse(200, {**BASE, "object": "chat.completion", "choices": [filtered]})
    assert recorded(stack)["error_class"] is None


def test_an_answer_without_a_word_is_none(stack: Stack, server: Particular) -> None:
    """The answer ended at its limit or was filtered. Its usage shows that the model wrote something."""
    server.answers = lambda _: whole(
        stream(chunk(delta(role="assistant")), chunk(delta("length")), chunk(usage(12, 5)))
    )
    record = recorded(stack, stream=True)
    assert (record["prompt_tokens"], record["completion_tokens"]) == (12, 5)


SHELL = {
    "type": "local_shell_call",
    "id": "s",
    "call_id": "c",
    "action": {"type": "exec", "command": ["ls"], "env": {}},
}
SEARCH = {"type": "web_search_call", "id": "w", "action": {"type": "search", "query": "news"}}


@pytest.mark.parametrize("item", [SHELL, SEARCH], ids=["shell", "search"])
def test_a_stream_of_responses_with_one_call_in_one_piece_has_a_first_token(
    stack: Stack, server: Particular, item: Mapping[str, object]
) -> None:
    """Such a call has no deltas."""
    about = {"id": "resp_1", "object": "response", "created_at": 1, "model": "odd", "output": []}
    events: list[Mapping[str, object]] = [
        {"type": "response.created", "response": {**about, "status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "action": None}},
        {"type": "response.output_item.done", "output_index": 0, "item": {**item, "status": "completed"}},
        {
            "type": "response.completed",
            "response": {
                **about,
                "status": "completed",
                "output": [{**item, "status": "completed"}],
                "usage": {"input_tokens": 12, "output_tokens": 5, "total_tokens": 17},
            },
        },
    ]
    server.answers = lambda _: whole(stream(*(chunk(one) for one in events)))
    answer = stack.post("/v1/responses", {"model": "odd", "input": "Look.", "stream": True})
    assert "response.completed" in answer.text, answer.text
    (record,) = stack.records(1)
    assert (record["outcome"], record["prompt_tokens"], record["completion_tokens"]) == ("success", 12, 5)
    assert record["ttft_ms"] is not None


THOUGHT, SEEN = 100, 5  # tokens


def thinking_chat(shown: bool) -> Reply:
    """An answer whose last four words come 0.4 s after its first."""
    thought = [chunk(delta(reasoning_content="Is it? "))] if shown else []
    details = {"reasoning_tokens": THOUGHT}
    counts = {"prompt_tokens": 12, "completion_tokens": THOUGHT + SEEN, "completion_tokens_details": details}
    end = chunk({"choices": [], "usage": {**counts, "total_tokens": 12 + THOUGHT + SEEN}})
    words = (chunk(delta(content="Yes,")), 0.4, chunk(delta(content=" that it is.")))
    return stream(chunk(delta(role="assistant", content="")), *thought, *words, chunk(delta("stop")), end, DONE)


def thinking_response(shown: bool) -> Reply:
    """The same answer in the form of a response."""
    about = {"id": "resp_1", "object": "response", "created_at": 1, "model": "odd"}
    thought = {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "Is it?"}] if shown else []}
    counts = {"input_tokens": 12, "output_tokens": THOUGHT + SEEN, "total_tokens": 12 + THOUGHT + SEEN}
    counts["output_tokens_details"] = {"reasoning_tokens": THOUGHT}  # type: ignore[assignment]
    text = {"type": "output_text", "text": "Yes, that it is.", "annotations": []}
    said = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [text]}
    place = {"item_id": "m", "output_index": 1, "content_index": 0}
    whole_one = {**about, "status": "completed", "output": [thought, said], "usage": counts}
    summary = {"type": "response.reasoning_summary_text.delta", "item_id": "r", "output_index": 0, "summary_index": 0}
    return stream(
        chunk({"type": "response.created", "response": {**about, "status": "in_progress", "output": []}}),
        *([chunk({**summary, "delta": "Is it?"})] if shown else []),
        chunk({"type": "response.output_text.delta", **place, "delta": "Yes,"}),
        0.4,
        chunk({"type": "response.output_text.delta", **place, "delta": " that it is."}),
        chunk({"type": "response.completed", "response": whole_one}),
    )


@of_one_deployment
@pytest.mark.parametrize("shown", [False, True], ids=["hidden", "shown"])
@pytest.mark.parametrize(
    ("path", "thinking"), [("/v1/chat/completions", thinking_chat), ("/v1/responses", thinking_response)]
)
def test_the_time_per_token_is_of_those_that_the_client_sees(
    stack: Stack, server: Particular, path: str, thinking: Callable[[bool], Reply], shown: bool
) -> None:
    """The model writes hidden thoughts before the first visible token. Visible thoughts count like other tokens."""
    server.answers = lambda _: thinking(shown)
    body = {**ROUTES[path], "model": "odd", "stream": True}
    assert stack.post(path, body, x_slo_tpot_ms="50").status_code == 200
    (record,) = stack.records(1)
    assert (record["completion_tokens"], record["hidden_tokens"]) == (THOUGHT + SEEN, 0 if shown else THOUGHT)
    assert record["cost_usd"] == pytest.approx(12 * ODD_USD[0] + (THOUGHT + SEEN) * ODD_USD[1])
    further_s = (record["e2e_ms"] - record["ttft_ms"]) / 1_000  # type: ignore[operator]
    assert record["tpot_ms"] == pytest.approx(1_000 * further_s / (SEEN - 1 + THOUGHT * shown), rel=1e-3)
    assert record["slo_met"] is shown


@of_one_deployment
def test_answers_that_are_written_at_once_have_the_pace_of_one(stack: Stack, server: Particular) -> None:
    def words(text: str) -> list[bytes]:
        return [chunk({"choices": [{"index": index, "delta": {"content": text}}]}) for index in range(4)]

    server.answers = lambda _: stream(
        *words("Yes,"), 0.4, *words(" it is."), chunk(delta("stop")), chunk(usage(12, 20))
    )
    assert stack.ask("Is it?", model="odd", body={"stream": True, "n": 4}, x_slo_tpot_ms="50").status_code == 200
    (record,) = stack.records(1)
    assert record["completion_tokens"] == 20
    assert record["tpot_ms"] == pytest.approx((record["e2e_ms"] - record["ttft_ms"]) / 4, rel=1e-3)  # type: ignore[operator]
    assert record["slo_met"] is False


AUDIO = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
SPOKEN = {"messages": [{"role": "user", "content": [{"type": "text", "text": "Write it down."}, AUDIO]}]}
SEARCHING = {"messages": [{"role": "user", "content": "What is new?"}]}


@of_one_deployment
@pytest.mark.parametrize(("category", "body"), [("chat", SPOKEN), ("ner", SEARCHING)])
def test_tokens_that_were_no_text_say_nothing_of_the_next_text(
    stack: Stack, server: Particular, category: str, body: Mapping[str, object]
) -> None:
    """Such tokens are a minute of speech, or pages that a server found on the web."""
    text, found = {"messages": [{"role": "user", "content": "word " * 400}]}, list[float]()
    for count, (asked, prompt_tokens) in enumerate(((text, 504), (body, 2_500), (text, 504)), 1):
        server.answers = answering({**RIGHT, "prompt_tokens": prompt_tokens})
        assert stack.ask(model="odd", body=asked, x_slo_category=category).status_code == 200
        latest = max(stack.records(count), key=lambda record: float(str(record["ts"])))
        found.append(latest["decision"]["estimated_prompt_tokens"])  # type: ignore[index]
    assert found[2] < 1.1 * found[0]


SEARCHED = {
    "id": "resp_2",
    "object": "response",
    "created_at": 1,
    "model": "odd",
    "status": "completed",
    "output": [
        {**SEARCH, "status": "completed"},
        {
            "type": "message",
            "id": "m",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Nothing.", "annotations": []}],
        },
    ],
    "usage": {"input_tokens": 8_000, "output_tokens": 5, "total_tokens": 8_005},
}


@of_one_deployment
def test_pages_that_a_provider_searched_say_nothing_of_the_tools_of_others(stack: Stack, server: Particular) -> None:
    function = {"name": "find", "description": "word " * 400, "parameters": {"type": "object", "properties": {}}}
    asked = {"tools": [{"type": "function", "function": function}]}
    searching = {"model": "odd", "input": "What is new?", "tools": [{"type": "web_search"}]}
    found = list[float]()
    for count in (1, 12):
        server.answers = answering({**RIGHT, "prompt_tokens": 530})
        assert stack.ask("Is it?", model="odd", body=asked).status_code == 200
        latest = max(stack.records(count), key=lambda record: float(str(record["ts"])))
        found.append(latest["decision"]["estimated_prompt_tokens"])  # type: ignore[index]
        raw = json.dumps(SEARCHED).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(raw)
        server.answers = lambda _, said=head + raw: said  # type: ignore[misc]
        if count == 1:
            assert {stack.post("/v1/responses", searching).status_code for _ in range(10)} == {200}
    assert found[1] < 1.1 * found[0]


def test_several_answers_are_paid_for_once_as_litellm_bills_them(stack: Stack, server: Particular) -> None:
    server.answers = answering({**RIGHT, "completion_tokens": 20, "total_tokens": 32}, choices=4)
    record = recorded(stack, n=4)
    assert (record["prompt_tokens"], record["completion_tokens"]) == (12, 20)
    assert record["cost_usd"] == pytest.approx(12 * ODD_USD[0] + 20 * ODD_USD[1])


@pytest.mark.parametrize("path", ROUTES)
def test_metadata_as_json_text_asks_as_an_object_does_where_litellm_reads_it(stack: Stack, path: str) -> None:
    """LiteLLM drops it on chat completions. It cannot answer a text completion with it, even without the plugin."""
    asked = json.dumps({"slo": {"min_quality": 0.9}, "mine": "stays"})
    answer = stack.post(path, {"model": "smart", "metadata": asked, **ROUTES[path]})
    if path == "/v1/completions" and not answer.is_success:
        return
    assert answer.status_code == 200, answer.text
    (record,) = stack.records(1)
    floor, name = (0.5, "small") if path in ("/v1/chat/completions", "/v1/completions") else (0.9, "large")
    assert (answer.headers["x-slo-selected-model"], record["deployment"]) == (name, name)
    assert record["slo"] == {**dict.fromkeys(SloRecord.model_fields), "ttft_ms": 1_000.0, "min_quality": floor}


@pytest.mark.parametrize("text", ["{", "[1]", "7", "words"])
def test_text_that_is_no_metadata_takes_no_request(stack: Stack, text: str) -> None:
    answer = stack.ask(body={"metadata": text})
    assert answer.headers["x-slo-selected-model"] == "small"
    assert stack.records(1)[0]["outcome"] == "success"
