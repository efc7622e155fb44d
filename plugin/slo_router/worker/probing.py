"""Asks deployments that fail or refuse whether they answer, so that no user's request has to find out.

The question is LiteLLM's own health check: a few tokens, tagged as such in its spend logs. Where that cannot tell (the
deployment is not to be checked, or the check itself is what fails), a request is the probe; it is tried again after a
while, for a check that could not tell once may tell later.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Collection

from slo_router.live.account import is_doubted
from slo_router.live.live import Live
from slo_router.live.probes import Health, probe_ended, probes_due

TIMEOUT_S = 30.0  # an answer that comes later is none

UNCLEAR_S = 600.0  # after which a check that could not tell is made again
Ask = Callable[[str], Awaitable[Health]]

log = logging.getLogger("slo_router")


class Probing:
    """One worker's probes. `ask` gets a deployment's id."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._tasks: dict[str, asyncio.Task[None]] = {}  # by deployment id: one at a time
        self._unclear: dict[str, float] = {}  # deployment id → when its check could not tell, Unix seconds

    def start(self, live: Live, now_s: float, leave_out: Collection[str] = ()) -> None:
        """Starts the probes that are due, of all but those to leave out; call it some times a second."""
        for name, at_s in list(self._unclear.items()):
            if abs(now_s - at_s) >= UNCLEAR_S or name not in live.states:
                del self._unclear[name]
        live.can_ask = lambda name: name not in self._unclear
        for name in probes_due(live.states, now_s, leave_out={*self._unclear, *leave_out}):
            if name in self._tasks:  # the one before is not answered yet, and no request has to find out
                continue
            task = self._tasks[name] = asyncio.create_task(self._probe(live, name, now_s), name="slo_router probe")
            task.add_done_callback(functools.partial(self._forget, name))

    def _forget(self, name: str, _: asyncio.Task[None]) -> None:
        self._tasks.pop(name, None)

    async def _probe(self, live: Live, name: str, sent_at_s: float) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                (found,) = await asyncio.gather(self._ask(name), return_exceptions=True)  # any, of a provider's code
        except TimeoutError:
            found = "fails"
        health: Health = "unclear" if isinstance(found, BaseException) else found
        state = live.states.get(name)
        if health == "refuses" and (state is None or not is_doubted(state.account)):
            health = "unclear"  # it failed otherwise, and what is refused may be the check
        if health == "unclear":
            self._unclear[name] = time.time()
            log.warning("%s fails, and its health check cannot tell when it is back: requests will find out", name)
        elif health == "refuses":
            log.warning("%s refuses every request, a health check too: it gets no traffic until it answers one", name)
        probe_ended(live.states, name, sent_at_s, time.time(), health)
