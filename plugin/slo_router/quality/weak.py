"""Weak signals: nobody said that an answer was bad, but what followed makes it likely. They only lower a quality.

An answer without a signal says nothing of itself: a valid JSON answer may be wrong, and a user who does not ask again
may have left. So it is no success. It only counts among the answers of which the signals are a share. Up to a fifth of
the signals may be wrong, so at least 0.8 of that share was bad:

    most   = 1 − 0.8 × signals ÷ answers              the quality is hardly higher
    weight = 0.02 × answers, at most `prior_answers`  what all signals weigh, in graded answers
    drop   = weight ÷ (weight + what else is known, in graded answers) × (mean − most), at least 0

Mean and bound drop alike. They never rise, and no number of signals makes a quality more certain. So a bound promises
with them what it promises without them: no cell reaches a floor that it did not reach before.
"""

from __future__ import annotations

from collections.abc import Sequence

from slo_router.quality.evidence import Batch
from slo_router.quality.posterior import UNTYPED, Belief, Rules, faded
from slo_router.quality.sources import IMPLICIT

WEIGHT = 0.02  # of an answer that was looked at, against a graded one: a tenth of a rating's
WRONG = 0.2  # of the signals, at most


def lowered(belief: Belief, seen: Sequence[Batch], now_s: float, rules: Rules) -> Belief:
    """The belief, lowered by these signals. A batch's score counts its answers without a signal."""
    answers, score = faded(seen, now_s, rules).get(IMPLICIT, (0.0, 0.0))
    if not answers:
        return belief
    weight = min(WEIGHT * answers, rules.prior_answers)
    known = belief.answers + (sum(UNTYPED) if belief.typed is None else rules.prior_answers)
    most = 1 - (1 - WRONG) * (answers - score) / answers
    drop = weight / (weight + known) * max(belief.mean - most, 0.0)
    return belief._replace(
        mean=belief.mean - drop,
        bound=max(belief.bound - drop, 0.0),
        sources={**belief.sources, IMPLICIT: weight},
        at_s=max(belief.at_s or 0.0, seen[-1].at_s),
    )


def is_weak(batch: Batch) -> bool:
    """Whether it counts signals, and no graded answers."""
    return batch.source == IMPLICIT
