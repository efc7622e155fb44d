"""How long one record is looked for among 100,000 in Redis.

    python -m evaluation.overhead.explain_speed

The records are those of `evaluation.overhead.report_speed`, written by the plugin's own log to a real Valkey. The
newest, the middle and the oldest are found by the index, then without it, as records of an earlier version are; then
the whole command runs in a process of its own, imports included. Lowest and highest of the repeats are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from evaluation.overhead.report_speed import MODEL_LIST, kinds
from evaluation.shared.proxy_config import document
from evaluation.overhead.report_speed import CONFIG, kinds
from evaluation.shared.valkey_server import ValkeyServer
from slo_router.contract.keys import REQUESTS_STREAM, request_index_key
from slo_router.contract.redis.link import BlockingClient, connect, connect_blocking
from slo_router.contract.settings.config import LogSettings
from slo_router.operator.reporting.lookup import find_in_stream
from slo_router.worker.request_log import RequestLog

RECORDS = 100_000
PAGE = 1_000
REPEATS = 5
BAR_S = 1.0


async def fill(url: str, records: int) -> float:
    """Writes them, and returns the seconds of processor time that it took."""
    made = list(kinds(time.time()))
    log = RequestLog(LogSettings(), "")
    began_s = time.process_time()
    async with connect(url) as client:
        for number in range(records):
            log.offer(made[number % len(made)].model_copy(update={"request_id": name(number)}))
            if number % PAGE == PAGE - 1:
                await log.flush(client)
        await log.flush(client)
    return time.process_time() - began_s


def name(number: int) -> str:
    """A request id as long as LiteLLM's."""
    return f"chatcmpl-{number:032x}"


def spread(call: Callable[[], object]) -> str:
    """Lowest and highest of some repeats, in milliseconds."""
    took_ms = []
    for _ in range(REPEATS):
        began_s = time.perf_counter()
        call()
        took_ms.append((time.perf_counter() - began_s) * 1_000)
    return f"{min(took_ms):,.0f} to {max(took_ms):,.0f} ms"


def look(client: BlockingClient, records: int, title: str) -> None:
    """Prints how long the newest, the middle and the oldest record take."""
    for which, number in (("newest", records - 1), ("middle", records // 2), ("oldest", 0)):
        request_id = name(number)
        if find_in_stream(client, REQUESTS_STREAM, request_id) is None:
            raise LookupError(request_id)
        print(f"{title}, {which:7} {spread(partial(find_in_stream, client, REQUESTS_STREAM, request_id))}")


def main() -> None:
    """Fills a Valkey and prints what a search takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS)
    records = parser.parse_args().records
    with tempfile.TemporaryDirectory() as folder, ValkeyServer(Path(folder), options={"appendonly": "no"}) as server:
        processor_s = asyncio.run(fill(server.url, records))
        config = Path(folder) / "config.yaml"
        config.write_text(json.dumps(document(MODEL_LIST, {"smart": {}}, redis_url=server.url)))
        program = "from slo_router.operator.cli import app; app()"
        command = [sys.executable, "-c", program, "explain", name(0), "--config", str(config), "--json"]
        with connect_blocking(server.url) as client:
            index = request_index_key(REQUESTS_STREAM)
            sizes = [int(client.memory_usage(key, samples=0)) for key in (REQUESTS_STREAM, index)]
            print(f"{records:,} records: {sizes[0] / 1e6:.0f} MB, their index {sizes[1] / 1e6:.1f} MB;", end=" ")
            print(f"writing one took {processor_s / records * 1e6:.0f} µs of the writer")
            look(client, records, "by the index")
            whole = spread(lambda: subprocess.run(command, check=True, capture_output=True))
            print(f"the whole command, oldest {whole} (aimed for {BAR_S * 1_000:,.0f} ms)")
            client.delete(index)
            look(client, records, "without it")


if __name__ == "__main__":
    main()
