"""The first token is the first token: not the role, not a filter notice, not an empty delta, on any route."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import httpx
import pytest
import redis

from evaluation.routing.first_token.asking import CALL_TYPES, PATHS, Seen, ask_all, document, leave
from evaluation.routing.first_token.habits import HABITS, Habit
from evaluation.routing.first_token.server import Providers, providers, slug
from evaluation.shared.stock_proxy import StockProxy
from tests.e2e.conftest import Part, Streams, refreshed

OPENAI = next(habit for habit in HABITS if habit.name == "openai")
PREFIX = Streams.prefix
GROUPS = {slug(habit.name) for habit in HABITS}
GAP_S = 0.4  # from a stream's opening to its first token: long enough that no other chunk is mistaken for it
WITHIN_S = 60.0
NOT_SHOWN = {("openai refusal", "chat")}  # LiteLLM drops a refusal: no word of the model reaches the client


@contextmanager
def part(_: redis.Redis) -> Iterator[Part]:
    """This module's part of the proxy that the tests of streams share."""
    with providers(GAP_S) as server:
        settings = document(server, "")
        models, plugin = settings["model_list"], settings["callback_settings"]["slo_router"]  # type: ignore[index]
        yield Part(models, plugin["groups"], (server,))  # type: ignore[arg-type]


@dataclass
class Stack:
    """The running parts."""

    streams: Streams
    server: Providers

    @property
    def proxy(self) -> StockProxy:
        return self.streams.proxy

    def records(self, count: int) -> list[dict[str, Any]]:
        """The records, once there are `count`."""
        deadline_s = time.monotonic() + WITHIN_S
        while True:
            found = [one for one in self.streams.records() if one["model_group"] in GROUPS]
            if len(found) >= count or time.monotonic() > deadline_s:
                return found
            time.sleep(0.05)

    def in_flight(self) -> float:
        """The requests in flight, as the worker tells the other workers."""
        client = self.streams.redis
        refreshed(self.proxy, client, PREFIX)
        (worker,) = cast("set[str]", client.smembers(f"{PREFIX}slo_router:workers"))
        told = json.loads(cast("str", client.get(f"{PREFIX}slo_router:live:{worker}")))
        return float(sum(state["in_flight"] for state in told.values() if "in_flight" in state))


@pytest.fixture
def stack(streams: Streams) -> Stack:
    streams.redis.delete(f"{PREFIX}slo_router:requests")
    (server,) = streams.servers[__name__]
    return Stack(streams, server)


def test_a_records_first_token_lies_between_when_the_server_sent_it_and_when_the_client_had_it(stack: Stack) -> None:
    """All three share one clock, so this works on slow machines. Any other chunk came long before or after."""
    asked = asyncio.run(ask_all(stack.proxy.url, stack.proxy.auth, at_once=8))
    found = {(one["model_group"], one["call_type"]): one for one in stack.records(len(asked))}

    assert {(one.habit.name, one.route): one.status for one in asked if one.status != 200} == {}
    assert {(one.habit.name, one.route) for one in asked if one.token_s is None} == NOT_SHOWN
    wrong = {
        (one.habit.name, one.route): fault for one in asked if (fault := _fault(one, found[one.key], stack.server))
    }
    assert wrong == {}
    assert {(one.habit.provider, one.route) for one in asked if one.token_s is not None} == {
        (habit.provider, route) for habit in HABITS for route in PATHS
    }
    assert {one["outcome"] for one in found.values()} == {"success"}


LEAVING = [
    (route, stop)
    for route in PATHS
    for stop in ("opening", "token", "rest")
    if (route, stop) != ("chat", "opening")  # LiteLLM itself waits for a chat's first chunk, even if the client leaves
]


def test_a_client_that_leaves_a_stream_ends_its_attempt_and_leaves_one_record(stack: Stack) -> None:
    asyncio.run(_leave(stack, [(OPENAI, route, stop) for route, stop in LEAVING]))

    found = stack.records(len(LEAVING))
    assert {one["outcome"] for one in found} == {"disconnected"}
    known = sorted(str(one["call_type"]) for one in found if one["ttft_ms"] is not None)
    assert known == sorted(CALL_TYPES.values())  # requests whose client left before the rest
    assert stack.in_flight() == 0
    assert len(stack.records(len(LEAVING))) == len(LEAVING)


def test_a_client_that_left_before_a_chat_s_first_chunk_is_noticed_when_that_comes(stack: Stack) -> None:
    asyncio.run(_leave_at_once(stack))

    (record,) = stack.records(1)
    assert (record["outcome"], record["call_type"]) == ("disconnected", "acompletion")
    assert stack.in_flight() == 0


async def _leave(stack: Stack, requests: Sequence[tuple[Habit, str, str]]) -> None:
    async with httpx.AsyncClient(headers=stack.proxy.auth, timeout=WITHIN_S) as client:
        await asyncio.gather(
            *(leave(client, stack.proxy.url, habit, route, stack.server, stop=stop) for habit, route, stop in requests)
        )


async def _leave_at_once(stack: Stack) -> None:
    """The client leaves at once. LiteLLM sends nothing of Anthropic's stream before the first token, after the gap."""
    asked = {"model": "anthropic", "stream": True, "messages": [{"role": "user", "content": "ask 0"}]}
    async with httpx.AsyncClient(headers=stack.proxy.auth, timeout=WITHIN_S) as client:
        reading = asyncio.create_task(client.post(f"{stack.proxy.url}/v1/chat/completions", json=asked))
        while "0" not in stack.server.asked:  # noqa: ASYNC110  # the server runs on another thread's loop
            await asyncio.sleep(0.01)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


def _fault(seen: Seen, record: dict[str, object], server: Providers) -> str | None:
    """What is wrong with the record of the request that the client saw; `None` if nothing is."""
    if seen.token_s is None:
        return (
            None if record["ttft_ms"] is None and record["slo_met"] is not False else f"{record['ttft_ms']} of nothing"
        )
    if record["ttft_ms"] is None:
        return "unmeasured"
    arrived_s = record["ts"] - record["e2e_ms"] / 1_000  # type: ignore[operator]
    token_s = arrived_s + record["ttft_ms"] / 1_000  # type: ignore[operator]
    sent_s = server.sent_s[seen.number]
    if not sent_s - 1e-5 <= token_s <= seen.token_s + 1e-5:  # a record rounds to microseconds
        return (
            f"{1_000 * (token_s - sent_s):+.1f} ms after the server, {1_000 * (token_s - seen.token_s):+.1f} the client"
        )
    if record["decision"] is None:  # up to 1.100 LiteLLM asks no filter if a group has one deployment
        return None
    return None if record["slo_met"] is False else "the limit was half of the gap"
