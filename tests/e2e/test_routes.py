"""Every route is routed by SLO, streamed or not, and its headers say so. LiteLLM alone does everything else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import pytest

from evaluation.shared.stock_proxy import LOCAL
from tests.e2e.conftest import ASK, Stack

MESSAGES = [{"role": "user", "content": ASK}]
ROUTES: dict[str, dict[str, object]] = {
    "/v1/chat/completions": {"messages": MESSAGES},
    "/v1/completions": {"prompt": ASK},
    "/v1/responses": {"input": ASK},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 40},
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("path", ROUTES)
def test_a_route_goes_to_the_cheapest_deployment_that_meets_the_slo(stack: Stack, path: str, stream: bool) -> None:
    answer = stack.post(path, {"model": "smart", "stream": stream, **ROUTES[path]})

    assert answer.status_code == 200
    assert "[small]" in answer.text
    assert stack.seen() == {"small": 1}
    assert answer.headers["x-slo-selected-model"] == "small"
    assert answer.headers["x-slo-decision"] == "met"
    assert answer.headers["x-slo-category"] == "summarization"
    assert answer.headers["x-slo-predicted-ttft-ms"] == "60.0"
    assert float(answer.headers["x-slo-predicted-cost-usd"]) > 0
    assert answer.headers["x-slo-reason"] == "cheapest of 3 that meet the SLO"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("path", ROUTES)
def test_a_request_for_quality_goes_to_the_deployment_that_has_it(stack: Stack, path: str, stream: bool) -> None:
    answer = stack.post(path, {"model": "smart", "stream": stream, **ROUTES[path]}, x_slo_min_quality="0.9")

    assert answer.status_code == 200
    assert "[large]" in answer.text
    assert stack.seen() == {"large": 1}
    assert answer.headers["x-slo-selected-model"] == "large"


FOUND = "word " * 2_400  # 3,000 tokens; small has room for 2,000
CALL = {"name": "read", "arguments": "{}"}
USED = {"type": "tool_use", "id": "1", "name": "read", "input": {}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": CALL}]}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "done"}]}
THOUGHT = {"type": "thinking", "thinking": FOUND, "signature": "s"}
DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": FOUND}}
AGENTS: dict[str, tuple[str, list[Mapping[str, object]]]] = {  # what an agent sends after its question
    "chat": ("/v1/chat/completions", [CALLED, {"role": "tool", "tool_call_id": "1", "content": FOUND}]),
    "chat, thought": ("/v1/chat/completions", [{"role": "assistant", "content": "Hm.", "reasoning_content": FOUND}]),
    "responses": (
        "/v1/responses",
        [
            {"type": "function_call", "call_id": "1", **CALL},
            {"type": "function_call_output", "call_id": "1", "output": FOUND},
        ],
    ),
    "messages": ("/v1/messages", [{"role": "assistant", "content": [{**USED, "input": {"text": FOUND}}]}, RESULT]),
    "messages, thought": ("/v1/messages", [{"role": "assistant", "content": [THOUGHT, USED]}, RESULT]),
    "messages, document": ("/v1/messages", [{"role": "user", "content": [DOCUMENT, {"type": "text", "text": ASK}]}]),
}


@pytest.mark.parametrize("client", AGENTS)
def test_every_text_of_an_agent_s_history_needs_room(stack: Stack, client: str) -> None:
    path, history = AGENTS[client]
    body: dict[str, object] = {"input" if path == "/v1/responses" else "messages": [*MESSAGES, *history]}
    limit = {"max_tokens": 40} if path == "/v1/messages" else {}
    answer = stack.post(path, {"model": "smart", **limit, **body})

    assert (answer.status_code, stack.seen()) == (200, {"medium": 1}), answer.headers["x-slo-reason"]


@pytest.mark.parametrize("client", ["chat", "responses", "messages"])
def test_all_steps_of_an_agent_have_the_category_of_what_its_user_asked(stack: Stack, client: str) -> None:
    path, step = AGENTS[client]
    reminder = {"type": "text", "text": "<system-reminder>\nHow many steps are left? Prove it.\n</system-reminder>"}
    reminders = [{"role": "user", "content": [reminder]}] if client == "messages" else []
    history = [*MESSAGES, *(*step, *reminders) * 40]
    body: dict[str, object] = {"input": history} if client == "responses" else {"messages": history, "max_tokens": 40}
    answer = stack.post(path, json.loads(json.dumps({"model": "smart", **body}).replace(FOUND, "done")))
    assert (answer.status_code, answer.headers["x-slo-category"]) == (200, "summarization")


def test_a_step_that_a_framework_writes_in_its_user_s_name_has_the_category_of_the_task(stack: Stack) -> None:
    """As smolagents does."""
    step = {"role": "user", "content": [{"type": "text", "text": "Observation:\ndef f(): ... Prove it, step by step."}]}
    history = [*MESSAGES, {"role": "assistant", "content": "Calling tools: []"}, step]
    answer = stack.ask(body={"messages": history})
    assert (answer.status_code, answer.headers["x-slo-category"]) == (200, "summarization")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
def test_a_pdf_that_a_client_sends_as_a_picture_needs_who_reads_pdfs(stack: Stack, path: str) -> None:
    url = "data:application/pdf;base64,JVBERi0xLjQK"
    part: dict[str, object] = {"type": "image_url", "image_url": {"url": url}}
    if path == "/v1/responses":
        part = {"type": "input_image", "image_url": url}
    field = "input" if path == "/v1/responses" else "messages"
    answer = stack.post(path, {"model": "smart", field: [{"role": "user", "content": [part]}]})
    assert answer.status_code == 200, answer.text
    assert [record["decision"]["needs"] for record in stack.records(1)] == [["pdf"]]  # type: ignore[index]


@pytest.mark.parametrize(
    "named",
    [{"conversation": "conv_1"}, {"conversation": {"id": "conv_2"}}, {"prompt": {"id": "pmpt_1", "version": "2"}}],
    ids=["conversation", "its object", "prompt"],
)
def test_what_a_provider_keeps_is_asked_for_where_it_is(stack: Stack, named: dict[str, object]) -> None:
    body = {"model": "smart", "input": "Go on.", **named}
    assert stack.post("/v1/responses", body, x_slo_min_quality="0.9").headers["x-slo-selected-model"] == "large"
    stack.records(1)
    assert stack.post("/v1/responses", body).headers["x-slo-selected-model"] == "large"
    other = stack.post("/v1/responses", {"model": "smart", "input": "Go on.", "conversation": "conv_3"})
    assert other.headers["x-slo-selected-model"] == "small"


def file_of(path: str, name: str) -> dict[str, object]:
    """A file that was uploaded to a provider, as each route names it."""
    if path == "/v1/chat/completions":
        return {"type": "file", "file": {"file_id": name}}
    if path == "/v1/messages":
        return {"type": "document", "source": {"type": "file", "file_id": name}}
    return {"type": "input_file", "file_id": name}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
def test_an_uploaded_file_is_asked_for_where_it_is(stack: Stack, path: str) -> None:
    def ask(name: str, **headers: str) -> str:
        content = [file_of(path, name), {"type": "input_text" if path == "/v1/responses" else "text", "text": ASK}]
        body = {"model": "smart", "max_tokens": 40} if path == "/v1/messages" else {"model": "smart"}
        field = "input" if path == "/v1/responses" else "messages"
        answer = stack.post(path, {**body, field: [{"role": "user", "content": content}]}, **headers)
        assert answer.status_code == 200, answer.text
        return answer.headers["x-slo-selected-model"]

    mine = f"file-{path}"
    assert ask(mine, x_slo_min_quality="0.9") == "large"
    stack.records(1)
    assert [ask(mine), ask("file-other")] == ["large", "medium"]


@pytest.mark.parametrize("kind", ["reasoning", "compaction"])
def test_what_a_model_encrypted_goes_back_to_it(stack: Stack, kind: str) -> None:
    """Codex and OpenAI's Agents SDK keep the history themselves, and send it with each request."""
    first = {"role": "user", "content": f"{ASK} {kind}"}
    body = {"model": "smart", "include": ["reasoning.encrypted_content"], "store": False}
    asked = stack.post("/v1/responses", {**body, "input": [first]}, x_slo_min_quality="0.9")
    encrypted: dict[str, object] = {"type": kind, "encrypted_content": "gAAAA"} | (
        {"summary": []} if kind == "reasoning" else {}
    )
    history = [first, encrypted, {"role": "assistant", "content": "Rain."}, {"role": "user", "content": "And?"}]
    answer = stack.post("/v1/responses", {**body, "input": history})
    assert (asked.status_code, answer.status_code, stack.seen()) == (200, 200, {"large": 2})


def test_what_a_model_encrypted_goes_back_to_it_where_the_client_left_its_answer(stack: Stack) -> None:
    """Codex, stopped by its user, keeps the thoughts that it got, and sends them with what the user says next."""
    first = {"role": "user", "content": f"{ASK} Stopped."}
    body = {"model": "smart", "include": ["reasoning.encrypted_content"], "store": False}
    asked, headers = {**body, "input": [first], "stream": True}, {**stack.proxy.auth, "x-slo-min-quality": "0.9"}
    stack.endpoints["large"].control("slow", factor=100)
    with LOCAL.stream("POST", f"{stack.proxy.url}/v1/responses", json=asked, headers=headers) as stopped:
        next(line for line in stopped.iter_lines() if "output_text.delta" in line)
    assert [one["outcome"] for one in stack.records(1)] == ["disconnected"]
    stack.endpoints["large"].reset()
    thought = {"type": "reasoning", "encrypted_content": "gAAAA", "summary": []}
    answer = stack.post("/v1/responses", {**body, "input": [first, thought, {"role": "user", "content": "And?"}]})
    assert answer.headers["x-slo-selected-model"] == "large"


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "streamed"])
def test_an_item_of_a_stored_response_is_asked_for_where_it_is(stack: Stack, is_stream: bool) -> None:
    """Vercel's AI SDK refers to an earlier answer by its id."""
    first = {"role": "user", "content": f"{ASK} {is_stream}"}
    body = {"model": "smart", "stream": is_stream}
    asked = stack.post("/v1/responses", {**body, "input": [first]}, x_slo_min_quality="0.9")
    said = re.findall(r'"id": ?"(item_[^"]+)"', asked.text)[-1]
    stack.records(1)
    history = [first, {"type": "item_reference", "id": said}, {"role": "user", "content": "And?"}]
    answer = stack.post("/v1/responses", {**body, "input": history})
    assert answer.headers["x-slo-selected-model"] == "large"


def test_what_a_server_s_own_tools_found_goes_back_to_its_model(stack: Stack) -> None:
    """Anthropic encrypts the pages that its tool found."""
    tool = {"type": "web_search_20250305", "name": "web_search"}
    first = {"role": "user", "content": f"{ASK} Search for it."}
    body = {"model": "smart", "max_tokens": 40, "tools": [tool]}
    asked = stack.post("/v1/messages", {**body, "messages": [first]}, x_slo_min_quality="0.9")
    used = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
    page = {"type": "web_search_result", "url": "u", "title": "t", "encrypted_content": "Eo8PCioIAR", "page_age": None}
    found = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [page]}
    said = {"role": "assistant", "content": [used, found, {"type": "text", "text": "It is."}]}
    stack.records(1)
    answer = stack.post("/v1/messages", {**body, "messages": [first, said, {"role": "user", "content": "And?"}]})
    chosen = [one.headers["x-slo-selected-model"] for one in (asked, answer)]
    assert chosen == ["large", "large"], answer.text


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_a_look_into_the_pool_while_a_request_waits_for_its_turn_is_no_pick(
    stack: Stack, path: str, *, fails: bool
) -> None:
    """LiteLLM queues a request with a priority. Some versions ask the filters while the request waits."""
    if fails:
        stack.endpoints["small"].control("error500")

    answer = stack.post(path, {"model": "smart", "priority": 1, **ROUTES[path]})

    served = "medium" if fails else "small"
    assert (answer.status_code, answer.headers["x-slo-selected-model"]) == (200, served)
    (record,) = stack.records(1)
    tried = [(one["deployment"], one["filter"]) for one in record["decision"]["rejections"]]  # type: ignore[index]
    assert tried == ([("small", "already_tried")] if fails else [])
    assert record["attempts"] == (2 if fails else 1)


def test_an_alias_of_the_group_is_routed_too(stack: Stack) -> None:
    answer = stack.ask(model="gpt-smart")

    assert answer.headers["x-slo-selected-model"] == "small"
    (record,) = stack.records(1)
    assert record["model_group"] == "smart"  # by which the commands read the records


def test_an_unmanaged_group_is_untouched(stack: Stack) -> None:
    answer = stack.ask(model="plain", x_slo_ttft_ms="not a number")

    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("x-slo-")]
    assert stack.records(0) == []


def test_embeddings_in_a_managed_group_get_litellms_own_choice(stack: Stack) -> None:
    answer = stack.post("/v1/embeddings", {"model": "smart", "input": "the cat"})

    assert answer.status_code == 200
    assert answer.headers["x-slo-decision"] == "passthrough"
    assert answer.headers["x-slo-selected-model"] in {"small", "medium", "large"}


def test_a_deployment_called_by_its_id_is_not_rerouted(stack: Stack) -> None:
    answer = stack.ask(model="large")

    assert "[large]" in answer.text
    assert "x-slo-decision" not in answer.headers


def test_the_headers_name_no_address_and_no_key(stack: Stack) -> None:
    answer = stack.ask()

    shown = " ".join(value for name, value in answer.headers.items() if name.startswith("x-slo-"))
    assert "127.0.0.1" not in shown
    assert stack.proxy.master_key not in shown


def test_the_strategy_is_installed_before_the_first_request_and_once(stack: Stack) -> None:
    assert stack.proxy.log.count("INFO slo_router: routing smart, ") == 1
