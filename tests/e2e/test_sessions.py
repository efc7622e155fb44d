"""Responses over a websocket: LiteLLM alone routes such a session. Each turn has a record with its billed cost."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from websockets.sync.client import connect

from evaluation.emulator import running_endpoints
from evaluation.shared.valkey_server import ValkeyServer
from tests.e2e.conftest import ASK, SPECS, Part, Stack, Streams, deployment

GROUP, TURNS = "session", 3


@contextmanager
def part(_: redis.Redis) -> Iterator[Part]:
    """This module's part of a proxy that modules share. LiteLLM asks this provider for each turn by HTTP."""
    with running_endpoints(SPECS[:1]) as handles:
        model = deployment(handles[0], GROUP, "session-small")
        model["litellm_params"]["model"] = "hosted_vllm/small"  # type: ignore[index]
        yield Part([model], {GROUP: {}}, (*handles,))


def test_each_turn_has_a_record_with_its_own_time_tokens_and_cost(streams: Streams, valkey: ValkeyServer) -> None:
    handles = streams.servers[__name__]
    stack = Stack(streams.proxy, valkey, {one.name: one for one in handles}, time.time(), prefix=Streams.prefix)
    url = f"ws{stack.proxy.url.removeprefix('http')}/v1/responses?model={GROUP}"
    answers: list[dict[str, Any]] = []
    with connect(url, additional_headers=stack.proxy.auth) as session:
        for _ in range(TURNS):
            time.sleep(1)  # an idle session
            session.send(json.dumps({"type": "response.create", "model": GROUP, "input": ASK}))
            while not answers or answers[-1]["type"] != "response.completed":
                answers.append(json.loads(session.recv(timeout=60)))
            usage = answers.pop()["response"]["usage"]
            answers.append({"type": "turn", **usage})

    told = [one for one in answers if one["type"] == "turn"]
    records = stack.records(TURNS)
    counts = [(one["prompt_tokens"], one["completion_tokens"]) for one in records]
    assert counts == [(one["input_tokens"], one["output_tokens"]) for one in told]
    for record in records:
        assert (record["deployment"], record["outcome"], record["attempts"]) == ("session-small", "success", 1)
        assert record["cost_usd"] == pytest.approx(record["prompt_tokens"] * 1e-7 + record["completion_tokens"] * 2e-7)  # type: ignore[operator]
        assert record["e2e_ms"] < 1_000 * TURNS  # type: ignore[operator]
