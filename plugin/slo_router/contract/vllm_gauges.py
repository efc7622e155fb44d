"""The load that a vLLM server reports in its gauges of requests and of the KV cache. Pure.

The plugin and the agent use the same function. No value of a page is trusted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

GAUGES = ("vllm:num_requests_running", "vllm:num_requests_waiting")
CACHE_GAUGES = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")  # 0..1; the latter before vLLM 0.10
MOST_REQUESTS = 1e6  # more than any server has
MOST_LINES = 1_000  # read of one gauge; it has one line per engine


class Load(NamedTuple):
    """A server's running and waiting requests, and the fullest KV cache (0..1) of its engines, `None` if unreported."""

    requests: float
    cache_usage: float | None = None


def load_of(page: bytes) -> Load | None:
    """The load in a page in Prometheus' text format; `None` without a gauge of requests, or with an absurd sum.

    Only the gauges' lines are parsed, for a page has a thousand others. Raises ValueError for a malformed line.
    """
    page = b"\n" + page + b"\n"
    lines = b"".join(line for name in (*GAUGES, *CACHE_GAUGES) for line in _lines_of(name, page))
    families = text_string_to_metric_families(lines.decode("utf-8", "replace"))
    samples = [sample for family in families for sample in family.samples]
    values = [sample.value for sample in samples if sample.name in GAUGES]
    total = sum(values)
    if not values or not 0 <= total <= MOST_REQUESTS:
        return None
    usages = [sample.value for sample in samples if sample.name in CACHE_GAUGES and 0 <= sample.value <= 1]
    return Load(total, max(usages, default=None))


def _lines_of(name: str, page: bytes) -> Iterator[bytes]:
    """The lines that begin with `name`. `page` begins and ends with a line end."""
    start = f"\n{name}".encode()
    at = page.find(start)
    for _ in range(MOST_LINES):
        if at < 0:
            return
        end = page.index(b"\n", at + 1) + 1
        yield page[at + 1 : end]
        at = page.find(start, end - 1)
