"""Looks for deployments that our plugin shuts although they did nothing wrong.

The plugin's workers publish which circuits are open and which accounts are denied. The endpoint's `/control` tells
whether it failed a request.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import NamedTuple

import httpx
import redis.asyncio as redis

from slo_router.contract.keys import LIVE_KEY

LOOK_S = 0.25
TOO_MANY, SERVER_ERROR = 429, 500


class Shut(NamedTuple):
    """A deployment that the plugin shut for `lasted_s`, although nothing had gone wrong with it."""

    deployment: str
    lasted_s: float


class Watch:
    """Watches one phase. `urls` are the endpoints' addresses by deployment."""

    def __init__(self, redis_url: str, urls: Mapping[str, str]) -> None:
        self._redis_url = redis_url
        self._urls = urls
        self._since_s: dict[str, float] = {}
        self._faulty: set[str] = set()
        self._found: list[Shut] = []

    async def run(self) -> None:
        """Looks again and again until it is cancelled."""
        async with redis.Redis.from_url(self._redis_url, decode_responses=True) as link, httpx.AsyncClient() as client:
            is_first = True
            while True:
                exports = [await link.get(key) async for key in link.scan_iter(f"{LIVE_KEY}*")]
                shut = shut_by([json.loads(text) for text in exports if text]) & self._urls.keys()
                if is_first:  # because of the phase before
                    self._faulty |= shut
                is_first = False
                for name in shut - self._since_s.keys():
                    said = (await client.get(f"{self._urls[name]}/control")).json()
                    if has_failed(said):
                        self._faulty.add(name)
                self.look(shut, time.monotonic())
                await asyncio.sleep(LOOK_S)

    def look(self, shut: set[str], now_s: float) -> None:
        """Notes the deployments that are shut now."""
        for name in shut:
            self._since_s.setdefault(name, now_s)
        for name in self._since_s.keys() - shut:
            lasted_s = now_s - self._since_s.pop(name)
            if name not in self._faulty:
                self._found.append(Shut(name, lasted_s))

    def ended(self) -> list[Shut]:
        """All deployments that were shut without a cause."""
        self.look(set(), time.monotonic())
        return self._found


def shut_by(exports: list[Mapping[str, object]]) -> set[str]:
    """The deployments that at least one worker leaves out, by what the workers publish."""
    found = set()
    for export in exports:
        for name, said in export.items():
            match said:
                case {"circuit": [_, bool() as is_open, *_], "account": [_, _, bool() as is_denied, *_]}:
                    if is_open or is_denied:
                        found.add(name)
    return found


def has_failed(control: Mapping[str, object]) -> bool:
    """Whether an endpoint failed a request, or has a fault set, by its `/control`."""
    fault, seen = control.get("fault"), control.get("seen")
    if isinstance(fault, Mapping) and fault.get("fault") != "ok":
        return True
    statuses = [one.get("status") or 0 for one in seen if isinstance(one, Mapping)] if isinstance(seen, list) else []
    return any(status == TOO_MANY or status >= SERVER_ERROR for status in statuses)
