"""If a stream breaks before its first content, another deployment is asked before the client has seen a byte."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pytest
import redis

from evaluation.routing.first_token.asking import CALL_TYPES
from tests.e2e.conftest import LITELLM, USD_PER_TOKEN, Part, Streams
from tests.e2e.rescue_stack import ROUTES, Case, Stack, fault_of, part_of
from tests.shared.particular_server import particular, whole
from tests.shared.scripted_server import DONE, chunk, delta, stream, usage

CUT = [Case("cut", route) for route in ROUTES]
ENDED = [
    Case("end", route) for route in ROUTES if route not in ("completions", "gemini")
]  # on these two routes LiteLLM adds an end itself
AFTER_RESCUE = [
    Case(silence, route, f"broken-after-{silence}-{route}", second="cut")
    for silence in ("hang", "token")
    for route in ("chat", "responses")
]
AGAIN = [  # LiteLLM itself asks another deployment in the middle of these streams
    Case("hang", "messages", "after-rescue", second="cut"),
    Case("cut", "messages", "without-rescue", has_rescue=False),
]
EMPTY = Case("end", "chat", "empty")  # an answer that ends with its usage alone, and is billed
SAID = whole(stream(chunk(delta(role="assistant", content="")), chunk(usage(12, 5)), DONE))


def is_unnoticed(case: Case) -> bool:
    """Whether LiteLLM takes the broken stream for an answer, so that the headers name its deployment."""
    return LITELLM < (1, 108) and (case.silence == "end" or case.route == "messages")


@contextmanager
def part(client: redis.Redis) -> Iterator[Part]:
    """This module's part of the proxy that the tests of streams share."""
    with part_of([*CUT, *ENDED, *AFTER_RESCUE, *AGAIN, EMPTY], client) as made, particular(lambda _: SAID) as server:
        empty = next(entry for entry in made.models if entry["model_name"] == EMPTY.group)  # its cheap deployment
        cast("dict[str, object]", empty["litellm_params"])["api_base"] = server.api_base
        yield made


@pytest.fixture(scope="module")
def stack(streams: Streams) -> Stack:
    return Stack(streams, *streams.servers[__name__])


@pytest.mark.parametrize("cases", [CUT, ENDED], ids=["cut", "end"])
def test_another_answers_in_place_of_a_broken_stream(stack: Stack, cases: list[Case]) -> None:
    answers = stack.ask_all(*cases)

    faults = {one.case.group: fault for one in answers if (fault := fault_of(one, rescued=None))}
    assert faults == {case.group: f"{{'{case.group}-silent'}}, None" for case in cases if is_unnoticed(case)}
    for one in answers:
        if is_unnoticed(one.case):
            continue
        record, group = stack.record(one.case.group), one.case.group
        assert (record["deployment"], record["outcome"], record["attempts"]) == (f"{group}-good", "success", 2), group
        assert record["call_type"] == CALL_TYPES[one.case.route]
        assert [name for name, _ in stack.booked(group)] == [f"{group}-good"], group
        assert sum(usd for _, usd in stack.booked(group)) == pytest.approx(record["cost_usd"]), group
        usd = USD_PER_TOKEN["medium"] * (record["prompt_tokens"] + 2 * record["completion_tokens"])
        assert record["cost_usd"] == pytest.approx(usd), group


def test_an_empty_answer_that_is_billed_is_an_answer_where_litellm_takes_it_for_one(stack: Stack) -> None:
    """From 1.109 on LiteLLM makes it an error, which the client would get."""
    answer = asyncio.run(stack.ask(EMPTY)).answer
    by, attempts = ("empty-silent", 1) if LITELLM < (1, 109) else ("empty-good", 2)
    assert (answer.status_code, answer.headers["x-slo-selected-model"]) == (200, by)
    record = stack.record(EMPTY.group)
    assert (record["outcome"], record["attempts"]) == ("success", attempts)
    assert record["completion_tokens"] == 5 or LITELLM >= (1, 109)


def test_so_it_is_where_the_stream_breaks_that_took_the_place_of_a_silent_one(stack: Stack) -> None:
    answers = stack.ask_all(*AFTER_RESCUE)

    assert {one.case.group: fault for one in answers if (fault := fault_of(one))} == {}
    for one in answers:
        group = one.case.group
        tried = [(each["deployment"].removeprefix(group), each["ending"]) for each in stack.record(group)["tries"]]
        assert tried == [("-silent", "silent"), ("-second", "error"), ("-good", "success")], group
        assert [name for name, _ in stack.booked(group)] == [f"{group}-good"], group


def test_the_headers_name_who_answers_where_litellm_asks_again_in_the_middle_of_a_stream(stack: Stack) -> None:
    """This holds after a rescue and without one: the plugin reads no such stream ahead."""
    answers = stack.ask_all(*AGAIN)

    for one in answers:
        headers, group = one.answer.headers, one.case.group
        named = headers["x-slo-selected-model"], headers["x-litellm-model-id"], headers.get("x-slo-rescued")
        answered, by = "event: message_stop" in one.answer.text, stack.record(group)["deployment"]
        assert answered or LITELLM < (1, 108), one.answer.text  # older versions ask no other deployment
        assert named == (by, by, "deadline" if one.case.has_rescue else None)
        assert by == f"{group}-good" or not answered
