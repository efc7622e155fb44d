"""The graded answers of one deployment in one category, as a short list of batches that `update` adds to.

Old batches are joined, so that the list stays short and recent batches stay small: a change for the worse is looked for
between batches. A new model version drops what was known of the old one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

Cell = tuple[str, str]  # deployment, category

MOST_BATCHES = 16  # of a source


class Batch(NamedTuple):
    """Answers graded at about the same time: how many, and the sum of their scores (0..1 each)."""

    source: str
    answers: float
    score: float
    at_s: float


class Evidence(NamedTuple):
    """Batches, oldest first, of one version of the model. `version` is `None` where nobody names it."""

    batches: tuple[Batch, ...] = ()
    version: str | None = None


def update(evidence: Evidence, batch: Batch, version: str | None = None) -> Evidence:
    """The evidence with one more batch. Raises ValueError where its scores do not lie between 0 and its answers."""
    if not 0 <= batch.score <= batch.answers:
        raise ValueError(f"score: {batch.score}, expected 0 to {batch.answers}, the number of answers")
    if not batch.answers:
        return evidence
    kept = evidence.batches if version in (None, evidence.version) or evidence.version is None else ()
    others = [one for one in kept if one.source != batch.source]
    same = _joined(sorted([*(one for one in kept if one.source == batch.source), batch], key=_when))
    return Evidence(tuple(sorted([*others, *same], key=_when)), version or evidence.version)


def _joined(batches: Sequence[Batch]) -> Sequence[Batch]:
    """At most `MOST_BATCHES`. The two neighbours that are smallest, relative to all newer answers, become one."""
    if len(batches) <= MOST_BATCHES:
        return batches
    newer, best, at = 0.0, float("inf"), 0
    for i in range(len(batches) - 1, 0, -1):
        size = (batches[i].answers + batches[i - 1].answers) / (newer + 1)
        if size < best:
            best, at = size, i
        newer += batches[i].answers
    one, two = batches[at - 1], batches[at]
    answers = one.answers + two.answers
    at_s = (one.at_s * one.answers + two.at_s * two.answers) / answers
    return [*batches[: at - 1], Batch(one.source, answers, one.score + two.score, at_s), *batches[at + 1 :]]


def _when(batch: Batch) -> float:
    return batch.at_s
