"""Gaps are found by asking the router where a typical request of each category would go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from slo_router.contract.model import Facts, Metrics, Snapshot
from slo_router.contract.settings.config import Settings, load_settings
from slo_router.operator.reporting.gaps import Gap, find_gaps
from slo_router.worker.snapshot import make_snapshot
from tests.shared.builders import NOW_S
from tests.shared.record_builders import LARGE, SMALL, write_config

DAY_S = 86_400.0


def yaml(tmp_path: Path, group: dict[str, object] | None = None, *facts: Facts) -> Settings:
    return load_settings(write_config(tmp_path / "c.yaml", {"groups": {"smart": group or {}}}, *facts))


def seen(ttft_s: float = 0.1, age_s: float = 60.0, cost_per_1k_usd: float | None = None) -> Snapshot:
    row = Metrics(NOW_S - age_s, ttft_s, tpot_s=0.01, cost_per_1k_usd=cost_per_1k_usd)
    return make_snapshot({name: {"ner": row} for name in ("small", "large")}, NOW_S)


def test_nothing_is_missing_where_all_is_measured_and_the_slo_can_be_kept(tmp_path: Path) -> None:
    settings = yaml(tmp_path, {"slo": {"ttft_ms": 150}, "min_quality": 0.8})
    assert find_gaps(settings, seen(), NOW_S) == []


def test_a_deployment_says_what_is_not_known_of_it(tmp_path: Path) -> None:
    bare = Facts("bare", "openai/bare", context_tokens=8_000)
    settings = yaml(tmp_path, {"min_quality": 0.6}, bare, replace(LARGE, context_tokens=None))
    gaps = [(gap.where, gap.what.partition(":")[0]) for gap in find_gaps(settings, Snapshot(), NOW_S)]
    assert gaps == [
        ("bare", "never measured"),
        ("bare", "no price"),
        ("bare", "no quality, and the group asks for one"),
        ("large", "never measured"),
        ("large", "no context window"),
    ]


def test_old_measurements_and_gpu_hours_without_throughput_are_named(tmp_path: Path) -> None:
    settings = yaml(tmp_path, None, replace(SMALL, gpu_usd_per_hour=2.0), LARGE)
    gaps = find_gaps(settings, seen(age_s=9 * DAY_S), NOW_S)
    assert [(gap.where, gap.what.split(" (")[0]) for gap in gaps] == [
        ("small", "last measured 9 days ago"),
        ("small", "gpu_usd_per_hour counts only once its throughput was measured"),
        ("large", "last measured 9 days ago"),
    ]
    assert find_gaps(settings, seen(cost_per_1k_usd=0.01), NOW_S) == []


FAULTY = (
    "its answers for ner are faulty, looping 9/10: it gets no more for 7.0 days, or until slo-bench run finds it sound"
)


def test_faulty_answers_are_named_by_category(tmp_path: Path) -> None:
    row = Metrics(NOW_S, 0.1, tpot_s=0.01)
    marked = {"ner": row._replace(answer_fault="looping 9/10"), "chat": row}
    snapshot = make_snapshot({"small": marked, "large": {"ner": row, "chat": row}}, NOW_S)
    (gap,) = find_gaps(yaml(tmp_path), snapshot, NOW_S)
    assert gap == ("small", FAULTY)


def test_a_quality_that_the_regression_gate_holds_is_named(tmp_path: Path) -> None:
    held = Metrics(NOW_S, 0.1, tpot_s=0.01, quality_held=True)
    snapshot = make_snapshot({"small": {"ner": held}, "large": {"ner": held._replace(quality_held=False)}}, NOW_S)
    (gap,) = find_gaps(yaml(tmp_path), snapshot, NOW_S)
    assert (gap.where, gap.what.partition(":")[0]) == ("small", "its quality dropped in ner")


def test_an_slo_that_nothing_keeps_is_named_with_what_would_do(tmp_path: Path) -> None:
    """100 ms were measured, 60 ms are asked for."""
    (gap,) = find_gaps(yaml(tmp_path, {"slo": {"ttft_ms": 60}}), seen(), NOW_S)
    assert gap.where == "smart"
    assert gap.what.startswith("its SLO is not expected to be kept for ner, summarization, reasoning, code, chat: ")
    assert gap.what.endswith("no candidate meets ttft_ms; best quality of 2; +40 ms on ttft_ms would")


def test_a_quality_that_nothing_reaches_is_named_for_its_category(tmp_path: Path) -> None:
    settings = yaml(tmp_path, {"min_quality": {"default": 0.8, "code": 0.99}})
    assert find_gaps(settings, seen(), NOW_S) == [
        Gap(
            "smart",
            "its SLO is not expected to be kept for code: no candidate passes quality; this one is nearest",
        )
    ]
