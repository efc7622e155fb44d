"""Deployments with rescue that fail before their first content, a group for each case, behind the shared `streams`.

Each case has its own group, so that no case sees a circuit that another opened. In each group the cheap deployment
fails where the request says so, and the dear one answers. Deadlines are half a second, and silence never ends. So the
tests work on slow machines too.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import httpx
import redis

from evaluation.emulator import FaultKind, Handle, running_endpoints
from evaluation.routing.first_token.asking import PATHS, body, next_number, path
from evaluation.routing.first_token.server import Providers, providers
from evaluation.shared.stock_proxy import StockProxy
from tests.e2e.conftest import LITELLM, SPECS, Part, Streams, deployment, publish_one

DEADLINE_MS = 500.0
PATIENT_MS = 20_000.0  # measured TTFT of the second deployment: its deadline is a minute, after any break
WITHIN_S = 90.0
CHEAP_USD = 1e-12  # per token: cheaper even if its answers were a thousand times as long
ROUTES = tuple(route for route in PATHS if route != "gemini" or LITELLM >= (1, 108))  # older versions book no name
AT_ENDPOINTS: tuple[FaultKind, ...] = ("hang", "cut", "end")


class Case(NamedTuple):
    """One group: how its cheap deployment fails, and on which route."""

    silence: str  # `hang`: before the headers; `opening`: after them; `token`: after what opens a stream; `cut`: its
    # connection is closed after what opens a stream; `end`: the stream ends there
    route: str
    name: str = ""
    stream: bool = True
    second: FaultKind | None = None  # how a second cheap deployment fails; `None`: there is none
    has_rescue: bool = True
    budget: float = 0.03
    deadline_ms: float = DEADLINE_MS

    @property
    def group(self) -> str:
        return self.name or f"{self.silence}-{self.route}"


@dataclass
class Stack:
    """The running parts."""

    streams: Streams
    server: Providers
    other: Providers
    endpoints: dict[str, Handle]

    @property
    def proxy(self) -> StockProxy:
        """The shared proxy."""
        return self.streams.proxy

    async def ask(
        self, case: Case, headers: dict[str, str] | None = None, number: str | None = None, **more: object
    ) -> Answer:
        """Sends one request of a case, and reads the answer to its end."""
        number = number or next_number()
        stop = None if case.silence in AT_ENDPOINTS else case.silence
        asked = {**body(case.route, case.group, number, stop), **more}
        if "stream" in asked:
            asked["stream"] = case.stream
        if case.route == "completions":  # without it LiteLLM books nothing for a stream
            asked["stream_options"] = {"include_usage": True}
        async with httpx.AsyncClient(headers={**self.proxy.auth, **(headers or {})}, timeout=WITHIN_S) as client:
            answer = await client.post(self.proxy.url + path(case.route, case.group), json=asked)
        return Answer(case, number, answer)

    def ask_all(self, *cases: Case) -> list[Answer]:
        """Asks one request of each case, all at the same time."""

        async def ask() -> list[Answer]:
            return await asyncio.gather(*map(self.ask, cases))

        return asyncio.run(ask())

    def booked(self, group: str) -> list[tuple[str, float]]:
        """What LiteLLM told its callbacks to book for a group: deployment and USD."""
        lines = (self.proxy.config_path.parent / "booked.jsonl").read_text().splitlines()
        return [(name, usd) for of, name, usd in map(json.loads, lines) if of == group]

    def record(self, group: str, count: int = 1) -> dict[str, Any]:
        """The last record of a group, once the group has `count`."""
        deadline_s = time.monotonic() + WITHIN_S
        while True:
            found = [one for one in self.streams.records() if one["model_group"] == group]
            if len(found) >= count or time.monotonic() > deadline_s:
                assert len(found) == count, f"{len(found)} records of {group}"
                return found[-1]
            time.sleep(0.05)


class Answer(NamedTuple):
    """What the client got."""

    case: Case
    number: str
    answer: httpx.Response


def _models(
    case: Case, server: Providers, other: Providers, endpoints: Mapping[str, Handle]
) -> list[dict[str, object]]:
    handle = endpoints.get(case.silence, endpoints["hang"])
    silent = deployment(handle, case.group, f"{case.group}-silent", like="small")
    params = cast("dict[str, object]", silent["litellm_params"])
    params |= dict.fromkeys(("input_cost_per_token", "output_cost_per_token"), CHEAP_USD)
    if case.silence not in AT_ENDPOINTS:
        params |= {"model": "openai/m", "api_base": server.api_base("openai")}
    answering = deployment(endpoints["good"], case.group, f"{case.group}-good", like="medium")
    if case.group.startswith("left-"):
        params = cast("dict[str, object]", answering["litellm_params"])
        answering["litellm_params"] = params | {"model": "openai/m", "api_base": other.api_base("openai")}
    if case.second is None:
        return [silent, answering]
    between = deployment(endpoints[case.second], case.group, f"{case.group}-second", like="small")
    params = cast("dict[str, object]", between["litellm_params"])
    params |= dict.fromkeys(("input_cost_per_token", "output_cost_per_token"), 2 * CHEAP_USD)
    return [silent, between, answering]


def _group(case: Case) -> dict[str, object]:
    deadline_ms = 60_000.0 if case.silence in ("cut", "end") else case.deadline_ms
    rescue = {"min_ms": deadline_ms, "max_ms": 60_000.0, "whole_answers": True, "budget": case.budget}
    return {"slo": {"ttft_ms": 60_000}, "trial_share": 0, "rescue": rescue if case.has_rescue else "off"}


@contextmanager
def part_of(cases: Sequence[Case], client: redis.Redis) -> Iterator[Part]:
    """These cases' part of the proxy that the tests of streams share."""
    names = (*AT_ENDPOINTS, "good")
    specs = [replace(SPECS[0], name=name) for name in AT_ENDPOINTS]
    specs.append(replace(SPECS[1], name="good", opens_early=False))
    with (
        providers(gap_s=0.0) as server,
        providers(gap_s=0.0) as other,
        running_endpoints(specs) as running,
    ):
        endpoints = dict(zip(names, running, strict=True))
        for case in cases:
            publish_one(client, Streams.prefix, f"{case.group}-silent", "small")
            if case.second:
                publish_one(client, Streams.prefix, f"{case.group}-second", "small", {"ttft_ms": PATIENT_MS})
            publish_one(client, Streams.prefix, f"{case.group}-good", "medium")
        for name in AT_ENDPOINTS:
            endpoints[name].control(name, after_chunks=0)
        models = [entry for case in cases for entry in _models(case, server, other, endpoints)]
        yield Part(models, {case.group: _group(case) for case in cases}, (server, other, endpoints))


def fault_of(one: Answer, rescued: str | None = "deadline") -> str:
    """What is wrong with an answer of the dear deployment; empty if nothing is."""
    case, headers, text = one.case, one.answer.headers, one.answer.text
    if one.answer.status_code != 200:
        return f"{one.answer.status_code} {text[:300]}"
    served = {headers["x-slo-selected-model"], headers.get("x-litellm-model-id")} - {None}
    if served != {f"{case.group}-good"} or headers.get("x-slo-rescued") != rescued:
        return f"{served}, {headers.get('x-slo-rescued')}"
    if case.stream and text.count(START[case.route]) != 1:
        return f"begins {text.count(START[case.route])} times: {text[:500]}"
    return ""


START = {  # what a stream contains exactly once
    "chat": '"finish_reason":"stop"',
    "completions": '"finish_reason":"stop"',
    "messages": "event: message_start",
    "responses": '"type":"response.created"',
    "gemini": '"finishReason": "STOP"',
}


def hung_up(server: Providers, numbers: list[str]) -> bool:
    """Waits until the connections of all these requests are closed. `False` if that takes too long.

    Requests that never arrived do not count: a worker that stood still may have given one up before sending it.
    """
    deadline_s = time.monotonic() + WITHIN_S
    while not server.hung_up.issuperset(arrived := server.asked.intersection(numbers)):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.05)
    return bool(arrived)
