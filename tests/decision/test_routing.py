"""The whole decision: examples by hand, and what holds for every decision there can be."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from slo_router.contract.model import Assessment, Decision, Facts, Features, Metrics, Rejection, Slo, Standing
from slo_router.contract.settings.group import GroupSettings, Weights
from slo_router.decision.decide import Policy, decide
from slo_router.decision.explain import as_json, reason
from slo_router.decision.filters import HARDNESS
from slo_router.decision.foresight import Ask
from slo_router.decision.prediction import Item, Rng
from slo_router.live.live import Live
from slo_router.live.probes import probe_ended
from slo_router.request.conversations import Cached
from slo_router.request.lengths import assumed
from slo_router.worker.snapshot import make_snapshot
from tests.shared.builders import NOW_S, REQUEST, absorb, decided, measured, view


def model(name: str, usd_per_token: float, quality: float, context_tokens: int | None = None) -> Facts:
    return Facts(name, "m", context_tokens, None, usd_per_token, usd_per_token, quality={"default": quality})


SMALL, MEDIUM, LARGE = model("small", 1e-6, 0.5), model("medium", 2e-6, 0.7), model("large", 4e-6, 0.9)
TRIO = [SMALL, MEDIUM, LARGE]
SPEEDS = measured(small=Metrics(NOW_S, 0.3), medium=Metrics(NOW_S, 0.1), large=Metrics(NOW_S, 0.2))


@pytest.mark.parametrize(
    ("slo", "kind", "deployment"),
    [
        (Slo(), "met", "small"),  # the cheapest of all
        (Slo(ttft_s=0.25), "met", "medium"),  # small takes 0.3 s
        (Slo(min_quality=0.6), "met", "medium"),
        (Slo(min_quality=0.8), "met", "large"),
        (Slo(ttft_s=0.25, cost_per_1k_usd=0.001), "fallback", "large"),  # small is too slow, the others too dear
        (Slo(ttft_s=0.05), "fallback", "large"),  # nobody: the highest quality
        (Slo(ttft_s=0.15, min_quality=0.8), "fallback", "large"),  # the only one above the floor misses the rest
        (Slo(e2e_s=9.0), "fallback", "small"),  # nobody's TPOT was measured: the cheapest of those that may meet it
        (Slo(min_quality=0.95), "fallback", "large"),  # nobody is good enough: the best, not the cheapest
    ],
)  # fmt: skip
def test_the_cheapest_that_meets_the_slo(slo: Slo, kind: str, deployment: str) -> None:
    decision = decided(TRIO, slo=slo, snapshot=SPEEDS)
    assert (decision.kind, decision.deployment_id) == (kind, deployment)


def test_a_decision_carries_every_candidate_every_rejection_and_the_policy() -> None:
    decision = decided(TRIO, slo=Slo(ttft_s=0.25, min_quality=0.6), snapshot=SPEEDS)
    assert [a.deployment_id for a in decision.assessments] == ["medium", "large", "small"]
    assert decision.rejections == (Rejection("small", "quality", 0.5, 0.6),)
    assert (decision.features, decision.slo, decision.policy) == (REQUEST, Slo(0.25, min_quality=0.6), "cafe0123")
    assert decision.selected is decision.assessments[0]


def test_a_retry_goes_to_the_next_untried_deployment_even_below_the_quality_floor() -> None:
    def after(*tried: str) -> str:
        return decided(TRIO, slo=Slo(min_quality=0.6), tried=frozenset(tried)).deployment_id

    assert (after(), after("medium"), after("medium", "large")) == ("medium", "large", "small")
    assert after("medium", "large", "small") == "medium"  # all tried: the fewest broken filters, then the cheapest


def test_where_nothing_is_large_enough_the_largest_window_is_tried() -> None:
    candidates = [model("a", 1e-6, 0.5, 1_000), model("b", 3e-6, 0.5, 1_500), model("c", 2e-6, 0.5, 1_500)]
    decision = decided(candidates)  # needs 1,000 × 1.1, and an answer that hardly one exceeds
    longest = round(assumed(500).quantile(0.9))
    assert (decision.kind, decision.deployment_id) == ("fallback", "c")
    assert [r.value for r in decision.rejections] == [1_100 + longest] * 3


def test_the_softest_filters_give_way_first() -> None:
    failing = measured(medium=Metrics(NOW_S, error_rate=0.9), small=Metrics(NOW_S, error_rate=0.9))
    pair = decided([SMALL, MEDIUM], slo=Slo(min_quality=0.6), snapshot=failing)
    assert pair.deployment_id == "medium"  # both fail too often, small is below the floor besides
    assert decided(TRIO, slo=Slo(min_quality=0.95), snapshot=failing).deployment_id == "large"  # the floor alone


def test_a_deployment_with_faulty_answers_is_not_used_in_that_category_and_in_a_fallback_last() -> None:
    garbled = Metrics(NOW_S, answer_fault="looping 9/10")
    snapshot = make_snapshot({"small": {"ner": garbled, "chat": Metrics(NOW_S)}}, NOW_S)
    decision = decided(TRIO, snapshot=snapshot)
    assert (decision.deployment_id, decision.kind) == ("medium", "met")
    assert decision.rejections == (Rejection("small", "answers", "looping 9/10", "sound"),)
    for category in ("chat", "code"):  # sound there; and where nothing was measured, one fault of two is no proof
        features = REQUEST._replace(category=category)
        assert decided(TRIO, snapshot=snapshot, features=features).deployment_id == "small"
    pair = [SMALL, MEDIUM]
    below = decided(pair, snapshot=snapshot, slo=Slo(min_quality=0.95), tried=frozenset({"medium"}))
    assert below.deployment_id == "medium"  # too poor and tried already: still rather than garbled
    alone = decided([SMALL], snapshot=snapshot)
    assert (alone.deployment_id, alone.kind) == ("small", "fallback")
    assert reason(alone) == "no candidate passes answers; this one is nearest"


def test_faulty_answers_in_every_measured_category_hold_for_all_others() -> None:
    garbled = Metrics(NOW_S, answer_fault="gibberish 9/10")
    snapshot = make_snapshot({"small": {"ner": garbled, "chat": garbled}}, NOW_S)
    assert decided(TRIO, snapshot=snapshot, features=REQUEST._replace(category="code")).deployment_id == "medium"


# --- every decision there can be


@dataclass(frozen=True)
class Scenario:
    rows: tuple[tuple[Facts, Metrics | None], ...]
    slo: Slo
    tried: frozenset[str]
    ceiling: float | None
    group: GroupSettings
    features: Features

    @property
    def candidates(self) -> list[Facts]:
        return [facts for facts, _ in self.rows]

    def decide(self, rng: Rng | None = None) -> Decision:
        snapshot = measured(**{facts.deployment_id: row for facts, row in self.rows if row is not None})
        return decided(
            self.candidates,
            slo=self.slo,
            snapshot=snapshot,
            features=self.features,
            group=self.group,
            tried=self.tried,
            cost_ceiling_per_1k_usd=self.ceiling,
            rng=rng,
        )


class ByName:
    """Draws by name, whatever the order: of those that are within the tie band chance decides which two are held
    against each other, and of those that are about as good who answers.
    """

    def __init__(self) -> None:
        self._rng = random.Random(0)

    def choice(self, seq: Sequence[Item], /) -> Item:
        return min(seq, key=attrgetter("deployment_id"))

    def random(self) -> float:
        return self._rng.random()


def some(low: float, high: float) -> st.SearchStrategy[float | None]:
    """Unknown, one of a few values that make ties, or anything between."""
    return st.none() | st.sampled_from([low, (low + high) / 2, high]) | st.floats(low, high)


rows = st.builds(
    Metrics, st.just(NOW_S), some(0, 2), st.none(), some(0, 2), some(0, 0.1), some(0, 0.1), st.none(),
    some(0, 1), some(0, 1), some(0, 1), st.none() | st.integers(0, 40),
    fit=st.none(), answer_fault=st.sampled_from([None, None, "looping 9/10"]), hidden_tokens_mean=some(0, 1_000),
)  # fmt: skip
needs = st.frozensets(st.sampled_from(["tools", "vision"]))
facts = st.builds(
    Facts, st.just(""), st.just("m"), st.none() | st.integers(1_000, 2_000), st.none(), some(0, 1e-3), some(0, 1e-3),
    st.none(), some(0, 9), st.dictionaries(st.just("default"), st.floats(0, 1)), needs,
)  # fmt: skip
slos = st.builds(Slo, some(1e-320, 2), some(1e-3, 0.1), some(0.1, 60), some(0, 1), some(0, 1))
groups = st.just(GroupSettings()) | st.builds(
    lambda q, c, t: GroupSettings(objective="weighted", weights=Weights(quality=q, cost=c, latency=t)),
    st.floats(0.1, 1), st.floats(0, 1), st.floats(0, 1),
)  # fmt: skip


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    drawn = draw(st.lists(st.tuples(facts, st.none() | rows), min_size=1, max_size=5))
    named = tuple((replace(f, deployment_id=f"d{i}"), row) for i, (f, row) in enumerate(drawn))
    tried = draw(st.frozensets(st.sampled_from([f.deployment_id for f, _ in named]), max_size=len(named)))
    return Scenario(named, draw(slos), tried, draw(some(0, 1)), draw(groups), REQUEST._replace(needs=draw(needs)))


def broken(decision: Decision, name: str) -> list[str]:
    return [r.filter for r in decision.rejections if r.deployment_id == name]


@given(scenarios())
def test_the_pick_is_a_candidate_and_every_candidate_is_assessed_once(scenario: Scenario) -> None:
    decision, names = scenario.decide(), [f.deployment_id for f in scenario.candidates]
    assert decision.deployment_id in names
    assert sorted(a.deployment_id for a in decision.assessments) == names
    assert {r.deployment_id for r in decision.rejections} <= set(names)


@given(scenarios())
def test_a_hard_filter_is_never_violated_while_a_candidate_passes_all(scenario: Scenario) -> None:
    decision = scenario.decide()
    if any(not broken(decision, f.deployment_id) for f in scenario.candidates):
        assert broken(decision, decision.deployment_id) == []
    else:
        assert decision.kind == "fallback"


@given(scenarios())
def test_no_deployment_is_tried_twice_while_an_untried_one_passes_the_harder_filters(scenario: Scenario) -> None:
    decision = scenario.decide()
    if decision.deployment_id in scenario.tried:
        for f in scenario.candidates:
            found = broken(decision, f.deployment_id)
            harder = any(HARDNESS[name] > HARDNESS["already_tried"] for name in found)
            assert f.deployment_id in scenario.tried or harder


@given(scenarios())
def test_no_number_of_a_decision_is_infinite_or_undefined(scenario: Scenario) -> None:
    json.dumps(as_json(scenario.decide()), allow_nan=False)


def stake(decision: Decision, name: str) -> list[float]:
    """What can decide for a candidate apart from quality: where two agree in it, chance may decide."""
    found: Assessment = next(a for a in decision.assessments if a.deployment_id == name)
    cost_usd = found.prediction.cost_usd
    total = 0.0 if found.standing is Standing.MISSES else (found.scores or {}).get("total", 0.0)
    return [found.standing, math.inf if cost_usd is None else cost_usd, found.headroom or 0.0, total]


def assert_same_pick(decision: Decision, name: str) -> None:
    if decision.deployment_id != name:  # an exact tie, up to rounding
        assert stake(decision, decision.deployment_id) == pytest.approx(stake(decision, name), rel=1e-9, abs=1e-12)


def alike(*usd_per_token: float) -> Scenario:
    """Nothing but their price is known, and nothing is asked."""
    rows = [(Facts(f"d{i}", "m", None, None, usd, usd), None) for i, usd in enumerate(usd_per_token)]
    return Scenario(tuple(rows), Slo(), frozenset(), None, GroupSettings(), REQUEST)


@given(scenarios(), st.randoms())
@example(alike(1e-3, 0.98e-3), random.Random(0))  # within the tie band
@example(alike(1e-3, 0.98e-3), random.Random(1))
def test_the_order_of_the_candidates_does_not_matter(scenario: Scenario, rng: random.Random) -> None:
    before = scenario.decide(ByName())
    after = replace(scenario, rows=tuple(rng.sample(scenario.rows, len(scenario.rows)))).decide(ByName())
    assert after.deployment_id == before.deployment_id
    assert set(after.rejections) == set(before.rejections)
    assert (after.kind, len(after.assessments)) == (before.kind, len(before.assessments))


def better(row: tuple[Facts, Metrics | None], share: float) -> tuple[Facts, Metrics | None]:
    """Cheaper, faster, more reliable and better by the same share in everything that is known."""
    f, metrics = row

    def less(value: float | None) -> float | None:
        return None if value is None else value * share

    f = replace(
        f,
        input_usd_per_token=less(f.input_usd_per_token),
        output_usd_per_token=less(f.output_usd_per_token),
        quality={name: 1 - (1 - value) * share for name, value in f.quality.items()},
    )
    if metrics is None:
        return f, None
    score = metrics.quality_score
    return f, metrics._replace(
        ttft_s=less(metrics.ttft_s),
        ttft_p95_s=less(metrics.ttft_p95_s),
        tpot_s=less(metrics.tpot_s),
        tpot_p95_s=less(metrics.tpot_p95_s),
        cost_per_1k_usd=less(metrics.cost_per_1k_usd),
        error_rate=less(metrics.error_rate),
        quality_score=None if score is None else 1 - (1 - score) * share,
    )


@given(scenarios(), st.floats(0.01, 0.99))
def test_a_deployment_that_gets_better_in_every_way_keeps_its_pick(scenario: Scenario, share: float) -> None:
    """Without a tie band, and without one that nobody measured and that is held for its equal's equal: a deployment
    that gets cheaper may leave those behind that it was held against.
    """
    scenario = replace(scenario, group=scenario.group.model_copy(update={"tie_band": 0.0}))
    decision = scenario.decide()
    winner, selected = decision.deployment_id, decision.selected
    assume(selected is None or selected.prediction.basis != "none" or selected.standing is not Standing.MEETS)
    improved = tuple(better(row, share) if row[0].deployment_id == winner else row for row in scenario.rows)
    assert_same_pick(replace(scenario, rows=improved).decide(), winner)


def test_a_deployment_whose_circuit_is_open_is_left_out_and_one_alone_is_used_all_the_same() -> None:
    shut, other = Facts("shut", "m", None, None, 1e-6, 1e-6), Facts("other", "m", None, None, 9e-6, 9e-6)
    live = Live()
    for _ in range(3):
        live.finished(live.dispatched("shut", NOW_S), "error", NOW_S)
    world = view(live=live.states)
    policy = Policy(GroupSettings(), "cafe0123")
    decision = decide(Ask(REQUEST, Slo()), [shut, other], world, policy)
    assert (decision.deployment_id, decision.rejections[0].filter) == ("other", "circuit")
    assert decide(Ask(REQUEST, Slo()), [shut], world, policy).deployment_id == "shut"


def test_a_deployment_that_recovers_is_spared_only_where_another_is_able() -> None:
    live = Live()
    for _ in range(3):
        live.finished(live.dispatched("large", NOW_S - 2), "error", NOW_S - 2)
    probe_ended(live.states, "large", NOW_S - 1, NOW_S - 0.01, "answers")  # a tenth of its traffic may come back
    policy, chosen = Policy(GroupSettings(), "cafe0123"), {}
    for floor, others in ((0.8, [LARGE, SMALL, MEDIUM]), (0.8, [LARGE, replace(LARGE, deployment_id="larger")])):
        ask = Ask(REQUEST, Slo(min_quality=floor))
        decisions = [decide(ask, others, view(live=live.states, seed=seed), policy) for seed in range(30)]
        chosen[others[-1].deployment_id] = [decision.deployment_id for decision in decisions]
        assert {decision.kind for decision in decisions} == {"met"}
    assert chosen["medium"] == ["large"] * 30  # the only one above the floor
    assert chosen["larger"].count("larger") > 20
    assert Rejection("large", "circuit", "recovering", "closed") in decisions[0].rejections


def test_where_all_break_the_cost_limit_one_that_a_short_answer_keeps_in_it_comes_before_the_best() -> None:
    """Of 1,000 prompt and 500 answer tokens the middle one costs 2 % more than the limit, the best one 9 times it."""
    middle, best = Facts("middle", "m", None, None, 1e-6, 4e-6), Facts("best", "m", None, None, 1e-5, 4e-5)
    quality = {"middle": 0.5, "best": 0.9}
    candidates = [replace(one, quality={"default": quality[one.deployment_id]}) for one in (middle, best)]
    live = Live()
    for _ in range(20):
        for name in quality:
            flight = live.dispatched(name, NOW_S)
            live.finished(flight, "success", NOW_S, prompt_tokens=1_000, output_tokens=11, ttft_s=0.2, e2e_s=1.5)
    absorb(live, [], {}, NOW_S)
    ask = Ask(REQUEST, Slo(ttft_s=1.0, cost_per_1k_usd=0.00196))
    decision = decide(ask, candidates, view(live=live.states), Policy(GroupSettings(), "cafe0123"))
    assert (decision.kind, decision.deployment_id) == ("fallback", "middle")
    assert decision.probability == pytest.approx(assumed(500).chance(1_000 * 0.96e-6 / 2.04e-6), rel=0.02)
    other = next(one for one in decision.assessments if one.deployment_id == "best")
    assert other.probability == 0


def test_load_moves_a_request_to_the_next_deployment_that_meets_its_slo_and_the_probability_says_why() -> None:
    """Live: TTFT of `cheap` is 100 ms and 100 ms more for each request on its way."""
    cheap, dear = Facts("cheap", "m", None, None, 1e-6, 1e-6), Facts("dear", "m", None, None, 9e-6, 9e-6)
    live = Live()
    for number in range(200):
        live.heard_of_foreign("cheap", number % 10)
        for name, ttft_s in (("cheap", 0.1 + 0.1 * (number % 10)), ("dear", 0.2)):
            flight = live.dispatched(name, NOW_S)
            live.finished(flight, "success", NOW_S, prompt_tokens=1_000, output_tokens=11, ttft_s=ttft_s, e2e_s=1.5)
    absorb(live, [], {}, NOW_S)
    policy, ask = Policy(GroupSettings(), "cafe0123"), Ask(REQUEST, Slo(ttft_s=0.6))
    chosen = {}
    for load in (0, 9):
        live.heard_of_foreign("cheap", load)
        chosen[load] = decide(ask, [cheap, dear], view(live=live.states), policy)
    assert [decision.deployment_id for decision in chosen.values()] == ["cheap", "dear"]
    assert all((decision.probability or 0) > 0.9 for decision in chosen.values())
    assert [decision.selected.prediction.basis for decision in chosen.values() if decision.selected] == ["live"] * 2


def test_a_conversation_stays_where_its_beginning_is_cached_until_the_saving_elsewhere_is_larger() -> None:
    """Of 1,000 prompt tokens 800 are cached: 200 + 800 × 0.1 count, beside 500 of the answer."""
    home = replace(model("home", 1e-6, 0.5), cached_usd_per_token=1e-7)  # 280e-6 + 500e-6 = $0.00078 instead of 0.0015
    cheaper, much_cheaper = model("cheaper", 0.6e-6, 0.5), model("much cheaper", 0.5e-6, 0.5)  # $0.0009, $0.00075
    policy = Policy(GroupSettings(tie_band=0.0), "cafe0123")
    ask = Ask(REQUEST, Slo(), cached=Cached("home", 800))

    def chosen(*others: Facts) -> Decision:
        return decide(ask, [home, *others], view(), policy)

    decision = chosen(cheaper)
    assert (decision.deployment_id, decision.cached_tokens) == ("home", 800)
    assert decision.selected is not None
    assert decision.selected.prediction.cost_usd == pytest.approx(0.00078)
    decision = chosen(cheaper, much_cheaper)
    assert (decision.deployment_id, decision.cached_tokens, decision.cached_at) == ("much cheaper", 0, "home")


def test_leaving_costs_what_the_new_one_must_read_again() -> None:
    home = replace(model("home", 1e-6, 0.5), cached_usd_per_token=1e-7)
    cheap, unpriced = model("cheap", 0.4e-6, 0.5), replace(model("unpriced", 1e-6, 0.5), input_usd_per_token=None)
    policy = Policy(GroupSettings(tie_band=0.0), "cafe0123")
    decision = decide(Ask(REQUEST, Slo(), cached=Cached("home", 800)), [home, cheap, unpriced], view(), policy)
    assert decision.deployment_id == "cheap"
    assert decision.leaving_usd == {"cheap": pytest.approx(800 * 0.4e-6)}
    assert decision.read_cached == {"home": 800}
    assert decide(Ask(REQUEST, Slo()), [home, cheap], view(), policy).leaving_usd == {}


def test_of_a_deployment_whose_cache_is_read_for_any_prompt_the_price_is_lower_for_any_prompt() -> None:
    """Of 1,000 prompt tokens half are cached: 500 + 500 × 0.1 count, beside 500 of the answer: $0.00105, not 0.0015."""
    caches = replace(model("caches", 1e-6, 0.5), cached_usd_per_token=1e-7)
    other = model("other", 0.8e-6, 0.5)  # $0.0012
    policy = Policy(GroupSettings(tie_band=0.0), "cafe0123")
    assert decide(Ask(REQUEST, Slo()), [caches, other], view(), policy).deployment_id == "other"
    decision = decide(Ask(REQUEST, Slo(), hits={"caches": 0.5}), [caches, other], view(), policy)
    assert (decision.deployment_id, decision.cached_tokens, decision.read_cached) == ("caches", 0, {"caches": 500})
    assert decision.selected is not None
    assert decision.selected.prediction.cost_usd == pytest.approx(0.00105)


def test_of_equal_replicas_the_one_that_has_the_conversation_answers() -> None:
    replicas = [model(name, 1e-6, 0.5) for name in "abc"]
    ask = Ask(REQUEST, Slo(), cached=Cached("b", 800))
    policy = Policy(GroupSettings(), "cafe0123")
    assert {decide(ask, replicas, view(seed=seed), policy).deployment_id for seed in range(20)} == {"b"}
