"""Asks every habit on every route, through a proxy, and notes when the client had the first token."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count

import httpx

from evaluation.routing.first_token.habits import HABITS, Habit
from evaluation.routing.first_token.server import Providers, slug
from evaluation.routing.first_token.streams import MARK
from evaluation.shared import proxy_config

PATHS: Mapping[str, str] = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "messages": "/v1/messages",
    "responses": "/v1/responses",
    "gemini": "/v1beta/models/{group}:streamGenerateContent?alt=sse",
}
CALL_TYPES: Mapping[str, str] = {  # how a record names the routes
    "chat": "acompletion",
    "completions": "atext_completion",
    "messages": "anthropic_messages",
    "responses": "aresponses",
    "gemini": "agenerate_content_stream",
}
SHOWN = re.compile(f"{MARK}|and end".encode())  # "and end" for routes that do not show MARK
TIMEOUT_S = 60.0
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the client saw of one request, in Unix seconds. `token_s` is `None` if no word of the model reached it."""

    habit: Habit
    route: str
    number: str
    status: int
    sent_s: float
    token_s: float | None

    @property
    def key(self) -> tuple[str, str]:
        """Group and call type, by which the request's record is found."""
        return slug(self.habit.name), CALL_TYPES[self.route]


def document(server: Providers, redis_url: str, **plugin: object) -> dict[str, object]:
    """A proxy's whole configuration: a managed group with one deployment for each habit."""
    groups = {slug(habit.name): {"slo": {"ttft_ms": server.gap_s * 500}} for habit in HABITS}
    made = proxy_config.document([_entry(server, habit) for habit in HABITS], groups, redis_url=redis_url, **plugin)
    return made | {"router_settings": {"num_retries": 0, "disable_cooldowns": True}}


def _entry(server: Providers, habit: Habit) -> dict[str, object]:
    params: dict[str, object] = {"model": habit.model, "api_base": server.api_base(habit.name), "api_key": "none"}
    if habit.provider == "azure":
        params["api_version"] = "2024-10-21"
    known = {"id": slug(habit.name), "slo_router": {"quality": 0.7}}
    return {"model_name": slug(habit.name), "litellm_params": params, "model_info": known}


def body(route: str, group: str, number: str, stop: str | None = None) -> dict[str, object]:
    """A streamed request with its own number. The server sends neither the part `stop` nor what comes after it."""
    words = f"ask {number}" if stop is None else f"ask {number}, stop before the {stop}"
    asked: dict[str, object] = {"model": group, "stream": True}
    if route == "completions":
        return {**asked, "prompt": words}
    if route == "responses":
        return {**asked, "input": words}
    if route == "gemini":
        return {"contents": [{"role": "user", "parts": [{"text": words}]}]}
    return {**asked, "messages": [{"role": "user", "content": words}], "max_tokens": 50}


def path(route: str, group: str) -> str:
    """The path of a streamed request to a group."""
    return PATHS[route].format(group=group)


def next_number() -> str:
    """A number that no other request has."""
    return str(next(_numbers))


async def ask(client: httpx.AsyncClient, url: str, habit: Habit, route: str) -> Seen:
    """Sends one request and reads its answer to the end."""
    number = next_number()
    sent_s = time.time()
    token_s, held = None, b""
    group = slug(habit.name)
    async with client.stream("POST", url + path(route, group), json=body(route, group, number)) as answer:
        async for piece in answer.aiter_raw():
            at_s = time.time()
            held += piece
            if token_s is None and SHOWN.search(held):
                token_s = at_s
        return Seen(habit, route, number, answer.status_code, sent_s, token_s)


async def leave(client: httpx.AsyncClient, url: str, habit: Habit, route: str, server: Providers, *, stop: str) -> None:
    """Sends a request whose client leaves when the server stops before `stop`, and all parts before that arrived."""
    number = next_number()
    group, shown = slug(habit.name), asyncio.Event()
    asked = body(route, group, number, stop)

    async def read() -> None:
        held = b""
        async with client.stream("POST", url + path(route, group), json=asked) as answer:
            async for piece in answer.aiter_raw():
                held += piece
                if SHOWN.search(held):
                    shown.set()

    reading = asyncio.create_task(read())
    while number not in server.stopped:  # noqa: ASYNC110  # the server runs on another thread's loop
        await asyncio.sleep(0.01)
    if stop == "rest":
        await asyncio.wait_for(shown.wait(), TIMEOUT_S)
    else:
        await asyncio.sleep(server.gap_s / 4)  # the opening shows nothing, so its arrival cannot be awaited
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


async def ask_all(url: str, auth: Mapping[str, str], habits: Iterable[Habit] = HABITS, at_once: int = 1) -> list[Seen]:
    """Asks each habit on each of its routes, `at_once` at a time."""
    places = asyncio.Semaphore(at_once)

    async def one(client: httpx.AsyncClient, habit: Habit, route: str) -> Seen:
        async with places:
            return await ask(client, url, habit, route)

    async with httpx.AsyncClient(headers=dict(auth), timeout=TIMEOUT_S) as client:
        return await asyncio.gather(*(one(client, habit, route) for habit in habits for route in habit.routes))
