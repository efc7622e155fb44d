"""A replay's figures, worked out by hand: the requests that move, costs, SLO and quality, and what is not known."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as replace_fields

from slo_router.contract.model import Facts, Features, Metrics, Slo
from slo_router.contract.settings.config import Settings, load_settings
from slo_router.operator.replay.counterfactual import Counterfactual
from slo_router.operator.replay.policy_change import PolicyChange
from slo_router.operator.replay.recorded import Recorded
from slo_router.operator.replay.redecision import Draws
from slo_router.operator.replay.replay import Replay
from slo_router.operator.replay.replay_outcome import ENOUGH, Outcome, outcome_of
from tests.shared.builders import NOW_S, decided, measured
from tests.shared.record_builders import LARGE, SMALL, decide_between, read_back, write_config

OTHER = Facts("other", "openai/other", 8_000, None, 0.5e-6, 0.5e-6, quality={"default": 0.85})
TO_SMALL, TO_LARGE = decide_between(), decide_between(slo=Slo(min_quality=0.8))


def yaml(tmp_path: Path, group: dict[str, object] | None = None, *facts: Facts) -> Settings:
    return load_settings(
        write_config(tmp_path / "c.yaml", {"groups": {"smart": {"trial_share": 0.0, **(group or {})}}}, *facts)
    )


def replayed(old: Settings, new: Settings, records: Iterable[Recorded]) -> Replay:
    before, after = (Counterfactual([one.facts for one in settings.deployments]) for settings in (old, new))
    replay = Replay(PolicyChange(old, new), before, after, Draws(0))
    for record in records:
        replay.add(record)
    return replay


def as_live(record: Recorded, samples: int) -> Recorded:
    """The same record, with predictions from live samples."""
    assert record.decision is not None
    candidates = tuple(
        replace_fields(one, predicted=replace_fields(one.predicted, basis="live", samples=samples))
        for one in record.decision.candidates
    )
    return replace_fields(record, decision=replace_fields(record.decision, candidates=candidates))


def came_to(replay: Replay) -> Outcome:
    return outcome_of(replay)


def test_the_same_policy_changes_nothing(tmp_path: Path) -> None:
    records = [read_back(TO_SMALL, slo_met=False), read_back(TO_LARGE, cost_usd=0.005)]
    same = yaml(tmp_path)
    outcome = came_to(replayed(same, same, records))
    assert (outcome.counts.replayed, outcome.counts.moved, outcome.counts.drawn) == (2, 0, 0)
    assert outcome.shares == {"small": (0.5, 0.5), "large": (0.5, 0.5)}
    assert outcome.cost.new_usd == outcome.cost.recorded_usd == pytest.approx(0.0055)
    assert outcome.quality == pytest.approx((0.8, 0.8))


def test_a_floor_on_quality_moves_the_small_ones_at_the_large_ones_price(tmp_path: Path) -> None:
    """Each of 4 cost 0.0005, and costs 0.005 on `large`. The one that was there already stays at 0.0048."""
    records = [read_back(TO_SMALL)] * 4 + [read_back(TO_LARGE, cost_usd=0.0048)]
    outcome = came_to(replayed(yaml(tmp_path), yaml(tmp_path, {"min_quality": 0.8}), records))
    assert (outcome.counts.moved, outcome.counts.met) == (4, 5)
    assert outcome.shares == {"small": (0.8, 0.0), "large": (0.2, 1.0)}
    assert outcome.cost.recorded_usd == pytest.approx(0.0068)
    assert outcome.cost.new_usd == pytest.approx(0.0248)
    assert outcome.cost.change == pytest.approx(0.0248 / 0.0068 - 1)
    assert outcome.quality == pytest.approx((0.74, 0.9))


def test_a_target_for_quality_moves_as_many_as_it_needs(tmp_path: Path) -> None:
    """95 % of 0.9 is 0.855. So a share of 0.775 of the requests at 0.7 goes to `large`; the first thirty all do."""
    group: dict[str, object] = {"objective": "value", "target": {"quality_of_best": 0.95}}
    outcome = came_to(replayed(yaml(tmp_path), yaml(tmp_path, group), [read_back(TO_SMALL)] * 1_000))
    assert outcome.shares["large"] == (0.0, pytest.approx(0.03 + 0.97 * 0.775, abs=0.05))
    assert outcome.quality == pytest.approx((0.7, 0.856), abs=0.01)


def test_a_target_in_usd_a_day_is_not_replayed_and_says_so(tmp_path: Path) -> None:
    group: dict[str, object] = {"objective": "value", "target": {"usd_per_day": 4}}
    new = yaml(tmp_path, group)
    assert came_to(replayed(yaml(tmp_path), new, [read_back(TO_SMALL)] * 9)).counts.moved == 0
    assert any("USD a day" in note for note in PolicyChange(yaml(tmp_path), new).cannot_follow())


def test_one_that_moves_to_a_model_of_longer_answers_costs_a_longer_answer(tmp_path: Path) -> None:
    """100 answer tokens on `small` are 400 on `large`: 300 at 10 and 400 at 20 USD a million, above 15 for 1,000."""
    record = read_back(decide_between(slo=Slo(cost_per_1k_usd=0.015)))
    assert record.decision is not None
    tokens = {"small": 50.0, "large": 200.0}
    candidates = tuple(
        replace_fields(one, predicted=replace_fields(one.predicted, answer_tokens=tokens[one.deployment]))
        for one in record.decision.candidates
    )
    verbose = replace_fields(record, decision=replace_fields(record.decision, candidates=candidates))
    outcome = came_to(replayed(yaml(tmp_path), yaml(tmp_path, {"min_quality": 0.8}), [verbose]))
    assert outcome.cost.new_usd == pytest.approx(300 * 10e-6 + 400 * 20e-6)
    assert (outcome.attainment.share, outcome.attainment.judged) == (0.0, 1)


def test_those_that_move_are_judged_as_such_requests_were(tmp_path: Path) -> None:
    """`large` kept a TTFT of 300 ms for 15 of 20; 20 more move there, and 15 of them are expected to keep it."""
    limit = Slo(ttft_s=0.3)
    there = decide_between(slo=limit._replace(min_quality=0.8))
    here = decide_between(slo=limit)
    records = [read_back(there, ttft_ms=200.0 if number < 15 else 400.0) for number in range(20)]
    records += [read_back(here, ttft_ms=100.0)] * 20
    outcome = came_to(replayed(yaml(tmp_path), yaml(tmp_path, {"min_quality": 0.8}), records))
    kept = outcome.attainment
    assert (kept.share, kept.judged, kept.untold) == (0.75, 40, 0)
    # √(0.75 · 0.25 / 40 + 400 · (16/22 · 6/22) / 20 / 1,600) · 1.96 = 0.1659
    assert kept.interval == pytest.approx((0.75 - 0.1659, 0.75 + 0.1659), abs=1e-3)


def test_what_was_seen_under_one_limit_tells_of_another(tmp_path: Path) -> None:
    """`large` took 400 ms, too long for its requests with a limit of 300. Requests that move there have 500."""
    there = decide_between(slo=Slo(ttft_s=0.3, min_quality=0.8))
    records = [read_back(there, ttft_ms=400.0)] * 20 + [read_back(decide_between(slo=Slo(ttft_s=0.5)))] * 20
    kept = came_to(replayed(yaml(tmp_path), yaml(tmp_path, {"min_quality": 0.8}), records)).attainment
    assert (kept.share, kept.judged, kept.untold) == (0.5, 40, 0)


def test_those_that_move_beyond_their_cost_limit_are_known_to_break_it(tmp_path: Path) -> None:
    """400 tokens at 0.005 USD on `large` are 0.0125 per 1,000, whatever was predicted."""
    limit = Slo(cost_per_1k_usd=0.012)
    records = [read_back(decide_between(slo=limit))] * 3
    stays = came_to(replayed(yaml(tmp_path), yaml(tmp_path), records)).attainment
    assert (stays.share, stays.judged) == (1.0, 3)
    moved = replayed(yaml(tmp_path), yaml(tmp_path, {"min_quality": 0.8}), records)
    assert (came_to(moved).attainment.share, came_to(moved).attainment.untold) == (0.0, 0)


def test_where_too_few_were_seen_the_log_cannot_tell(tmp_path: Path) -> None:
    records = [read_back(TO_LARGE)] * (ENOUGH - 1) + [read_back(TO_SMALL)] * 7
    kept = came_to(replayed(yaml(tmp_path), yaml(tmp_path, {"min_quality": 0.8}), records)).attainment
    assert (kept.share, kept.judged, kept.untold) == (1.0, 19, 7)
    nobody = came_to(replayed(yaml(tmp_path), yaml(tmp_path, {"min_quality": 0.8}), [read_back(TO_SMALL)])).attainment
    assert (nobody.share, nobody.interval, nobody.untold) == (None, None, 1)


@pytest.mark.parametrize(
    ("limit_ms", "samples", "close"),
    [
        (120, 9, 1),  # SMALL is expected to take 100: ln 1.2 = 0.18 < 1/√9
        (120, 100, 0),  # > 1/√100
        (95, 9, 1),  # it misses its limit by little, and is the cheaper one
        (210, 9, 0),  # LARGE takes 200, but would not be picked anyway
        (300, 9, 0),
    ],
)
def test_picks_that_hang_on_few_samples_near_a_limit_are_counted(
    tmp_path: Path, limit_ms: int, samples: int, close: int
) -> None:
    record = read_back(decide_between(slo=Slo(ttft_s=limit_ms / 1_000)))
    same = yaml(tmp_path)
    assert replayed(same, same, [as_live(record, samples)]).counts.close == close
    assert replayed(same, same, [record]).counts.close == 0  # measured by the benchmark


@pytest.mark.parametrize(("quality", "samples", "close"), [(0.49, 9, 1), (0.49, 400, 0), (0.7, 9, 0)])
def test_picks_that_hang_on_few_samples_and_near_scores_are_counted(
    tmp_path: Path, quality: float, samples: int, close: int
) -> None:
    """Scores: 0.41 + 0.1 for SMALL, faster and cheaper, and 0.49: nearer than 0.1/√9, further apart than 0.1/√400."""
    weights = {"quality": quality, "cost": 0.9 - quality, "latency": 0.1}
    new = yaml(tmp_path, {"objective": "weighted", "weights": weights})
    live = as_live(read_back(decide_between()), samples)
    assert replayed(yaml(tmp_path), new, [live]).counts.close == close


def test_a_deployment_nothing_was_measured_of_is_counted(tmp_path: Path) -> None:
    new = yaml(tmp_path, None, SMALL, LARGE, OTHER)
    outcome = came_to(replayed(yaml(tmp_path), new, [read_back(TO_SMALL)]))
    assert (outcome.shares["other"], outcome.counts.never_measured, outcome.attainment.untold) == ((0.0, 1.0), 1, 1)
    assert outcome.cost.new_usd == pytest.approx(0.0002)  # 400 tokens at 0.5e-6


def test_a_new_price_counts_for_those_that_stay(tmp_path: Path) -> None:
    cheaper = replace(SMALL, input_usd_per_token=0.5e-6, output_usd_per_token=1e-6)
    outcome = came_to(replayed(yaml(tmp_path), yaml(tmp_path, None, cheaper, LARGE), [read_back(TO_SMALL)]))
    assert (outcome.cost.recorded_usd, outcome.cost.new_usd) == pytest.approx((0.0005, 0.00025))


def test_a_looser_slo_is_judged_by_what_was_measured(tmp_path: Path) -> None:
    old, new = yaml(tmp_path, {"slo": {"ttft_ms": 120}}), yaml(tmp_path, {"slo": {"ttft_ms": 200}})
    record = read_back(decide_between(slo=Slo(ttft_s=0.12)))  # 150 ms were measured
    assert record.slo_met is False
    outcome = came_to(replayed(old, new, [record]))
    assert (outcome.attained_before, outcome.attainment.share) == (0.0, 1.0)


def test_what_cannot_be_replayed_is_counted(tmp_path: Path) -> None:
    here = yaml(tmp_path)
    records = [
        replace_fields(read_back(), decision=None),
        read_back(model_group="else"),
        read_back(),
        read_back(outcome="error", prompt_tokens=None, cost_usd=None),
        read_back(outcome="cache_hit", cost_usd=0.0),
    ]
    counts = replayed(here, yaml(tmp_path, {"tie_band": 0.01}), records).counts
    assert (counts.not_decided, counts.no_candidate, counts.replayed, counts.unpriced) == (1, 1, 3, 0)
    assert counts.other_policy == 3  # the records say cafe0123
    assert replayed(here, yaml(tmp_path, None, OTHER), [read_back()]).counts.no_candidate == 0
    assert came_to(replayed(here, here, [])).attainment.share is None


def test_qualities_that_rest_on_graded_answers_have_a_bound_and_an_interval(tmp_path: Path) -> None:
    """Half the picks rest on SMALL's graded answers. Its bound is 1.28 deviations lower, the interval ± 1.96 · ½."""
    snapshot = measured(small=Metrics(NOW_S, 0.1, quality_score=0.8, quality_n=1_000), large=Metrics(NOW_S, 0.2))
    to_small = decided([SMALL, LARGE], snapshot=snapshot, is_judged=True)
    to_large = decided([SMALL, LARGE], snapshot=snapshot, is_judged=True, slo=Slo(min_quality=0.85))
    (small,) = (one.prediction for one in to_small.assessments if one.deployment_id == "small")
    assert small.quality is not None
    assert small.quality_bound is not None
    same = yaml(tmp_path)
    outcome = came_to(replayed(same, same, [read_back(to_small), read_back(to_large)]))
    assert outcome.quality == pytest.approx(((small.quality + 0.9) / 2,) * 2)
    assert outcome.quality_bound == pytest.approx(((small.quality_bound + 0.9) / 2,) * 2)
    half = 1.96 * (small.quality - small.quality_bound) / 1.2816 / 2
    middle = (small.quality + 0.9) / 2
    assert outcome.quality_interval == pytest.approx((middle - half, middle + half), abs=1e-4)
    assert outcome.quality_measured_share == 0.5


def test_the_replayed_shares_are_those_of_the_policy_when_it_runs(tmp_path: Path) -> None:
    """2,000 requests are decided under one policy and replayed under another, and compared with its own decisions."""
    old, new = (
        yaml(tmp_path),
        yaml(tmp_path, {"objective": "weighted", "weights": {"quality": 0.7, "cost": 0.2, "latency": 0.1}}),
    )
    facts, rng = [SMALL, LARGE, OTHER], random.Random(5)
    records: list[Recorded] = []
    live: list[str] = []
    old, new = (
        replace(one, deployments=tuple(replace(one.deployments[0], facts=f) for f in facts)) for one in (old, new)
    )
    for _ in range(2_000):
        rows = {
            one.deployment_id: Metrics(NOW_S, rng.uniform(0.05, 0.5), tpot_s=rng.uniform(0.005, 0.05)) for one in facts
        }
        features = Features("ner", "client", rng.randint(10, 4_000), rng.randint(1, 900), 900)
        slo = Slo(ttft_s=rng.choice([None, 0.1, 0.3]), min_quality=rng.choice([None, 0.8]))
        asked = {"slo": slo, "snapshot": measured(**rows), "features": features}
        records.append(read_back(decided(facts, group=old.plugin.groups["smart"], **asked)))  # type: ignore[arg-type]
        live.append(decided(facts, group=new.plugin.groups["smart"], **asked).deployment_id)  # type: ignore[arg-type]
    shares = came_to(replayed(old, new, records)).shares
    for name in ("small", "large", "other"):
        assert shares[name][1] == pytest.approx(live.count(name) / 2_000, abs=0.001)
    assert max(abs(before - after) for before, after in shares.values()) > 0.05
