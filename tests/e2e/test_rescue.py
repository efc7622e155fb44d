"""A silent deployment is given up for another before the client has seen a byte, on every route."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import redis

from evaluation.routing.first_token.asking import CALL_TYPES, body, next_number, path
from tests.e2e.conftest import Part, Streams
from tests.e2e.rescue_stack import ROUTES, START, WITHIN_S, Answer, Case, Stack, fault_of, hung_up, part_of

WINNERS = ("silent", "good")  # the deployment whose first token comes, if both are silent
STREAMED = [Case(silence, route) for silence in ("hang", "opening", "token") for route in ROUTES]
WHOLE = Case("hang", "chat", "whole", stream=False)
OFF, NO_RETRIES = Case("token", "chat", "off"), Case("hang", "chat", "no-retries")
SPENT = Case("hang", "chat", "spent", budget=0.001)  # one further call per thousand requests
BROKEN = Case("token", "chat", "broken")
LEFT = [Case("token", route, f"left-{route}") for route in ROUTES]
RACES = {who: [Case("token", route, f"left-{who}-{route}", deadline_ms=3_000) for route in ROUTES] for who in WINNERS}
ONE_SERVER = Case("hang", "chat", "one-server", second="hang")  # both cheap deployments are at the address that hangs
CASES = [*STREAMED, WHOLE, OFF, NO_RETRIES, SPENT, BROKEN, *LEFT, *RACES["silent"], *RACES["good"], ONE_SERVER]


@contextmanager
def part(client: redis.Redis) -> Iterator[Part]:
    """This module's part of the proxy that the tests of streams share."""
    with part_of(CASES, client) as made:
        yield made


@pytest.fixture(scope="module")
def stack(streams: Streams) -> Stack:
    return Stack(streams, *streams.servers[__name__])


def test_another_answers_in_place_of_a_silent_deployment_on_every_route(stack: Stack) -> None:
    answers = stack.ask_all(*STREAMED, WHOLE)

    assert {one.case.group: fault for one in answers if (fault := fault_of(one))} == {}
    for one in answers:
        record, group = stack.record(one.case.group), one.case.group
        tried = [(each["deployment"], each["ending"]) for each in record["tries"]]
        assert tried == [(f"{group}-silent", "silent"), (f"{group}-good", "success")], group
        assert (record["deployment"], record["rescued"]) == (f"{group}-good", "deadline"), group
        assert (record["outcome"], record["attempts"]) == ("success", 2), group
        assert record["call_type"] == CALL_TYPES[one.case.route]
        silent, good = record["tries"]
        assert silent["deadline_ms"] <= silent["ended_ms"] <= good["sent_ms"] + 1 or one.case.silence == "token", group
        assert record["rescue_cost_usd"] > 0
        assert [name for name, _ in stack.booked(group)] == [f"{group}-good"]
        assert sum(usd for _, usd in stack.booked(group)) == pytest.approx(record["cost_usd"])
    assert hung_up(stack.server, [one.number for one in answers if one.case.silence != "hang"])
    assert {seen.completed for seen in stack.endpoints["hang"].seen()} == {False}


def test_the_server_that_is_silent_is_not_asked_again_by_the_name_of_another_deployment(stack: Stack) -> None:
    answer = asyncio.run(stack.ask(ONE_SERVER))

    assert fault_of(answer) == ""
    tried = [one["deployment"] for one in stack.record(ONE_SERVER.group)["tries"]]
    assert tried == ["one-server-silent", "one-server-good"]


def test_a_client_that_leaves_during_a_rescue_leaves_no_connection_and_one_record(stack: Stack) -> None:
    numbers = asyncio.run(_leave(stack))

    assert hung_up(stack.server, numbers)
    assert hung_up(stack.other, numbers)
    for case in LEFT:
        record = stack.record(case.group)
        assert (record["outcome"], record["attempts"]) == ("disconnected", 2), case
        assert len(stack.booked(case.group)) <= 1, case


async def _leave(stack: Stack) -> list[str]:
    """Each client leaves once the second deployment was asked and is silent too."""

    async def one(case: Case) -> str:
        number = next_number()
        asked = body(case.route, case.group, number, "token")
        async with httpx.AsyncClient(headers=stack.proxy.auth, timeout=WITHIN_S) as client:
            reading = asyncio.create_task(client.post(stack.proxy.url + path(case.route, case.group), json=asked))
            while number not in stack.other.stopped:  # noqa: ASYNC110  # it runs on another thread's loop
                await asyncio.sleep(0.01)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        return number

    return await asyncio.gather(*map(one, LEFT))


@pytest.mark.parametrize("winner", WINNERS)
def test_where_the_second_is_silent_too_whoever_is_first_answers(stack: Stack, winner: str) -> None:
    answers = asyncio.run(_race(stack, winner))

    for one in answers:
        group, headers = one.case.group, one.answer.headers
        record = stack.record(group)
        assert (one.answer.status_code, headers["x-slo-selected-model"]) == (200, f"{group}-{winner}"), group
        assert headers.get("x-slo-rescued") == (None if winner == "silent" else "deadline"), group
        assert one.answer.text.count(START[one.case.route]) == 1, one.answer.text
        assert (record["outcome"], record["deployment"]) == ("success", f"{group}-{winner}"), group
        assert [name for name, _ in stack.booked(group)] == [f"{group}-{winner}"], group
    assert hung_up(stack.other if winner == "silent" else stack.server, [one.number for one in answers])


async def _race(stack: Stack, winner: str) -> list[Answer]:
    """Both deployments are asked and silent, until the winner's first token comes."""
    server = stack.server if winner == "silent" else stack.other

    async def one(case: Case) -> Answer:
        number = next_number()
        asking = asyncio.create_task(stack.ask(case, number=number))
        while number not in stack.other.stopped and not asking.done():  # noqa: ASYNC110  # of another thread's loop
            await asyncio.sleep(0.01)
        server.released.add(number)
        return await asking

    return await asyncio.gather(*map(one, RACES[winner]))


def test_nobody_is_given_up_where_the_request_says_so_or_litellm_would_not_ask_again(stack: Stack) -> None:
    """In these cases LiteLLM's own timeout ends the attempt."""
    soon = {"x-litellm-timeout": "2", "x-litellm-stream-timeout": "2"}

    async def ask() -> tuple[Answer, Answer]:
        off = {**soon, "x-slo-rescue": "off"}
        return await asyncio.gather(stack.ask(OFF, off), stack.ask(NO_RETRIES, soon, num_retries=0))

    off, without_retries = asyncio.run(ask())
    assert "x-slo-rescued" not in off.answer.headers
    assert without_retries.answer.status_code == 408
    assert stack.record(NO_RETRIES.group)["tries"] is None
    assert stack.record(OFF.group)["rescued"] is None


def test_once_the_budget_is_used_up_litellm_waits_as_without_the_plugin(stack: Stack) -> None:
    soon = {"x-litellm-timeout": "2", "x-litellm-stream-timeout": "2"}
    first, second = (asyncio.run(stack.ask(SPENT, soon)).answer for _ in range(2))

    assert (first.status_code, first.headers.get("x-slo-rescued")) == (200, "deadline")
    assert (second.status_code, second.headers.get("x-slo-rescued")) == (200, None)
    assert second.headers["x-slo-selected-model"] == "spent-good"  # by LiteLLM's timeout and retry
    assert stack.record(SPENT.group, 2)["rescued"] is None


def test_where_the_other_fails_the_silent_one_is_waited_for(stack: Stack) -> None:
    stack.endpoints["good"].control("status", status=400, times=1)
    answer = asyncio.run(stack.ask(BROKEN, {"x-litellm-stream-timeout": "2"})).answer

    assert answer.status_code == 200
    assert answer.headers["x-slo-selected-model"] == answer.headers["x-litellm-model-id"] == "broken-silent"
    assert "x-slo-rescued" not in answer.headers


@pytest.mark.parametrize("said", ["on", "Deadlines", ""])
def test_a_header_that_makes_no_sense_is_refused(stack: Stack, said: str) -> None:
    answer = asyncio.run(stack.ask(WHOLE, {"x-slo-rescue": said})).answer
    assert answer.status_code == 400
    assert "x-slo-rescue" in answer.text
