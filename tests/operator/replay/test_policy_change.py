"""Values of the old YAML are replaced by the new YAML's. A request's own and measured values stay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from slo_router.contract.model import Facts, Metrics, Slo
from slo_router.contract.settings.config import Settings, load_settings
from slo_router.contract.settings.group import GroupSettings
from slo_router.operator.replay.policy_change import PolicyChange, default_slo
from slo_router.operator.replay.redecision import Foreseen
from slo_router.quality.judging import Graded, judge
from tests.shared.builders import NOW_S, decided, measured
from tests.shared.record_builders import LARGE, SMALL, decide_between, read_back, write_config

OTHER = Facts("other", "openai/other", 8_000, None, 3e-6, 3e-6, quality={"default": 0.85})


def yaml(tmp_path: Path, group: dict[str, object] | None = None, *facts: Facts) -> Settings:
    return load_settings(write_config(tmp_path / "c.yaml", {"groups": {"smart": group or {}}}, *facts))


def slo_after(change: PolicyChange, slo: Slo) -> Slo:
    record = read_back(decide_between(slo=slo))
    side = change.group(record)
    assert side is not None
    assert record.decision is not None
    return change.demand(record, record.decision, side).slo


def candidates_after(change: PolicyChange, *, quality: float | None = None) -> dict[str, Foreseen]:
    snapshot = measured(small=Metrics(NOW_S, 0.1, quality_score=quality, quality_n=None if quality is None else 50))
    record = read_back(decided([SMALL, LARGE], snapshot=snapshot, is_judged=True))
    side = change.group(record)
    assert side is not None
    assert record.decision is not None
    return {one.facts.deployment_id: one for one in change.candidates(record, record.decision, side)}


def test_a_groups_default_is_replaced_field_by_field(tmp_path: Path) -> None:
    old = yaml(tmp_path, {"slo": {"ttft_ms": 150, "cost_per_1k": 0.02}, "min_quality": 0.6})
    new = yaml(tmp_path, {"slo": {"ttft_ms": 250, "e2e_ms": 4_000}, "min_quality": {"default": 0.6, "ner": 0.8}})
    change = PolicyChange(old, new)
    assert slo_after(change, Slo(0.15, None, None, 0.02, 0.6)) == Slo(0.25, None, 4.0, None, 0.8)
    assert slo_after(change, Slo(0.2, None, None, 0.02, 0.9)) == Slo(0.2, None, 4.0, None, 0.9)  # its own 200 ms


def test_the_default_depends_on_the_category() -> None:
    group = GroupSettings.model_validate({"slo": {"ttft_ms": 150}, "min_quality": {"default": 0.6, "ner": 0.8}})
    assert default_slo(group, "ner") == Slo(0.15, None, None, None, 0.8)
    assert default_slo(group, "chat").min_quality == 0.6


def test_a_configured_quality_is_replaced_and_a_measured_one_stays(tmp_path: Path) -> None:
    better = replace(SMALL, quality={"default": 0.75})
    change = PolicyChange(yaml(tmp_path), yaml(tmp_path, None, better, LARGE))
    typed = candidates_after(change)["small"].prediction
    assert (typed.quality, typed.quality_bound) == (0.75, 0.75)
    graded = candidates_after(change, quality=0.66)["small"].prediction
    assert graded.quality == pytest.approx((50 * 0.66 + 20 * SMALL.quality["default"]) / 70, abs=1e-3)
    assert graded.quality is not None
    assert graded.quality_bound is not None
    assert graded.quality_bound < graded.quality


def test_a_mean_of_graded_answers_that_equals_the_typed_number_stays(tmp_path: Path) -> None:
    """The bound shows that the number is not from the YAML."""
    better = replace(SMALL, quality={"default": 0.95})
    change = PolicyChange(yaml(tmp_path), yaml(tmp_path, None, better, LARGE))
    graded = candidates_after(change, quality=SMALL.quality["default"])["small"].prediction
    assert graded.quality == pytest.approx(0.7)
    assert graded.quality_bound is not None
    assert graded.quality_bound < 0.7


def test_a_deployment_that_records_lack_has_the_quality_that_is_believed_of_it_now(tmp_path: Path) -> None:
    graded = Graded({"other": {"ner": Metrics(NOW_S, quality_score=0.6, quality_n=500)}})
    judged = judge([SMALL, LARGE, OTHER], graded, NOW_S)
    found = candidates_after(PolicyChange(yaml(tmp_path), yaml(tmp_path, None, SMALL, LARGE, OTHER), judged))
    belief, prediction = judged["other"]["ner"], found["other"].prediction
    assert (prediction.quality, prediction.quality_bound) == (belief.mean, belief.bound)
    assert prediction.quality_answers == {"suite": pytest.approx(500)}
    assert belief.bound < 0.62


def test_prices_are_the_new_ones(tmp_path: Path) -> None:
    """1,000 prompt and 500 output tokens at 2e-6 and 4e-6: 0.004, and 0.002667 per 1,000."""
    dearer = replace(SMALL, input_usd_per_token=2e-6, output_usd_per_token=4e-6)
    found = candidates_after(PolicyChange(yaml(tmp_path), yaml(tmp_path, None, dearer, LARGE)))
    assert found["small"].prediction.cost_usd == pytest.approx(0.004)
    assert found["small"].prediction.cost_per_1k_usd == pytest.approx(0.0026667, rel=1e-4)
    assert found["small"].prediction.ttft_s == 0.1


def test_a_deployment_only_the_new_yaml_has_is_an_unmeasured_candidate(tmp_path: Path) -> None:
    found = candidates_after(PolicyChange(yaml(tmp_path), yaml(tmp_path, None, SMALL, LARGE, OTHER)))
    assert set(found) == {"small", "large", "other"}
    prediction = found["other"].prediction
    assert (prediction.basis, prediction.ttft_s, prediction.quality) == ("none", None, 0.85)
    assert prediction.cost_usd == pytest.approx(0.0045)


def test_one_that_left_is_no_candidate_and_one_that_was_away_stays_away(tmp_path: Path) -> None:
    change = PolicyChange(yaml(tmp_path, None, SMALL, LARGE, OTHER), yaml(tmp_path, None, LARGE, OTHER))
    assert set(candidates_after(change)) == {"large"}  # `other` was not in the pool of this request


def test_a_group_that_the_new_yaml_does_not_manage_has_no_side(tmp_path: Path) -> None:
    change = PolicyChange(yaml(tmp_path), yaml(tmp_path))
    assert change.group(read_back(model_group="else")) is None
    assert change.group(read_back(model_group=None)) is None


def test_what_records_cannot_tell_is_said(tmp_path: Path) -> None:
    old = yaml(tmp_path)
    assert PolicyChange(old, yaml(tmp_path, {"tie_band": 0.1})).cannot_follow() == []
    notes = PolicyChange(
        old, yaml(tmp_path, {"confidence": 0.95, "categories": {"legal": ["contract"]}})
    ).cannot_follow()
    assert [note.split(";")[0] for note in notes] == ["smart: confidence changed", "smart: categories changed"]
