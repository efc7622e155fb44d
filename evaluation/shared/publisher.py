"""Publishes one cell's metrics again and again until it is killed. Tests use it to see what a kill leaves behind.

    python -m evaluation.shared.publisher REDIS_URL

In run k every latency is k ms and the timestamp is k. Odd runs have fields that even runs lack. So any two fields show
a mix of two runs. It prints a line once the first run is written.
"""

from __future__ import annotations

import asyncio
import itertools
import sys

from slo_bench.load.plan import Cell
from slo_bench.measure.stream import Sample
from slo_bench.measure.targets import Target
from slo_bench.run.publish import publish
from slo_bench.summary.results import CellResult
from slo_bench.summary.stats import summarize
from slo_router.contract.model import Facts
from slo_router.contract.redis.link import connect

FACTS = Facts("small", "openai/small", input_usd_per_token=1e-6, output_usd_per_token=1e-6)


def run_result(number: int) -> CellResult:
    """The result of run `number`."""
    ttft_s = number / 1e3
    tokens = (100, 5) if number % 2 else (None, None)
    sample = Sample(ttft_s, 5 * ttft_s, *tokens)
    cell = Cell(FACTS, Target("small", "small", ""), "ner", ())
    return CellResult(cell, summarize([sample], 1.0), float(number))


async def main(url: str) -> None:
    """Never returns."""
    link = connect(url)
    for number in itertools.count(1):
        await publish(link, "", run_result(number))
        if number == 1:
            print("published", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
