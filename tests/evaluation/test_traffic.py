"""The mixed traffic has the module's shares and is seeded. The plugin and the servers size its bodies alike."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest

from evaluation.emulator.bodies import ChatBody, MessagesBody, ResponsesBody
from evaluation.routing.models import verbosity
from evaluation.shared.traffic import (
    ANSWERS,
    BAD_TEMPERATURE,
    FAULTY,
    FORBIDDEN,
    IMAGE_TOKENS,
    PATHS,
    QUESTION_CHARS,
    ROUTE_SHARES,
    TOOLS,
    WHOLE,
    WITH_TOOLS,
    Ask,
    Habits,
    Route,
    body,
    mixed,
    steady,
)
from slo_router.request.categories import rules
from slo_router.request.features import extract
from slo_router.request.usage import Learned

DRAWS = 5_000


def drawn(seed: int = 0) -> list[Ask]:
    rng = random.Random(seed)
    return [mixed(rng, 500, 100) for _ in range(DRAWS)]


def test_requests_of_each_kind_come_in_the_shares_that_are_said_and_again_for_the_same_seed() -> None:
    found = drawn()
    assert found == drawn() != drawn(1)
    share = {
        "whole": sum(not ask.stream for ask in found) / DRAWS,
        "tools": sum(ask.tools == TOOLS for ask in found) / DRAWS,
        "faulty": sum(ask.fault is not None for ask in found) / DRAWS,
    }
    assert share == pytest.approx({"whole": WHOLE, "tools": WITH_TOOLS, "faulty": sum(FAULTY.values())}, abs=0.02)
    routes = Counter(ask.route for ask in found)
    assert {route: routes[route] / DRAWS for route in PATHS} == pytest.approx(ROUTE_SHARES, abs=0.02)
    assert all(ask.max_tokens for ask in found if ask.route == "messages")
    assert all(ask.stream for ask in found if ask.leaves_after_s is not None)


def test_the_reference_is_a_streamed_chat_alone() -> None:
    assert steady(random.Random(0), 500, 100) == Ask("chat", True, 500, 100)


def test_models_write_at_their_own_length_and_no_more_than_they_may() -> None:
    rng, ask = random.Random(0), Ask("chat", True, 500, 100)
    assert Habits(verbosity=5).answer_tokens(ask, rng) == 500
    assert Habits(verbosity=5).answer_tokens(ask._replace(max_tokens=120), rng) == 120
    lengths = [Habits(verbosity=2, wobble=0.5).answer_tokens(ask, rng) for _ in range(DRAWS)]
    assert sum(lengths) / DRAWS == pytest.approx(200, rel=0.05)


def test_a_models_verbosity_is_its_tokens_over_the_references_on_the_prompts_that_both_answered() -> None:
    found = verbosity([20, 10, None, float("nan"), 7], [10, 20, 5, 5, 0])
    assert found is not None
    assert found == pytest.approx((1.0, 0.693, 2), abs=0.001)  # 30 ÷ 30; ln 2 and −ln 2
    assert verbosity([None], [1]) is None


def test_answers_have_a_heavy_tail() -> None:
    rng = random.Random(0)
    lengths = sorted(ANSWERS.draw(rng) for _ in range(DRAWS))
    assert lengths[DRAWS // 2] == pytest.approx(151, rel=0.1)
    assert lengths[int(0.99 * DRAWS)] > 6 * lengths[DRAWS // 2]


@pytest.mark.parametrize("route", list(PATHS))
@pytest.mark.parametrize("stream", [True, False])
def test_a_body_is_as_long_as_the_request_says_on_every_route(route: Route, stream: bool) -> None:
    ask = Ask(route, stream, 1_000, 100, tools=30, tool_tokens=150, images=2, max_tokens=64)
    sent = body(ask, "smart")
    found = extract(sent, rules(), "chat", Learned(image_tokens=IMAGE_TOKENS))
    assert found.prompt_tokens == pytest.approx(ask.prompt_tokens, rel=0.15)
    assert found.tool_tokens == pytest.approx(30 * 150, rel=0.2)
    assert (found.images, found.limit_tokens, found.stream) == (2, 64, stream)
    assert json.loads(json.dumps(sent)) == sent


@pytest.mark.parametrize("route", list(PATHS))
def test_a_request_with_tools_has_most_of_its_text_from_one_and_servers_count_it(route: Route) -> None:
    ask = Ask(route, True, 1_000, 100, tools=1, tool_tokens=40)
    sent = body(ask, "smart")
    said = sent["messages"] if route != "responses" else sent["input"]
    assert isinstance(said, list)
    assert len(said[0]["content"]) == QUESTION_CHARS
    found = extract(sent, rules(), "chat", Learned())
    forms: dict[Route, type[ChatBody | MessagesBody | ResponsesBody]] = {
        "chat": ChatBody,
        "messages": MessagesBody,
        "responses": ResponsesBody,
    }
    counted = forms[route].model_validate(sent | {"max_tokens": 10}).ask()
    assert (found.text_tokens, len(counted.prompt) / 4) == pytest.approx((1_000, 1_000), rel=0.05)


def test_what_is_wrong_with_a_request_stands_in_its_body() -> None:
    plain = Ask("chat", True, 10, 10)
    assert body(plain._replace(fault="parameter"), "smart")["temperature"] == BAD_TEMPERATURE
    assert FORBIDDEN in str(body(plain._replace(fault="policy"), "smart")["messages"])
