"""Whether requests kept their group's configured SLO.

    attainment    requests that met every latency limit ÷ all requests without an excuse; an error is a miss
    goodput       requests that met every latency limit ÷ wall time of the cell

An answer of one token meets any limit on TPOT. If a latency has a limit but was not measured (no usage, so no TPOT),
the attainment is unknown. Cost and quality are limits on a deployment, not on a request, so they are not judged here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from slo_bench.measure.stream import Sample
from slo_router.contract.intervals import Interval, wilson
from slo_router.contract.model import Slo


class Attainment(NamedTuple):
    """`met` requests of `requests` > 0."""

    met: int
    requests: int

    @property
    def share(self) -> float:
        """The attainment, 0..1."""
        return self.met / self.requests

    @property
    def interval(self) -> Interval:
        """The 95 % interval of the share."""
        return wilson(self.met, self.requests)


def attainment(samples: Iterable[Sample], slo: Slo) -> Attainment | None:
    """The attainment of a cell; `None` without requests, without a latency limit, or if one can't be judged."""
    if slo.ttft_s is slo.tpot_s is slo.e2e_s is None:
        return None
    verdicts = [meets(sample, slo) for sample in samples]
    if not verdicts or None in verdicts:
        return None
    return Attainment(sum(verdict is True for verdict in verdicts), len(verdicts))


def meets(sample: Sample, slo: Slo) -> bool | None:
    """Whether one request kept every latency limit, `None` where that cannot be told."""
    if sample.error is not None:
        return False
    one_token = sample.shown_tokens is not None and sample.shown_tokens < 2
    measured = [
        (sample.ttft_s, slo.ttft_s),
        (0.0 if one_token else sample.tpot_s, slo.tpot_s),
        (sample.e2e_s, slo.e2e_s),
    ]
    limited = [(value_s, limit_s) for value_s, limit_s in measured if limit_s is not None]
    if any(value_s is not None and value_s > limit_s for value_s, limit_s in limited):
        return False
    return None if any(value_s is None for value_s, _ in limited) else True
