"""Pairs of deployments that compete for the same requests, one paid by the GPU hour and one by the token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from slo_bench.summary.cost import BreakEven, break_even
from slo_bench.summary.results import CellResult


class Rivals(NamedTuple):
    """Two deployments of one group in one category, one paid by the GPU hour, one by the token."""

    gpu: CellResult
    priced: CellResult
    at: BreakEven


def rivals(results: Sequence[CellResult]) -> list[Rivals]:
    """Every pair of rivals whose break-even is known."""
    found = []
    for gpu in results:
        for priced in results:
            if (gpu.cell.group, gpu.cell.category) == (priced.cell.group, priced.cell.category):
                at = break_even(gpu.cell.facts, gpu.stats, priced.cell.facts, priced.stats, gpu.cell.utilization)
                if at is not None:
                    found.append(Rivals(gpu, priced, at))
    return found
