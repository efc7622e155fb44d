"""Lets in only visitors with access, and tells browsers that the page may load only its own files."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slo_router.operator.page.access import SESSION_S, Access

COOKIE = "slo_router_page"
PUBLIC = frozenset(
    {
        *("/login", "/style.css", "/page.js", "/icon.svg", "/healthz"),
        *("/api/plugin-manifest", "/api/plugin-auth"),  # LiteLLM's
    }
)


class Guard:
    """Middleware around all routes. It checks access and adds the security headers."""

    def __init__(self, app: ASGIApp, access: Access, ask_to_log_in: Callable[[Request], Response]) -> None:
        self._app, self._access, self._ask_to_log_in = app, access, ask_to_log_in
        frame = access.litellm_origin or "'none'"
        headers = {
            "content-security-policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
            f"frame-ancestors {frame}",
            "x-content-type-options": "nosniff",
            "referrer-policy": "same-origin",
            "cache-control": "no-store",
        }
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one ASGI call."""
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *self._headers]}
            await send(message)

        app = self._app
        if scope["path"] not in PUBLIC and not self._may_look(HTTPConnection(scope)):
            app = self._ask_to_log_in(Request(scope))
        await app(scope, receive, send_guarded)

    def _may_look(self, connection: HTTPConnection) -> bool:
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._access.has_token(token.strip()):
            return True
        return self._access.is_session(connection.cookies.get(COOKIE, ""), time.time())


def let_in(access: Access, request: Request, answer: Response) -> Response:
    """The answer with a session cookie."""
    return _with_cookie(access, request, answer, access.session(time.time()), SESSION_S)


def let_out(access: Access, request: Request, answer: Response) -> Response:
    """The answer that ends the session in this browser."""
    return _with_cookie(access, request, answer, "", 0)


def _with_cookie(access: Access, request: Request, answer: Response, value: str, lasts_s: int) -> Response:
    is_https = request.url.scheme == "https"
    in_frame = is_https and access.litellm_origin is not None
    site = "None; Partitioned" if in_frame else "Lax"  # a frame on another site gets its own cookie
    cookie = f"{COOKIE}={value}; Path=/; Max-Age={lasts_s}; HttpOnly; SameSite={site}"
    answer.headers["set-cookie"] = cookie + ("; Secure" if is_https else "")
    return answer


async def read_body(request: Request, most: int) -> bytes:
    """The request's body. Raises HTTPException 413 for more than `most` bytes."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise HTTPException(413, f"expected at most {most:,} bytes")
    return body
