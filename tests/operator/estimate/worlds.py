"""A little traffic that `large` answered, and the candidates to compare it with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from slo_router.contract.model import Facts
from slo_router.contract.settings.group import GroupSettings
from slo_router.operator.estimate.candidates import Candidate, Pool
from slo_router.operator.estimate.evidence import Evidence, Measured
from slo_router.operator.estimate.outcomes import Outcomes
from slo_router.operator.estimate.reading.rows import Row
from slo_router.operator.estimate.totals import Totals
from slo_router.operator.estimate.what_if import WhatIf

LARGE = Facts("large", "openai/large", 128_000, None, 5e-6, 10e-6, 0.5e-6)
SMALL = Facts("small", "openai/small", 128_000, None, 1e-6, 2e-6)
DAY_S = 86_400.0


def row(number: int = 0, **changes: object) -> Row:
    """A row of 1,000 prompt and 100 answer tokens: 0.006 USD at `large`, 0.0012 USD at `small`."""
    plain = Row(
        number * 3_600.0, "served", "big", "large", "openai/large", "app", "chat", f"s{number}", 1_000, 100, 0, 0.006
    )
    return plain._replace(**changes)  # type: ignore[arg-type]


def totals_of(rows: Iterable[Row]) -> Totals:
    totals = Totals()
    for one in rows:
        totals.add(one)
    return totals


def pool_of(*candidates: Facts, groups: Mapping[str, GroupSettings] | None = None, served: Facts = LARGE) -> Pool:
    known = {one.deployment_id: one for one in (served, *candidates)}
    return Pool(tuple(Candidate(one) for one in candidates), known, groups or {}, {})


def what_if_of(
    totals: Totals,
    pool: Pool,
    *,
    measured: Measured | None = None,
    outcomes: Outcomes | None = None,
    keep: float = 0.95,
) -> WhatIf:
    evidence = Evidence(pool.groups, measured or {}, outcomes, keep, 0.9)
    return WhatIf(totals.strata(), totals.models, pool, evidence, outcomes)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
