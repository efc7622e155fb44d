"""Emulated model servers for the demo, the tests and the studies: OpenAI's routes, vLLM's metrics, faults on demand.

They are real in everything a client can see: HTTP/1.1 with kept-alive connections, server-sent events, a FIFO queue in
front of a limited batch, latencies that grow with prompt and load. They are emulated in that no model writes the text.

    with running_endpoints([EndpointSpec(name="small"), EndpointSpec(name="large", tpot_ms=12)]) as (small, large):
        ...  # small.api_base, small.control("error500", times=1), small.seen()
"""

from .faults import Fault, FaultKind
from .record import Seen
from .server import Handle, endpoint_process, running_endpoints
from .spec import EndpointSpec, instant, read_specs

__all__ = [
    "EndpointSpec",
    "Fault",
    "FaultKind",
    "Handle",
    "Seen",
    "endpoint_process",
    "instant",
    "read_specs",
    "running_endpoints",
]
