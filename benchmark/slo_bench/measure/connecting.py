"""Whether a connection to a deployment can be made, and if not, why."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

_UNREACHED = (  # the special before the general
    (aiohttp.ClientConnectorCertificateError, "its certificate is not trusted"),
    (aiohttp.ClientConnectorSSLError, "no TLS connection could be made"),
    (aiohttp.ClientConnectorDNSError, "its host name is unknown"),
    (aiohttp.ClientConnectorError, "no connection could be made"),
    (ValueError, "its address, key or headers cannot be sent over HTTP"),
)
REACH_S = 2.0  # a listening server takes a connection in milliseconds, across a network in some hundred


def why_unreached(error: Exception) -> str | None:
    """Why no connection was made, without the address; `None` where one was made."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the HTTP proxy on the way answered {error.status}"
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionRefusedError):
        return "the connection was refused"
    return next((why for kind, why in _UNREACHED if isinstance(error, kind)), None)


async def is_reachable(url: str) -> bool:
    """Whether a server takes connections at the address. Through an HTTP proxy that is unknown, and counts as true."""
    parts = urlsplit(url)
    if getproxies().get(parts.scheme) and not proxy_bypass(parts.netloc):
        return True
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(REACH_S):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port or _default_port(parts.scheme))
            writer.close()
            return True
    return False


def _default_port(scheme: str) -> int:
    return 443 if scheme == "https" else 80
