"""Asks deployments that fail or refuse whether they answer again, so that no user's request has to find out.

The question is LiteLLM's own health check: a few tokens, tagged as such in its spend logs. A check may be unable to
tell: the deployment must not be checked, or the check itself fails. Then a request is the probe. After UNCLEAR_S the
check is tried again, for it may be able to tell by then.
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

TIMEOUT_S = 30.0  # a check that takes longer has failed

UNCLEAR_S = 600.0  # a check that could not tell is made again after this
Ask = Callable[[str], Awaitable[Health]]

log = logging.getLogger("slo_router")


class Probing:
    """One worker's probes. `ask` gets a deployment's id."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._tasks: dict[str, asyncio.Task[None]] = {}  # by deployment id: one at a time
        self._unclear: dict[str, float] = {}  # deployment id → when its check could not tell, Unix seconds

    def start(self, live: Live, now_s: float, leave_out: Collection[str] = ()) -> None:
        """Starts the probes that are due, except of the deployments in `leave_out`. Call it several times a second."""
        for name, at_s in list(self._unclear.items()):
            if abs(now_s - at_s) >= UNCLEAR_S or name not in live.states:
                del self._unclear[name]
        live.can_ask = lambda name: name not in self._unclear
        for name in probes_due(live.states, now_s, leave_out={*self._unclear, *leave_out}):
            if name in self._tasks:  # the probe before is not answered yet
                continue
            task = self._tasks[name] = asyncio.create_task(self._probe(live, name, now_s), name="slo_router probe")
            task.add_done_callback(functools.partial(self._forget, name))

    def _forget(self, name: str, _: asyncio.Task[None]) -> None:
        self._tasks.pop(name, None)

    async def _probe(self, live: Live, name: str, sent_at_s: float) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                (found,) = await asyncio.gather(self._ask(name), return_exceptions=True)  # it may raise anything
        except TimeoutError:
            found = "fails"
        health: Health = "unclear" if isinstance(found, BaseException) else found
        state = live.states.get(name)
        if health == "refuses" and (state is None or not is_doubted(state.account)):
            health = "unclear"  # it is not doubted for refusals, and may refuse only the check
        if health == "unclear":
            self._unclear[name] = time.time()
            log.warning("%s fails, and its health check cannot tell when it is back: requests will find out", name)
        elif health == "refuses":
            log.warning("%s refuses every request, a health check too: it gets no traffic until it answers one", name)
        probe_ended(live.states, name, sent_at_s, time.time(), health)
