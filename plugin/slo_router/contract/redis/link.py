"""One `redis_url` for every way to run Redis or Valkey. redis-py makes the connections.

    embedded                                            one Valkey per host, started here (`embedded`)
    redis://[user:password@]host[:6379][/db]            rediss:// for TLS
    unix://[user:password@]/path/to/redis.sock[?db=0]
    redis+sentinel://[user:password@]host[:26379],host…/service[/db]      rediss+sentinel:// for TLS
    redis+cluster://[user:password@]host[:6379],host…                     rediss+cluster:// for TLS

Query parameters are redis-py's connection options: `ssl_ca_certs`, `ssl_cert_reqs=none`, `ssl_certfile`, `ssl_keyfile`,
`socket_timeout`, `max_connections`, … User and password are for the data servers. Sentinels with their own login use
`sentinel_username` and `sentinel_password`.

A client gives up after 2 s and does not repeat a command: its caller backs off, and a repeated XADD would log a request
twice. (On Cluster, redis-py below 6 still tries three times.) It speaks RESP 2. All servers, proxies and redis-py
versions answer that alike, and it needs no rights beyond the commands used. Replies are `str`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

import redis
import redis.asyncio
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.exceptions import RedisClusterException
from redis.retry import Retry
from redis.sentinel import Sentinel

from slo_router.contract.redis import embedded
from slo_router.errors import SettingsError

AsyncClient: TypeAlias = redis.asyncio.Redis | redis.asyncio.RedisCluster
BlockingClient: TypeAlias = redis.Redis | redis.RedisCluster
Options: TypeAlias = dict[str, Any]  # redis-py's connection arguments have no common type

LINK_ERRORS = (redis.RedisError, RedisClusterException)
"""The errors of a client's calls when Redis is away or refuses. Catch them and back off. Their texts contain addresses:
log `error_kind(error)` and `masked(url)` instead."""

EMBEDDED = "embedded"
_DEFAULT_PORT = {
    "redis": 6379,
    "rediss": 6379,
    "unix": 0,
    "redis+sentinel": 26379,
    "rediss+sentinel": 26379,
    "redis+cluster": 6379,
    "rediss+cluster": 6379,
}
FORMS = (
    "embedded, redis://[user:password@]host[:6379][/db], unix:///path/to/redis.sock[?db=0], "
    "redis+sentinel://host[:26379],host/service[/db] or redis+cluster://host[:6379],host (rediss… for TLS)"
)
_COMMON: Options = {
    "decode_responses": True,
    "encoding_errors": "replace",  # a value that is not UTF-8 must not stop the reader, which drops it
    "protocol": 2,
    "socket_connect_timeout": 2.0,
    "socket_timeout": 2.0,
    "health_check_interval": 30,
}


@dataclass(frozen=True, slots=True)
class _Target:
    """A checked URL. A single server has `url`; Sentinel and Cluster have addresses and connection arguments."""

    url: str
    topology: str = ""
    addresses: Sequence[tuple[str, int]] = ()
    service: str = ""
    options: Options = field(default_factory=dict)
    sentinel_options: Options = field(default_factory=dict)


def connect(url: str) -> AsyncClient:
    """An asyncio client. Does no I/O, except for `embedded`, which starts the server and blocks: call it in a thread.

    On Cluster our keys share no hash tag. Use pipelines with `transaction=False`, which work across keys there, and no
    other command on several keys. A further call with `embedded` restarts a server that has died. Raises SettingsError
    for an unusable URL, and EmbeddedServerError (a redis.ConnectionError) where the embedded server fails.
    """
    target = _parse(url)
    retry = AsyncRetry(NoBackoff(), 0)
    if target.topology == "cluster":
        nodes = [AsyncClusterNode(host, port) for host, port in target.addresses]
        return redis.asyncio.RedisCluster(startup_nodes=nodes, retry=retry, **target.options)
    if target.topology == "sentinel":
        sentinel = AsyncSentinel(  # type: ignore[no-untyped-call]
            target.addresses, sentinel_kwargs=target.sentinel_options | {"retry": retry}, retry=retry, **target.options
        )
        master: redis.asyncio.Redis = sentinel.master_for(target.service, connection_pool_class=_MasterPool)
        return master
    return redis.asyncio.Redis.from_url(target.url, retry=retry, **_COMMON)


def connect_blocking(url: str) -> BlockingClient:
    """As `connect`, without an event loop. Cluster connects at once and raises LINK_ERRORS where it is down."""
    target = _parse(url)
    retry = Retry(NoBackoff(), 0)
    if target.topology == "cluster":
        nodes = [ClusterNode(host, port) for host, port in target.addresses]  # type: ignore[no-untyped-call]
        return redis.RedisCluster(startup_nodes=nodes, retry=retry, **target.options)
    if target.topology == "sentinel":
        sentinel = Sentinel(  # type: ignore[no-untyped-call]
            target.addresses, sentinel_kwargs=target.sentinel_options | {"retry": retry}, retry=retry, **target.options
        )
        master: redis.Redis = sentinel.master_for(target.service)  # type: ignore[no-untyped-call]
        return master
    return redis.Redis.from_url(target.url, retry=retry, **_COMMON)


def is_usable(url: str) -> bool:
    """Whether a URL has a usable form. Connects to nothing; a missing certificate file is found on connecting."""
    url = url.strip()
    if url == EMBEDDED:
        return True
    try:
        parts = _split(url)
        return bool(_unix(url, parts) if parts.scheme == "unix" else _network(parts))
    except FileNotFoundError:
        return True
    except (ValueError, TypeError, redis.RedisError):
        return False


def hosts_of(url: str) -> tuple[str, ...]:
    """The host names or addresses in a usable URL; none for a socket of this host."""
    url = url.strip()
    if url == EMBEDDED or url.startswith("unix:"):
        return ()
    parts = _split(url)
    hosts = parts.netloc.rpartition("@")[2].split(",")
    return tuple(_address(host, _DEFAULT_PORT[parts.scheme])[0] for host in hosts)


def error_kind(error: BaseException) -> str:
    """What went wrong, without an address: the error's type, and Redis's own word where that says more (`MISCONF`)."""
    name, word = type(error).__name__, str(error).partition(" ")[0]
    says_more = type(error) is redis.ResponseError and word.isalpha() and word.isupper() and word != "ERR"
    return f"{name} {word}" if says_more else name


def masked(url: str) -> str:
    """The URL for logs: scheme and database, without credentials, addresses and options: `rediss://…/0`."""
    scheme, separator, rest = url.strip().partition("://")
    if not separator:
        return EMBEDDED if scheme == EMBEDDED else "…"
    if not re.fullmatch(r"[a-z][a-z+]{0,15}", scheme):
        return "…"
    database = re.search(r"(?:/|[?&]db=)(\d{1,4})(?=$|\?|&)", rest)
    return f"{scheme}://…/{database[1] if database else 0}"


class _MasterPool(SentinelConnectionPool):
    """Also closes the connections to the Sentinels, which redis-py leaves open."""

    async def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002  # redis-py's signature
        await super().disconnect(inuse_connections)
        if inuse_connections:
            for sentinel in self.sentinel_manager.sentinels:
                await sentinel.aclose()


def _parse(url: str) -> _Target:
    url = embedded.ensure_running() if url.strip() == EMBEDDED else url.strip()
    try:
        parts = _split(url)
        return _unix(url, parts) if parts.scheme == "unix" else _network(parts)
    except (OSError, ValueError, TypeError, redis.RedisError) as error:  # redis-py raises these for a bad option
        raise SettingsError(f"redis_url: {masked(url)} is not usable: {error}; expected {FORMS}") from None


def _split(url: str) -> SplitResult:
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in _DEFAULT_PORT:
        raise ValueError("unknown scheme")
    netloc = re.split("[/?#]", rest, maxsplit=1)[0]
    login, at, hosts = netloc.rpartition("@")
    try:
        for host in hosts.split(","):  # newer Pythons refuse a list with an IPv6 address in it
            urlsplit(f"{scheme}://{login}{at}{host}")
        return urlsplit(f"{scheme}://{rest[len(netloc) :]}")._replace(netloc=netloc)
    except ValueError:  # its message quotes the password
        raise ValueError("user, password or host is malformed") from None


def _unix(url: str, parts: SplitResult) -> _Target:
    if parts.netloc.rpartition("@")[2] or not parts.path.strip("/"):
        raise ValueError("unix:// needs an absolute path")
    _options(url)
    return _Target(url)


def _network(parts: SplitResult) -> _Target:
    transport, _, topology = parts.scheme.partition("+")
    login, at, hosts = parts.netloc.rpartition("@")
    addresses = [_address(host, _DEFAULT_PORT[parts.scheme]) for host in hosts.split(",")]
    segments = [segment for segment in parts.path.split("/") if segment]
    service = segments.pop(0) if topology == "sentinel" and segments else ""
    if (topology == "sentinel") != bool(service):
        raise ValueError("the Sentinel service name is missing")
    if len(segments) > 1 or not all(segment.isdecimal() for segment in segments) or parts.fragment:
        raise ValueError("the database is not a number, or the password has a / ? # that is not percent-encoded")
    if not topology and len(addresses) > 1:
        raise ValueError("one server has one address")
    query = dict(parse_qsl(parts.query))
    sentinel_login = {name: query.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    node = f"{transport}://{login}{at}{hosts.split(',')[0]}/{''.join(segments)}?{urlencode(query)}"
    options = _options(node)
    if topology == "cluster" and options.pop("db", 0):
        raise ValueError("a cluster has database 0 only")
    shared = {name: value for name, value in options.items() if name not in {"username", "password", "db"}}
    return _Target(node, topology, addresses, service, options, shared | sentinel_login)


def _address(host: str, default_port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{host}")
        port = parts.port or default_port
    except ValueError:  # the "port" may be a piece of the password
        raise ValueError("a port is not a number, or the password has a / ? # that is not percent-encoded") from None
    if not parts.hostname:
        raise ValueError("a host is missing")
    return parts.hostname, port


def _options(node_url: str) -> Options:
    """The connection arguments in a one-server URL. Raises for an unknown or unusable one, before any I/O."""
    pool = redis.ConnectionPool.from_url(node_url, **_COMMON)
    pool.connection_class(**pool.connection_kwargs)  # else redis-py complains at the first command
    options: Options = {**_COMMON, **parse_url(node_url)}
    for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        if name in options and not Path(options[name]).is_file():
            raise FileNotFoundError(f"{name}: no such file: {options[name]}")
    for name in ("host", "port", "path", "connection_class"):
        options.pop(name, None)
    return options | ({"ssl": True} if node_url.startswith("rediss:") else {})
