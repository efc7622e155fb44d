"""A recorded request is decided again, from its record, as it was, whatever the request and the deployments are."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from slo_router.contract.model import Decision, Facts, Features, Metrics, Slo
from slo_router.contract.settings.group import GroupSettings, Target, Weights
from slo_router.decision.decide import Policy, decide
from slo_router.decision.foresight import Ask
from slo_router.decision.prediction import predict
from slo_router.live.live import Live
from slo_router.live.probes import probe_ended
from slo_router.operator.replay.recorded import features_of, prediction_of, slo_of
from slo_router.operator.replay.redecision import Draws, Foreseen, Redecision, demand_of, possible, redecide, trials
from slo_router.request.conversations import Cached
from tests.shared.builders import NOW_S, REQUEST, decided, measured, view
from tests.shared.record_builders import LARGE, SMALL, decide_between, read_back

SETTLED = GroupSettings(trial_share=0.0)


def again(decision: Decision, facts: list[Facts], group: GroupSettings = SETTLED, seed: int = 0) -> Redecision:
    """Decides again from the record's JSON."""
    record = read_back(decision)
    assert record.decision is not None
    by_name = {one.deployment_id: one for one in facts}
    candidates = [Foreseen(by_name[one.deployment], prediction_of(one.predicted)) for one in record.decision.candidates]
    features = features_of(record, record.decision)
    return redecide(demand_of(record.decision, features, slo_of(record)), candidates, group, Draws(seed))


qualities = st.sampled_from([0.2, 0.5, 0.8, None])
seconds = st.one_of(st.none(), st.integers(10, 2_000).map(lambda ms: ms / 1_000))


@st.composite
def pools(draw: st.DrawFn) -> tuple[list[Facts], dict[str, Metrics]]:
    """Up to five deployments whose costs are at least a tenth apart, so that no draw decides."""
    facts, metrics = [], {}
    for number in range(draw(st.integers(1, 5))):
        quality = draw(qualities)
        facts.append(
            Facts(
                f"d{number}",
                "m",
                draw(st.sampled_from([None, 1_200, 32_000])),
                None,
                1e-6 * 1.2**number,
                2e-6 * 1.2**number,
                quality={} if quality is None else {"default": quality},
                unsupported=draw(st.sampled_from([frozenset(), frozenset({"tools"})])),
            )
        )
        if draw(st.booleans()):
            metrics[f"d{number}"] = Metrics(NOW_S - 9, draw(seconds), tpot_s=draw(seconds), error_rate=draw(qualities))
            if draw(st.booleans()):
                metrics[f"d{number}"] = metrics[f"d{number}"]._replace(answer_fault="looping 9/10")
    return facts, metrics


asks = st.tuples(
    st.sampled_from([REQUEST, REQUEST._replace(needs=frozenset({"tools"}), output_tokens=0)]),
    st.sampled_from([frozenset[str](), frozenset({"d0"}), frozenset({"d0", "d1"})]),
    st.sampled_from([None, 0.0015]),
)
slos = st.builds(Slo, seconds, seconds, seconds, st.sampled_from([None, 0.001, 0.002]), qualities)
groups = st.sampled_from(
    [
        SETTLED,
        GroupSettings(trial_share=0.0, objective="weighted", weights=Weights(), tie_band=0.0),
        GroupSettings(trial_share=0.0, objective="value", target=Target(quality_of_best=0.9), tie_band=0.0),
    ]
)
worths = st.sampled_from([None, 1e-9, 0.002, 0.02, 1e6])


@given(pools(), slos, asks, groups, worths)
@settings(max_examples=300)
def test_what_was_decided_is_decided_again(
    pool: tuple[list[Facts], dict[str, Metrics]],
    slo: Slo,
    ask: tuple[Features, frozenset[str], float | None],
    group: GroupSettings,
    worth_usd: float | None,
) -> None:
    (facts, metrics), (features, tried, ceiling) = pool, ask
    decision = decided(
        facts,
        slo=slo,
        snapshot=measured(**metrics),
        features=features,
        group=group,
        tried=tried,
        cost_ceiling_per_1k_usd=ceiling,
        worth_usd=worth_usd,
    )
    found = again(decision, facts, group)
    assert set(found.rejections) == set(decision.rejections)
    assert found.is_met == (decision.kind == "met")
    if found.is_drawn:
        assert decision.deployment_id in possible(found, group)
    else:
        assert found.chosen.deployment_id == decision.deployment_id


def test_a_stricter_policy_picks_another() -> None:
    decision = decide_between()
    assert decision.deployment_id == "small"
    assert again(decision, [SMALL, LARGE]).chosen.deployment_id == "small"
    slower = again(decision, [SMALL, LARGE], GroupSettings(objective="weighted", weights=Weights(quality=1, cost=0)))
    assert slower.chosen.deployment_id == "large"


def test_equals_are_marked_and_named() -> None:
    twins = [replace(SMALL, deployment_id=name) for name in ("a", "b", "c")]
    found = again(decided(twins), twins)
    assert found.is_drawn
    assert possible(found, SETTLED) == {"a", "b", "c"}
    assert not again(decide_between(), [SMALL, LARGE]).is_drawn


def test_the_record_says_who_has_the_conversation_even_where_another_answered() -> None:
    """`b` has it but was too slow. If `b` is fast enough, it comes before its equals."""
    twins = [replace(SMALL, deployment_id=name) for name in ("a", "b", "c")]
    rows = measured(a=Metrics(NOW_S, 0.2), b=Metrics(NOW_S, 0.5), c=Metrics(NOW_S, 0.2))
    ask = Ask(REQUEST, Slo(ttft_s=0.3), cached=Cached("b", 800))
    decision = decide(ask, twins, view(rows), Policy(SETTLED, "cafe0123"))
    assert decision.deployment_id in ("a", "c")
    record = read_back(decision)
    assert record.decision is not None
    assert (record.decision.cached_at, record.decision.cached_tokens) == ("b", 0)
    candidates = [
        Foreseen(replace(SMALL, deployment_id=one.deployment), prediction_of(one.predicted))
        for one in record.decision.candidates
    ]
    demand = demand_of(record.decision, features_of(record, record.decision), Slo(ttft_s=0.6))
    found = redecide(demand, candidates, SETTLED, Draws(0))
    assert found.chosen.deployment_id == "b"
    assert not found.is_drawn


def test_a_trial_is_named_apart_from_the_pick() -> None:
    """`small` is cheaper, and was never measured."""
    decision = decided([SMALL, LARGE], slo=Slo(ttft_s=0.3), snapshot=measured(large=Metrics(NOW_S, 0.2)))
    group = GroupSettings(trial_share=0.02)
    found = again(decision, [SMALL, LARGE], group)
    assert possible(found, group) == {"large"}
    assert trials(found, group) == {"small"}
    assert trials(found, SETTLED) == frozenset()
    sent = [again(decision, [SMALL, LARGE], group, seed).chosen.deployment_id for seed in range(1_000)]
    assert 5 <= sent.count("small") <= 40  # 2 % of 1,000 are 20


def test_draws_repeat_with_their_seed() -> None:
    one, other = Draws(7), Draws(7)
    assert [one.random() for _ in range(3)] == [other.random() for _ in range(3)]
    assert not one.asked
    assert one.choice("abc") == other.choice("abc")
    assert one.asked


def test_circuits_tries_and_the_cost_ceiling_come_from_the_recorded_rejections() -> None:
    decision = decided([SMALL, LARGE], tried=frozenset({"small"}), cost_ceiling_per_1k_usd=0.002)
    record = read_back(decision)
    assert record.decision is not None
    demand = demand_of(record.decision, REQUEST, Slo())
    assert demand.tried == {"small"}
    assert (demand.cost_ceiling_per_1k_usd, demand.shut) == (0.002, frozenset())


def test_one_at_the_address_of_a_silent_one_comes_last_again() -> None:
    ask = Ask(REQUEST, Slo(), beside=frozenset({"small"}))
    decision = decide(ask, [SMALL, LARGE], view(), Policy(SETTLED, "cafe0123"))
    assert decision.deployment_id == "large"
    found = again(decision, [SMALL, LARGE])
    assert (found.chosen.deployment_id, found.rejections) == ("large", decision.rejections)
    assert decide(ask, [SMALL], view(), Policy(SETTLED, "cafe0123")).deployment_id == "small"


def test_one_that_recovered_is_spared_again_and_answers_where_a_stricter_policy_leaves_no_other() -> None:
    live = Live()
    for _ in range(3):
        live.finished(live.dispatched("large", NOW_S - 2), "error", NOW_S - 2)
    probe_ended(live.states, "large", NOW_S - 1, NOW_S - 0.01, "answers")
    decision = decide(Ask(REQUEST, Slo()), [SMALL, LARGE], view(live=live.states, seed=3), Policy(SETTLED, "cafe0123"))
    assert [(one.deployment_id, one.value) for one in decision.rejections] == [("large", "recovering")]
    found = again(decision, [SMALL, LARGE])
    assert (found.chosen.deployment_id, found.rejections) == (decision.deployment_id, decision.rejections)
    record = read_back(decision)
    assert record.decision is not None
    demand = demand_of(record.decision, features_of(record, record.decision), Slo(min_quality=0.85))
    foreseen = [Foreseen(one, predict(one, REQUEST, view())) for one in (SMALL, LARGE)]
    strict = redecide(demand, foreseen, SETTLED, Draws(0))
    assert (strict.chosen.deployment_id, strict.is_met) == ("large", True)
