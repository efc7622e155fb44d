"""`POST /slo-router/feedback`, a route of the proxy's own application: a key rates one of its requests.

    {"request_id": "chatcmpl-8f3a", "score": 0.8}      or "thumbs": "up" or "down" in place of the score

LiteLLM checks the key as for a chat, so each key that may chat may rate. On a route that LiteLLM does not know, its
checks would let in only an administrator's key.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.routing import APIRoute
from litellm.proxy import proxy_server
from litellm.proxy._types import UserAPIKeyAuth
from litellm.proxy.auth.user_api_key_auth import user_api_key_auth

from slo_router.errors import FeedbackError
from slo_router.worker.learning.rating import DOWN, UP, Rated, Rating

PATH = "/slo-router/feedback"
_CHAT = "/v1/chat/completions"
_THUMBS = {"up": UP, "down": DOWN}

Rate = Callable[[Rating], Awaitable[Rated]]


class _AsAChat(APIRoute):
    """A route for which LiteLLM's check of the key sees the path of a chat."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            return await handle(Request({**request.scope, "path": _CHAT}, request.receive))

        return handled


def offer(rate: Rate) -> None:
    """Adds the route to the proxy."""
    router = APIRouter(route_class=_AsAChat)

    @router.post(PATH, tags=["slo-router"])
    async def feedback(
        request: Request, key: Annotated[UserAPIKeyAuth, Depends(user_api_key_auth)]
    ) -> dict[str, object]:
        """Rates an answer: `request_id`, and a `score` of 0 to 1 or `thumbs`, up or down."""
        try:
            rated = await rate(read_rating(await request.body(), key.api_key))
        except FeedbackError as error:
            raise HTTPException(error.status, {"error": str(error)}) from error
        return {"request_id": rated.request_id, "deployment": rated.deployment, "category": rated.category}

    proxy_server.app.include_router(router)


def read_rating(body: bytes, key_hash: str | None) -> Rating:
    """The rating that a client sent. Raises FeedbackError."""
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    if not isinstance(said, dict) or not said.keys() <= {"request_id", "score", "thumbs"}:
        raise FeedbackError(400, "expected a JSON object with request_id, and score or thumbs")
    request_id, score, thumbs = said.get("request_id"), said.get("score"), said.get("thumbs")
    if not isinstance(request_id, str):
        raise FeedbackError(400, f"request_id: {request_id!r:.80}, expected the `id` of a response")
    if (score is None) == (thumbs is None):
        raise FeedbackError(400, "expected either score or thumbs")
    if score is None:
        score = _THUMBS.get(thumbs) if isinstance(thumbs, str) else None
        if score is None:
            raise FeedbackError(400, f"thumbs: {thumbs!r:.80}, expected up or down")
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise FeedbackError(400, f"score: {score!r:.80}, expected 0 to 1")
    return Rating(request_id, score, key_hash)
