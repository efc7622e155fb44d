"""Batches add up, stay few, and end with the model version to which they belong."""

from __future__ import annotations

import pytest

from slo_router.quality.evidence import MOST_BATCHES, Batch, Evidence, update
from slo_router.quality.sources import FEEDBACK, SUITE


def test_however_many_batches_come_few_are_kept_and_no_answer_is_lost() -> None:
    """Recent batches stay separate: the last batch is still one batch."""
    evidence = Evidence()
    for day in range(500):
        evidence = update(evidence, Batch(SUITE, 10, 8, day))
        evidence = update(evidence, Batch(FEEDBACK, 3, 1, day))
    suite = [one for one in evidence.batches if one.source == SUITE]
    assert len(suite) == MOST_BATCHES
    assert (sum(one.answers for one in suite), sum(one.score for one in suite)) == (5_000, 4_000)
    assert suite[-1] == Batch(SUITE, 10, 8, 499)
    assert [one.at_s for one in evidence.batches] == sorted(one.at_s for one in evidence.batches)


def test_a_new_version_drops_what_was_known_of_the_old_one() -> None:
    old = update(Evidence(), Batch(SUITE, 10, 8, 0), "v1")
    assert update(old, Batch(SUITE, 5, 5, 1), "v2") == Evidence((Batch(SUITE, 5, 5, 1),), "v2")
    assert len(update(old, Batch(SUITE, 5, 5, 1), "v1").batches) == 2
    assert update(old, Batch(SUITE, 5, 5, 1)).version == "v1"


def test_scores_beyond_their_answers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"score: 6, expected 0 to 5"):
        update(Evidence(), Batch(SUITE, 5, 6, 0))
