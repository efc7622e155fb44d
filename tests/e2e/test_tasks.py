"""A request gets its category from a team's own rules or classifier, and the category's floor."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.e2e.conftest import Stack
from tests.e2e.test_routes import ROUTES

TOOL = {"type": "function", "function": {"name": "order", "parameters": {"type": "object", "properties": {}}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "refund", "schema": {"type": "object"}}}


@pytest.mark.parametrize("path", ROUTES)
def test_a_header_gives_a_category_on_every_route(stack: Stack, path: str) -> None:
    answer = stack.post(path, {"model": "tasks", **ROUTES[path]}, x_app="shop")

    assert (answer.headers["x-slo-category"], answer.headers["x-slo-selected-model"]) == ("refunds", "tasks-large")
    (record,) = stack.records(1)
    decision = record["decision"]
    assert isinstance(decision, dict)
    assert decision["category_source"] == "rule"


@pytest.mark.parametrize(
    ("body", "headers", "category"),
    [
        ({"tools": [TOOL]}, {"x_app": "shop"}, "orders"),
        ({"metadata": {"tags": ["refunds"]}}, {}, "refunds"),
        ({}, {"x_litellm_tags": "a,refunds"}, "refunds"),
        ({"response_format": SCHEMA}, {}, "refunds"),
        ({"response_format": SCHEMA}, {"x_slo_category": "chat"}, "chat"),
        ({}, {"x_app": "other"}, "unsure"),  # the classifier does not know such a text
    ],
)
def test_the_first_rule_that_holds_counts_after_the_client_and_before_the_text(
    stack: Stack, body: Mapping[str, object], headers: Mapping[str, str], category: str
) -> None:
    answer = stack.ask(model="tasks", body=body, **headers)

    assert answer.headers["x-slo-category"] == category
    assert answer.headers["x-slo-selected-model"] == ("tasks-large" if category == "refunds" else "tasks-small")


@pytest.mark.parametrize(
    ("text", "category", "deployment"),
    [
        ("Please write a poem about the rain.", "poems", "tasks-large"),
        ("I need to cook for the neighbours, what do I need from the shop?", "recipes", "tasks-small"),
        ("Zzz", "unsure", "tasks-small"),
    ],
)
def test_what_the_classifier_tells_counts(stack: Stack, text: str, category: str, deployment: str) -> None:
    answer = stack.ask(text, model="tasks")

    found = answer.headers["x-slo-category"], answer.headers["x-slo-selected-model"]
    assert found == (category, deployment)
    (record,) = stack.records(1)
    assert isinstance(record["decision"], dict)
    assert record["decision"]["category_source"] == ("unsure" if category == "unsure" else "categorizer")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
def test_what_an_agent_asks_for_by_itself_is_not_its_user_s_task(stack: Stack, path: str) -> None:
    """A title, as Claude Code and opencode ask for it, and the summary of a long history, as Codex does."""
    field, system = ("input", "instructions") if path == "/v1/responses" else ("messages", "system")
    task = "Fix the bug in the parse function and refactor the Python module."
    title, agent = "Generate a title that tells the goal of this coding session.", "You are a coding agent."
    found = []
    for prompt, said in ((agent, task), (title, task), (agent, f"Create a summary for another LLM. The task: {task}")):
        body: dict[str, object] = {"model": "smart", "max_tokens": 40, field: [{"role": "user", "content": said}]}
        if path == "/v1/chat/completions":
            body["messages"] = [{"role": "system", "content": prompt}, {"role": "user", "content": said}]
        else:
            body[system] = prompt
        found.append(stack.post(path, body).headers["x-slo-category"])
    assert found == ["code", "summarization", "summarization"]
