"""The HTTP interface of one emulated endpoint: OpenAI's and Anthropic's routes, vLLM's metrics, a switch for faults.

Calls of the model's routes are recorded and meet the faults. `/v1/models`, `/metrics`, `/health` and `/control` always
work.
"""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from math import ceil

import orjson
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router

from .answers import mark_of
from .connection import Connection, forever
from .dialects import ChatCompletions, Completions, Messages, Responses
from .engine import render
from .faults import Fault, FaultSwitch
from .model import Call, Model, RefusedError, json_response, validated
from .record import Record, Seen
from .spec import Allowance, EndpointSpec

RATE_LIMITED, RATE_CODE, RATE_KIND = "Rate limit reached. Try again later.", "rate_limit_exceeded", "rate_limit_error"


class Endpoint:
    """One emulated model server; `app` is its ASGI application, and needs ConnectionProtocol under it."""

    def __init__(self, spec: EndpointSpec) -> None:
        self.spec = spec
        self.model = Model(spec)
        self.faults = FaultSwitch(Fault(fault=spec.fault))
        self.allowance = Allowance(spec)
        self.record = Record()
        dialects = (ChatCompletions(), Completions(), Messages(), Responses())
        chat, completions, messages, responses = (partial(self.model.text, dialect) for dialect in dialects)
        self.app = Router(
            [
                Route("/v1/chat/completions", self._to_model(chat), methods=["POST"]),
                Route("/v1/completions", self._to_model(completions), methods=["POST"]),
                Route("/v1/messages", self._to_model(messages), methods=["POST"]),
                Route("/v1/responses", self._to_model(responses), methods=["POST"]),
                Route("/v1/embeddings", self._to_model(self.model.embed), methods=["POST"]),
                Route("/v1/models", self._models),
                Route("/metrics", self._metrics),
                Route("/health", self._health),
                Route("/control", self._control, methods=["GET", "POST", "DELETE"]),
            ]
        )

    def reset(self) -> None:
        """Clears the faults and the recorded requests."""
        self.faults.set(Fault())
        self.record.clear()

    def _to_model(self, answer: Callable[[Call], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            connection: Connection = request.state.connection
            raw = await request.body()
            body = _parsed(raw)
            fault = self.faults.take(reused=connection.requests > 1)
            seen = connection.seen = self.record.note(_seen(request, body, fault))
            seen.mark = mark_of(raw.decode(errors="replace"))
            try:
                await _fail(fault, connection)
                self._limit()
                response = await answer(Call(body, fault, seen, connection))
            except RefusedError as error:
                response = json_response(error.body, error.status, error.headers)
            if self.spec.says_left:
                response.headers.update(self.allowance.headers())
            seen.status, seen.headers_s = response.status_code, time.time()
            return response

        return handle

    def _limit(self) -> None:
        wait_s = self.allowance.wait_s()
        if wait_s is not None:
            after_s = ceil(wait_s) if self.spec.says_when else None
            raise RefusedError(429, RATE_LIMITED, code=RATE_CODE, kind=RATE_KIND, retry_after_s=after_s)

    async def _models(self, _: Request) -> Response:
        entry = {"id": self.spec.name, "object": "model", "owned_by": "emulated", "created": 0}
        entry["max_model_len"] = self.spec.context_tokens  # vLLM's field
        return json_response({"object": "list", "data": [entry]})

    async def _metrics(self, _: Request) -> Response:
        return PlainTextResponse(render(self.model.engine), media_type="text/plain; version=0.0.4")

    async def _health(self, _: Request) -> Response:
        return Response()  # 200 and no body, as vLLM

    async def _control(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.reset()
        elif request.method == "POST":
            try:
                said = _parsed(await request.body())
                self.faults.set(*(validated(Fault, one) for one in (said if isinstance(said, list) else [said])))
            except RefusedError as error:
                return json_response(error.body, error.status)
        engine = self.model.engine
        load = {"running": engine.running, "waiting": engine.waiting}
        fault = self.faults.fault.model_dump()
        return json_response({"model": self.spec.name, "fault": fault, **load, **self.record.as_json()})


async def _fail(fault: Fault, connection: Connection) -> None:
    """Do what the fault does before an answer or instead of one."""
    match fault.fault:
        case "stall" if fault.place == "connection":
            await fault.silence()
        case "hang":
            await forever()
        case "drop":
            await connection.hang_up()
        case "error500":
            raise RefusedError(500, "The emulated server failed.", code="internal_error", kind="server_error")
        case "error429":
            after_s = fault.retry_after_s
            raise RefusedError(429, RATE_LIMITED, code=RATE_CODE, kind=RATE_KIND, retry_after_s=after_s)
        case "status":
            message = fault.message or f"Emulated status {fault.status}."
            raise RefusedError(fault.status, message, code="emulated", kind="server_error")
        case _:
            return


def _parsed(raw: bytes) -> object:
    """The JSON of a body; `None` if the body is not JSON. No schema accepts `None`."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None


def _seen(request: Request, body: object, fault: Fault) -> Seen:
    fields: dict[str, object] = body if isinstance(body, dict) else {}
    return Seen(
        path=request.url.path,
        stream=fields.get("stream") is True if fields else None,
        headers={name: value for name, value in request.headers.items() if name.startswith("x-")},
        body_keys=tuple(sorted(fields)),
        fault=fault.fault,
    )
