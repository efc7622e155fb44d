"""Receives OpenTelemetry spans over OTLP/HTTP, as a collector does, and keeps their attributes.

with SpanCollector() as collector, StockProxy(document, directory, environment=collector.environment):
    ...
    spans = collector.wait_for(1, {"url.path": "/v1/messages"})
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Attributes = dict[str, object]


class SpanCollector:
    """Listens on a loopback port while it is entered."""

    def __init__(self) -> None:
        self._spans: list[Attributes] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self._spans))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def environment(self) -> dict[str, str]:
        """The environment that makes LiteLLM's `otel` callback send its spans here."""
        url = f"http://127.0.0.1:{self._server.server_port}"
        return {"OTEL_EXPORTER": "otlp_http", "OTEL_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "100"}  # milliseconds

    def wait_for(self, count: int, attributes: Mapping[str, object], within_s: float = 60.0) -> list[Attributes]:
        """The spans with these attributes, once there are `count` or the time is up."""
        deadline_s = time.monotonic() + within_s
        while len(found := self._with(attributes)) < count and time.monotonic() < deadline_s:
            time.sleep(0.05)
        return found

    def _with(self, attributes: Mapping[str, object]) -> list[Attributes]:
        return [dict(span) for span in list(self._spans) if attributes.items() <= span.items()]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(spans: list[Attributes]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path.endswith("/traces"):
                request = ExportTraceServiceRequest.FromString(body)
                spans.extend(_read(span) for one in request.resource_spans for s in one.scope_spans for span in s.spans)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Logs nothing."""

    return Handler


def _read(span: Span) -> Attributes:
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value") for one in span.attributes}
