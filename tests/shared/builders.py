"""Values of the core with every field filled in. A test changes only the fields that it is about."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from slo_router.contract.model import (
    Assessment,
    Decision,
    Facts,
    Features,
    Metrics,
    Prediction,
    Slo,
    Snapshot,
    Standing,
)
from slo_router.contract.settings.group import GroupSettings
from slo_router.decision.decide import Policy, decide
from slo_router.decision.foresight import Ask
from slo_router.decision.groups import rules_of
from slo_router.decision.prediction import Rng, View
from slo_router.latency.evidence import Prior
from slo_router.live.live import Live
from slo_router.live.picture import Export, export, hear
from slo_router.live.state import LiveState
from slo_router.quality.judging import Graded, judge
from slo_router.worker.sharing import read_export
from slo_router.worker.snapshot import make_snapshot
from slo_router.worker.tasks.turns import at_once

NOW_S = 1_800_000_000.0  # Unix seconds
REQUEST = Features("ner", "client", prompt_tokens=1_000, output_tokens=500, reserved_tokens=500)
NOTHING_KNOWN = Prediction(None, None, None, None, None, None, None, "none", None, None)


def wire(published: object) -> Export:
    """What the other workers read of an export, which is given as values or as the worker's bytes."""
    text = published.decode() if isinstance(published, bytes) else json.dumps(published)
    export = read_export(text)
    assert export is not None
    return export


def told_by(live: Live, now_s: float = NOW_S) -> Export:
    """What the other workers read of this worker's live measurements."""
    return wire(msgspec.json.encode(dict(export(live, now_s))))


def absorb(live: Live, others: Iterable[Export], priors: Mapping[str, Prior], now_s: float) -> None:
    """Takes in the other workers' exports and fits the curves, without pauses."""
    at_once(hear(live, others, priors, now_s))
    at_once(live.refit(priors, now_s))


def assessed(
    name: str, prediction: Prediction = NOTHING_KNOWN, standing: Standing = Standing.MEETS, headroom: float | None = 0.5
) -> Assessment:
    """A candidate as `scoring.assess` leaves it."""
    return Assessment(name, prediction, standing, headroom)


def measured(**metrics: Metrics) -> Snapshot:
    """A snapshot with measurements of each deployment in the category `ner`."""
    return make_snapshot({name: {"ner": row} for name, row in metrics.items()}, NOW_S)


def view(snapshot: Snapshot | None = None, live: Mapping[str, LiveState] = {}, seed: int = 0) -> View:
    """The world at NOW_S."""
    return View(snapshot or Snapshot(), NOW_S, random.Random(seed), live)


def decided(
    candidates: Sequence[Facts],
    *,
    slo: Slo = Slo(),  # noqa: B008  # immutable
    snapshot: Snapshot | None = None,
    features: Features = REQUEST,
    group: GroupSettings | None = None,
    tried: frozenset[str] = frozenset(),
    cost_ceiling_per_1k_usd: float | None = None,
    rng: Rng | None = None,
    is_judged: bool = False,
    worth_usd: float | None = None,
) -> Decision:
    """`routing.decide` at NOW_S; `is_judged`: graded answers count, as they do in a worker."""
    ask = Ask(features, slo, tried, cost_ceiling_per_1k_usd, worth_usd=worth_usd)
    seen, settings = view(snapshot), group or GroupSettings()
    if rng is not None:
        seen = seen._replace(rng=rng)
    if is_judged:
        judged = judge(candidates, Graded(seen.snapshot.measured), NOW_S, rules_of(settings))
        seen = seen._replace(judged=judged)
    return decide(ask, candidates, seen, Policy(settings, "cafe0123"))
