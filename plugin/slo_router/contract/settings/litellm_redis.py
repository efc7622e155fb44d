"""Finds LiteLLM's own Redis in its configuration, and makes one `redis_url` of it. LiteLLM is not imported.

    general_settings.coordination_redis     the first of these that names a server counts
    litellm_settings.cache_params           where `cache: true` and the type is redis
    router_settings.redis_host, redis_url   and cache_kwargs
    REDIS_URL, REDIS_HOST, REDIS_CLUSTER_NODES, REDIS_SENTINEL_NODES, …

As in LiteLLM, variables fill in what a section leaves out. A single server, TLS with its options, Cluster
(`startup_nodes`) and Sentinel (`sentinel_nodes`, `service_name`) can be written as a URL. Other options, such as a
login by a cloud's identity, cannot: then a note names them, and the plugin keeps its figures in the process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from slo_router.contract.redis.link import is_usable
from slo_router.contract.settings.environment import ENV_PREFIX

Options = Mapping[str, object]

_PLAIN = ("url", "host", "port", "username", "password", "db", "ssl", "unix_socket_path", "service_name")
_SSL = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
_NODES = {"startup_nodes": "REDIS_CLUSTER_NODES", "sentinel_nodes": "REDIS_SENTINEL_NODES"}
_IDENTITY = ("gcp_service_account", "azure_redis_ad_token", "aws_iam_auth", "credential_provider", "redis_connect_func")
_TARGETS = ("url", "host", "startup_nodes", "sentinel_nodes", "unix_socket_path")
_HINT = "set callback_settings.slo_router.redis_url, or figures stay in each process's memory"


class Found(NamedTuple):
    """LiteLLM's Redis. `url` is `None` where there is none, or where it has no URL form; a note then says so."""

    url: str | None
    notes: tuple[str, ...] = ()


def find_redis(document: Mapping[str, object], environment: Mapping[str, str]) -> Found:
    """Searches the places where LiteLLM looks, in its order. `environment` has the variables by name."""
    from_environment = dict(_of_environment(environment))
    notes: list[str] = []
    for where, section in _sections(document):
        unset = [str(value) for value in section.values() if isinstance(value, str) and value.startswith(ENV_PREFIX)]
        own = {name: value for name, value in section.items() if value is not None and str(value) not in unset}
        names_a_target = any(name in own for name in _TARGETS[1:])
        filled = {k: v for k, v in from_environment.items() if k != "url" or not names_a_target}
        options = {**filled, **own}
        if any(options.get(name) for name in _TARGETS):
            return _found(where, options)
        if unset:
            notes.append(f"{where}: {', '.join(unset)} is not set here, so LiteLLM's Redis is not known; {_HINT}")
    if not notes and any(from_environment.get(name) for name in _TARGETS):
        return _found("the variables REDIS_…", from_environment)
    return Found(None, tuple(notes[:1]))


def _found(where: str, options: Options) -> Found:
    try:
        url = url_of(options)
    except ValueError as error:
        return Found(None, (f"{where}: {error}, which the plugin does not understand of LiteLLM's Redis; {_HINT}",))
    dropped = [name for name in options if name.startswith("ssl_") and name not in _SSL]
    note = f"{where}: {', '.join(dropped)} of LiteLLM's Redis is not carried over; {_HINT.partition(',')[0]}"
    return Found(url, (note,) if dropped else ())


def url_of(options: Options) -> str:
    """LiteLLM's connection options as a URL for `redis.link`. Raises ValueError for an option without a URL form."""
    for name in _IDENTITY:
        if options.get(name) and not _is_off(options[name]):
            raise ValueError(f"{name}: a login by a cloud's identity")
    tls = "rediss" if _is_on(options.get("ssl")) else "redis"
    query = {name: _text(options[name]) for name in _SSL if tls == "rediss" and options.get(name) is not None}
    nodes, sentinels = _nodes(options, "startup_nodes"), _nodes(options, "sentinel_nodes")
    if nodes:
        url = f"{tls}+cluster://{_login(options)}{nodes}"
    elif options.get("url"):
        return _checked(str(options["url"]), "url")
    elif sentinels:
        if not options.get("service_name"):
            raise ValueError("sentinel_nodes without service_name")
        service = quote(str(options["service_name"]), safe="")
        url = f"{tls}+sentinel://{_login(options)}{sentinels}/{service}/{_db(options)}"
        query |= {name: str(options[name]) for name in ("sentinel_password",) if options.get(name)}
    elif options.get("unix_socket_path"):
        url = f"unix://{_login(options)}{options['unix_socket_path']}"
        query = {"db": str(_db(options))}
    else:
        url = f"{tls}://{_login(options)}{_host(options['host'])}:{_port(options.get('port'))}/{_db(options)}"
    return _checked(f"{url}?{urlencode(query)}" if query else url, "host, port or options")


def _checked(url: str, what: str) -> str:
    if not is_usable(url):
        raise ValueError(f"{what}: no address of a Redis")
    return url


def _sections(document: Mapping[str, object]) -> Iterator[tuple[str, Options]]:
    coordination = _section(_section(document, "general_settings"), "coordination_redis")
    if coordination:
        yield "general_settings.coordination_redis", coordination
    settings = _section(document, "litellm_settings")
    cache = _section(settings, "cache_params")
    if _is_on(settings.get("cache")) and cache.get("type", "redis") == "redis":
        yield "litellm_settings.cache_params", cache
    router = _section(document, "router_settings")
    own = {name.removeprefix("redis_"): value for name, value in router.items() if name.startswith("redis_")}
    if own:
        yield "router_settings.redis_…", {**_section(router, "cache_kwargs"), **own}


def _of_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, object]]:
    for name in (*_PLAIN, *_SSL, *_IDENTITY, "sentinel_password"):
        if environment.get(f"REDIS_{name.upper()}"):
            yield name, environment[f"REDIS_{name.upper()}"]
    for name, variable in _NODES.items():
        if environment.get(variable):
            yield name, environment[variable]


def _nodes(options: Options, name: str) -> str:
    """`host:port,host:port`; empty where there are none."""
    given = options.get(name)
    if not given:
        return ""
    try:
        nodes: Any = json.loads(given) if isinstance(given, str) else given
        pairs = [(one["host"], one["port"]) if isinstance(one, Mapping) else (one[0], one[1]) for one in nodes]
    except (ValueError, TypeError, KeyError, IndexError):
        raise ValueError(f"{name}: no list of hosts and ports") from None
    return ",".join(f"{_host(host)}:{_port(port)}" for host, port in pairs)


def _login(options: Options) -> str:
    user, password = options.get("username"), options.get("password")
    if not user and not password:
        return ""
    return f"{quote(str(user or ''), safe='')}:{quote(str(password or ''), safe='')}@"


def _host(host: object) -> str:
    text = str(host)
    return f"[{text}]" if ":" in text and not text.startswith("[") else text


def _port(port: object) -> int:
    try:
        return int(str(6379 if port in (None, "") else port))
    except ValueError:
        raise ValueError("port: no number") from None


def _db(options: Options) -> int:
    return _port(options.get("db") or "0")


def _is_on(value: object) -> bool:
    return value.strip().lower() in ("true", "1", "yes") if isinstance(value, str) else bool(value)


def _is_off(value: object) -> bool:
    return isinstance(value, str) and value.strip().lower() in ("false", "0", "no")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _section(fields: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = fields.get(name)
    return found if isinstance(found, Mapping) else {}
