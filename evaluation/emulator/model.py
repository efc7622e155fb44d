"""One call of an emulated model: the answer is composed at once, and sent at the engine's pace."""

import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from itertools import count
from typing import TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from evaluation.shared.traffic import FORBIDDEN

from .answers import Answer, Ask, compose, embedding, token_count
from .bodies import EmbeddingsBody
from .connection import Connection
from .dialects import Dialect, Json
from .engine import Engine, Run
from .faults import Fault
from .prefix_cache import PrefixCache
from .record import Seen
from .spec import EndpointSpec

BodyT = TypeVar("BodyT", bound=BaseModel)

_STRIDE = 16  # tokens per wait of a whole answer: fewer timers, the same time
_COMMENT, _NOISE = b": keep-alive\n\n", b": keep-alive\n\n\n\n"


class RefusedError(Exception):
    """A request that gets an error in OpenAI's form."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        kind: str = "invalid_request_error",
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = None if retry_after_s is None else {"retry-after": str(retry_after_s)}
        self.body: Json = {"error": {"message": message, "type": kind, "param": None, "code": code}}


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the model."""

    body: object  # parsed JSON
    fault: Fault
    seen: Seen
    connection: Connection

    @property
    def slowdown(self) -> float:
        """The factor by which the fault multiplies the latencies."""
        return self.fault.factor if self.fault.fault == "slow" else 1.0

    @property
    def cut_at(self) -> int | None:
        """The chunk before which the fault closes the connection."""
        return self.fault.after_chunks if self.fault.fault == "cut" else None

    @property
    def noise(self) -> list[bytes]:
        """What the fault sends between the pieces of content."""
        return [_NOISE] if self.fault.fault == "noise" else []


class Model:
    """What an endpoint serves."""

    def __init__(self, spec: EndpointSpec) -> None:
        self.spec = spec
        self.engine = Engine(spec)
        self._cache = PrefixCache(spec.cache_tokens)
        self._ids = count(1)

    async def text(self, dialect: Dialect, call: Call) -> Response:
        """The response to a text route. Raises RefusedError."""
        ask = validated(dialect.body, call.body).ask()
        if FORBIDDEN in ask.prompt:
            raise RefusedError(400, "The prompt is against our content policy.", code="content_policy_violation")
        answer = compose(
            ask,
            self.spec,
            answer_id=f"{self.spec.name}-{next(self._ids)}",
            created=int(time.time()),
            room=self._room(ask.prompt_tokens),
        )
        if self.spec.cache_tokens:
            answer = replace(answer, cached_tokens=self._cache.take(ask.prompt))
        if call.fault.fault == "leak":
            answer = replace(answer, pieces=(*answer.pieces[:-1], f"{answer.pieces[-1]}<|im_end|>"))
        call.seen.prompt_tokens, call.seen.completion_tokens = ask.prompt_tokens, answer.tokens
        if ask.stream:
            return StreamingResponse(self._events(dialect, ask, answer, call), media_type="text/event-stream")
        return await self._whole(dialect, answer, call)

    async def embed(self, call: Call) -> Response:
        """The response to the embeddings route. Raises RefusedError."""
        asked = validated(EmbeddingsBody, call.body).input
        texts = [asked] if isinstance(asked, str) else asked
        tokens = token_count("".join(texts))
        self._room(tokens)
        async with self.engine.admit(tokens, slowdown=call.slowdown) as run:
            await run.prefill()
        call.seen.prompt_tokens = tokens
        call.seen.complete()
        data = [{"object": "embedding", "index": i, "embedding": embedding(text)} for i, text in enumerate(texts)]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return json_response({"object": "list", "model": self.spec.name, "data": data, "usage": usage})

    def _room(self, prompt_tokens: int) -> int:
        """How many tokens still fit into the context: at least one."""
        limit = self.spec.context_tokens
        if prompt_tokens >= limit:
            message = (
                f"This model's maximum context length is {limit} tokens, but the prompt has {prompt_tokens} tokens."
            )
            raise RefusedError(400, message, code="context_length_exceeded")
        return limit - prompt_tokens

    def _admit(self, answer: Answer, call: Call) -> AbstractAsyncContextManager[Run]:
        return self.engine.admit(answer.prompt_tokens, cached_tokens=answer.cached_tokens or 0, slowdown=call.slowdown)

    async def _whole(self, dialect: Dialect, answer: Answer, call: Call) -> Response:
        tokens = answer.tokens
        async with self._admit(answer, call) as run:
            await _first_token(run, answer, call)
            while run.generated < tokens:
                await run.more_tokens(min(_STRIDE, tokens - run.generated))
        if call.cut_at is not None:
            return CutResponse(orjson.dumps(dialect.whole(answer)), media_type="application/json")
        if call.fault.is_stall("headers", "opening", "comments", "middle"):
            body = orjson.dumps(dialect.whole(answer))
            return StreamingResponse(_haltingly(body, call), media_type="application/json")
        call.seen.complete()
        return json_response(dialect.whole(answer))

    async def _events(self, dialect: Dialect, ask: Ask, answer: Answer, call: Call) -> AsyncIterator[bytes]:
        opening: list[bytes] = dialect.opening(answer)
        is_early = self.spec.opens_early or call.fault.is_stall("opening", "token")
        early, late = (opening, []) if is_early else ([], opening)
        async for event in _begun(dialect.accepted(answer) + early + call.noise, call.fault):
            yield event
        async with self._admit(answer, call) as run:
            await _first_token(run, answer, call)
            call.seen.content_s = time.time()
            for event in late:
                yield event
            for index in range(len(answer.pieces)):
                if index > 0:
                    await run.more_tokens(min(self.spec.tokens_per_chunk, answer.tokens - run.generated))
                await _disturbed(index, call)
                if call.fault.fault == "end" and index == call.fault.after_chunks:
                    return
                for event in [dialect.piece(answer, index), *call.noise]:
                    yield event
                call.seen.pieces += 1
        if call.cut_at is not None:
            await call.connection.hang_up()
        for event in dialect.closing(answer, ask):
            yield event
        call.seen.complete()


async def _begun(events: list[bytes], fault: Fault) -> AsyncIterator[bytes]:
    """The events before the first token, with the fault's silence before or after them."""
    if fault.is_stall("headers"):
        await fault.silence()
    if fault.is_stall("comments"):
        async for comment in fault.comments(_COMMENT):
            yield comment
    for event in events:
        yield event
    if fault.is_stall("opening"):
        await fault.silence()


async def _first_token(run: Run, answer: Answer, call: Call) -> None:
    """Return when the first token that the client sees is ready."""
    if call.fault.is_stall("token"):
        await call.fault.silence()
    await run.first_token()
    if answer.hidden_tokens:
        await run.more_tokens(answer.hidden_tokens)


async def _disturbed(index: int, call: Call) -> None:
    """What a fault does before a piece of a stream: it closes the connection, or it is silent."""
    if index == call.cut_at:
        await call.connection.hang_up()
    if index == call.fault.after_chunks and call.fault.is_stall("middle"):
        await call.fault.silence()


async def _haltingly(body: bytes, call: Call) -> AsyncIterator[bytes]:
    """A whole answer that is silent for a while after its headers or after half of its body."""
    half = len(body) // 2 if call.fault.is_stall("middle") else 0
    if half:
        yield body[:half]
    if call.fault.is_stall("comments"):
        async for blank in call.fault.comments(b"\n"):
            yield blank
    else:
        await call.fault.silence()
    yield body[half:]
    call.seen.complete()


class CutResponse(Response):
    """A response that sends half of its body and then closes the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send it."""
        connection: Connection = scope["state"]["connection"]
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body[: len(self.body) // 2], "more_body": True})
        await connection.hang_up()


def json_response(content: Json, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON response."""
    return Response(orjson.dumps(content), status, headers, media_type="application/json")


def validated(model: type[BodyT], body: object) -> BodyT:
    """`body` as a model. Raises RefusedError that names the wrong field."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"]) or "body"
        raise RefusedError(400, f"{where}: {first['msg']}", code="invalid_value") from None
