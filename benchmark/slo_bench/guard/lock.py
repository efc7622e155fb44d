"""A lock so that only one agent at a time measures an endpoint. Two agents would measure each other's load.

    {prefix}slo_bench:lock:{hash of address and model}     the owner's token; it expires TTL_S after the last renewal

The lock is redis-py's. It is taken with SET NX. Scripts that compare the token renew and release it, so no agent
extends or frees another's lock. It is renewed every third of its life. The lock is lost if Redis says that another
agent has it, or if Redis could not be asked within its life. Then the holder must stop, for another agent may measure.

The address is hashed, so that a key in Redis does not reveal it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from hashlib import sha256

from redis.asyncio.lock import Lock
from redis.exceptions import LockError

from slo_bench.errors import StoppedError
from slo_bench.guard.beside import beside
from slo_router.contract.keys import LOCK_KEY
from slo_router.contract.redis.link import LINK_ERRORS, AsyncClient, error_kind
from slo_router.contract.settings.deployments import ManagedDeployment
from slo_router.contract.settings.environment import resolve_environment

TTL_S = 30.0
POLL_S = 0.5
BUSY = "another agent is measuring it"
LOST = "its lock was lost, another agent may be measuring it"


def endpoint_of(deployment: ManagedDeployment) -> str:
    """A hash of the endpoint behind a deployment, the same for every agent, whichever way it calls the deployment."""
    try:
        base = resolve_environment(deployment.api_base)
    except ValueError:
        base = deployment.api_base
    return sha256(f"{(base or '').rstrip('/')}\n{deployment.facts.model}".encode()).hexdigest()[:24]


class EndpointLock:
    """The lock of one endpoint. `ttl_s` is how long a killed agent keeps it; `renewed_every_s` is a third of that."""

    def __init__(
        self,
        link: AsyncClient,
        prefix: str,
        endpoint: str,
        ttl_s: float = TTL_S,
        *,
        renewed_every_s: float | None = None,
    ) -> None:
        self._lock = Lock(link, prefix + LOCK_KEY + endpoint, timeout=ttl_s, sleep=POLL_S, thread_local=False)
        self._ttl_s = ttl_s
        self._renewed_every_s = ttl_s / 3 if renewed_every_s is None else renewed_every_s

    @asynccontextmanager
    async def held(
        self, *, wait: bool, on_wait: Callable[[], None], on_lost: Callable[[], None]
    ) -> AsyncIterator[None]:
        """Holds the lock while the block runs. `on_lost` is called at most once, and may come at any time.

        Raises StoppedError where another agent has it and `wait` is false, or Redis does not answer.
        """
        await self._acquire(wait=wait, on_wait=on_wait)
        try:
            async with beside(self._renew(on_lost)):
                yield
        finally:
            with suppress(LockError, *LINK_ERRORS):  # no longer ours, or it expires by itself
                await self._lock.release()

    async def _acquire(self, *, wait: bool, on_wait: Callable[[], None]) -> None:
        try:
            if await self._lock.acquire(blocking=False):
                return
            if not wait:
                raise StoppedError(BUSY)
            on_wait()
            await self._lock.acquire(blocking=True)
        except LINK_ERRORS as error:
            raise StoppedError(f"Redis did not give its lock: {error_kind(error)}") from error

    async def _renew(self, on_lost: Callable[[], None]) -> None:
        now_s = asyncio.get_running_loop().time
        until_s = now_s() + self._ttl_s
        while now_s() < until_s:
            await asyncio.sleep(min(self._renewed_every_s, max(until_s - now_s(), 0)))
            asked_at_s = now_s()
            try:
                await self._lock.reacquire()
                until_s = asked_at_s + self._ttl_s
            except LockError:
                break
            except LINK_ERRORS:
                continue  # it is ours until its life is over
        on_lost()
