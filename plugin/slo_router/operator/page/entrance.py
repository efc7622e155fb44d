"""The routes for logging in: the login form, and the two routes that LiteLLM asks of a plugin."""

from __future__ import annotations

import json
import time

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from slo_router.operator.page.access import Access
from slo_router.operator.page.guard import let_in, let_out, read_body
from slo_router.operator.page.rendering import PAGES, Templates, read_form

MOST_BODY = 10_000  # bytes, from visitors without a session
CHALLENGE = {"WWW-Authenticate": "Bearer"}


class Entrance:
    """Routes that need no session."""

    def __init__(self, access: Access, templates: Templates) -> None:
        self._access, self._templates = access, templates

    async def login(self, request: Request) -> Response:
        """Shows the login form, or exchanges the token for a session."""
        if request.method != "POST":
            return self._ask(status=200)
        given = (await read_form(request, MOST_BODY)).get("token", "")
        if self._access.has_token(given.strip()):
            return let_in(self._access, request, RedirectResponse("./", 303))
        return self._ask("That is not the token.")

    def logout(self, request: Request) -> Response:
        """Ends the session in this browser."""
        return let_out(self._access, request, RedirectResponse("login", 303))

    def manifest(self, _: Request) -> Response:
        """The plugin's manifest, as LiteLLM's documentation asks for it."""
        items = [{"key": path or "now", "label": label, "path": f"/{path}"} for path, label in PAGES]
        name = self._access.plugin_name
        return JSONResponse({"name": name, "display_name": "SLO router", "version": "1", "nav_items": items})

    async def plugin_auth(self, request: Request) -> Response:
        """Exchanges LiteLLM's claim for a session."""
        try:
            body = json.loads(await read_body(request, MOST_BODY))
        except ValueError:
            body = None
        claim = body.get("session_claim") if isinstance(body, dict) else None
        if not isinstance(claim, str) or not self._access.has_claim(claim, time.time()):
            return JSONResponse({"error": "not an administrator's claim for this page, or older than 30 s"}, 401)
        return let_in(self._access, request, JSONResponse({"ok": True}))

    def ask_to_log_in(self, request: Request) -> Response:
        """The answer to a visitor without a session: the login form, or HTTP 401."""
        if "text/html" in request.headers.get("accept", ""):
            return self._ask()
        return PlainTextResponse("expected a session cookie or Authorization: Bearer TOKEN\n", 401, CHALLENGE)

    def _ask(self, wrong: str = "", status: int = 401) -> Response:
        origin = self._access.litellm_origin or ""
        answer = self._templates.show("login.html.j2", status, wrong=wrong, litellm_origin=origin)
        answer.headers.update(CHALLENGE)
        return answer
