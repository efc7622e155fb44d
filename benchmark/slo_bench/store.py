"""The store of results, which is the proxy's Redis, and how to connect to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

from redis.exceptions import NoPermissionError

from slo_bench.errors import BenchError
from slo_router.contract.redis.link import LINK_ERRORS, AsyncClient, connect, error_kind, masked


@dataclass(frozen=True, slots=True)
class Store:
    """A Redis, and the prefix of each key in it."""

    redis_url: str = field(repr=False)
    key_prefix: str = ""


@asynccontextmanager
async def linked(store: Store) -> AsyncIterator[AsyncClient]:
    """A connection that has answered once. Raises BenchError, also in the block, where Redis is away or refuses."""
    try:
        async with aclosing(connect(store.redis_url)) as link:
            await link.ping()
            yield link
    except NoPermissionError as error:
        raise BenchError("redis_url: its user may not use the keys slo_bench:*; docs/security.md has them") from error
    except LINK_ERRORS as error:
        raise BenchError(f"redis_url: {masked(store.redis_url)} does not answer: {error_kind(error)}") from error
