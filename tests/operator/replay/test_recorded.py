"""A written record is read back whole, and the decision's own values are rebuilt from it."""

from __future__ import annotations

import json

import msgspec
import pytest
from msgspec.structs import replace

from slo_router.contract.model import Slo
from slo_router.contract.record import RequestRecord, SloRecord
from slo_router.operator.replay.recorded import (
    AskedSlo,
    Recorded,
    as_written_by,
    decode,
    features_of,
    prediction_of,
    slo_of,
)
from tests.shared.record_builders import decide_between, line_of, read_back, record_of

DECISION = decide_between(slo=Slo(ttft_s=0.15, cost_per_1k_usd=0.5, min_quality=0.6))


def test_every_field_that_is_read_is_one_that_is_written() -> None:
    assert set(Recorded.__struct_fields__) <= set(RequestRecord.model_fields)
    assert set(AskedSlo.__struct_fields__) == set(SloRecord.model_fields)


def test_the_values_are_those_of_the_record() -> None:
    written, read = record_of(DECISION), read_back(DECISION)
    for name in Recorded.__struct_fields__:
        if name not in ("decision", "slo"):
            assert getattr(read, name) == getattr(written, name), name


def test_features_slo_and_predictions_are_rebuilt() -> None:
    read = read_back(DECISION)
    assert read.decision is not None
    assert slo_of(read) == DECISION.slo
    assert features_of(read, read.decision) == DECISION.features._replace(stream=True)
    rebuilt = {one.deployment: prediction_of(one.predicted) for one in read.decision.candidates}
    assert rebuilt.keys() == {one.deployment_id for one in DECISION.assessments}
    for one in DECISION.assessments:
        assert rebuilt[one.deployment_id][:15] == pytest.approx(one.prediction[:15])  # the numbers
        assert rebuilt[one.deployment_id].quality_answers == one.prediction.quality_answers
    assert [one.standing for one in read.decision.candidates] == [
        one.standing.name.lower() for one in DECISION.assessments
    ]


def test_unknown_fields_of_later_versions_are_left_alone() -> None:
    later = json.loads(line_of()) | {"new": {"deep": [1]}}
    assert decode(json.dumps(later)).request_id == "chatcmpl-1"


@pytest.mark.parametrize(
    "changes",
    [
        {"ts": "yesterday"},
        {"ts": -1},
        {"cost_usd": -0.1},
        {"cost_usd": 1e300},
        {"prompt_tokens": 1.5},
        {"outcome": "fine"},
        {"decision": {"candidates": []}},
        {"slo": None},
    ],
)
def test_a_line_whose_values_cannot_be_true_is_no_record(changes: dict[str, object]) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(json.dumps(json.loads(line_of()) | changes))


@pytest.mark.parametrize(
    ("written", "limit", "choices", "elsewhere"),
    [
        (100, None, 1, 300),  # `large` is expected to write three times as much
        (100, 200, 1, 200),  # no more than the client allows
        (100, 1_000, 2, 300),
        (40, 40, 1, 40),  # the answer was cut, and would be cut there too
        (None, None, 1, None),
    ],
)
def test_another_model_would_have_written_as_much_more_as_was_expected_of_it(
    written: int | None, limit: int | None, choices: int, elsewhere: int | None
) -> None:
    record = written_for({"small": 100.0, "large": 300.0}, written, limit, choices)
    assert as_written_by(record, "large").completion_tokens == elsewhere
    assert as_written_by(record, "small").completion_tokens == written
    assert as_written_by(record, "unheard of").completion_tokens == written


def test_a_cut_answer_would_have_become_longer_and_one_of_a_terse_model_shorter() -> None:
    record = written_for({"small": 100.0, "large": 30.0}, 200, 200, 1)
    assert as_written_by(record, "large").completion_tokens == 90  # (200 + 100) × 0.3
    older = written_for({"small": None, "large": None}, 200, 200, 1)
    assert as_written_by(older, "large").completion_tokens == 200


def written_for(tokens: dict[str, float | None], written: int | None, limit: int | None, choices: int) -> Recorded:
    """The record of a request that `small` answered, with each deployment's expected tokens."""
    record = read_back(completion_tokens=written)
    assert record.decision is not None
    candidates = tuple(
        replace(one, predicted=replace(one.predicted, answer_tokens=tokens[one.deployment]))
        for one in record.decision.candidates
    )
    decision = replace(record.decision, candidates=candidates, limit_tokens=limit, choices=choices)
    return replace(record, decision=decision, deployment="small")
