"""Asks deployments whose circuit is open whether they answer again, so that no user's request has to find out.

The question is LiteLLM's own health check: a few tokens, tagged as such in its spend logs. Where that cannot tell (it
is itself refused, or the deployment is not to be checked), the circuit's probe is a request.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Literal

from slo_router.live import Live

TIMEOUT_S = 30.0  # an answer that comes later is none

Health = Literal["answers", "fails", "unclear"]
Ask = Callable[[str], Awaitable[Health]]

log = logging.getLogger("slo_router")


class Probing:
    """One worker's probes. `ask` gets a deployment's id."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._tasks: set[asyncio.Task[None]] = set()
        self._unclear: set[str] = set()

    def start(self, live: Live, now_s: float, leave_out: Collection[str] = ()) -> None:
        """Starts the probes that are due, of all but those to leave out; call it some times a second."""
        for name in live.probes_due(now_s, leave_out=self._unclear.union(leave_out)):
            task = asyncio.create_task(self._probe(live, name, now_s))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _probe(self, live: Live, name: str, sent_at_s: float) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                (health,) = await asyncio.gather(self._ask(name), return_exceptions=True)  # any, of a provider's code
        except TimeoutError:
            health = "fails"
        is_answered = {"answers": True, "fails": False}.get(str(health))
        if is_answered is None:
            self._unclear.add(name)
            log.warning("%s fails, and its health check cannot tell when it is back: requests will find out", name)
        live.probe_ended(name, sent_at_s, time.time(), is_answered=is_answered)
