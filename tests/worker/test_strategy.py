"""From LiteLLM's request and pool to a deployment: what one worker knows, applied to one request and its retries."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from slo_router.contract.model import Facts, Features, Metrics, Slo
from slo_router.contract.record import RequestRecord
from slo_router.contract.settings.config import LogSettings, PluginSettings
from slo_router.contract.settings.deployments import ManagedDeployment
from slo_router.contract.settings.group import GroupSettings, SloSettings
from slo_router.decision import prediction
from slo_router.errors import RequestSloError
from slo_router.request.lengths import Length
from slo_router.request.slo import SloInputs
from slo_router.worker.attempt import ENDINGS, Fault
from slo_router.worker.learning.answers import MOST_LENGTHS
from slo_router.worker.records import Outcome, build_record
from slo_router.worker.sharing import LENGTHS
from slo_router.worker.snapshot import MetricsStore, make_snapshot
from slo_router.worker.strategy import Strategy
from slo_router.worker.tasks.turns import at_once
from slo_router.worker.trace import Trace
from tests.shared.builders import NOW_S, measured, wire

SMALL = Facts("small", "m", None, None, 1e-6, 1e-6, quality={"default": 0.5, "reasoning": 0.2})
LARGE = Facts("large", "m", None, None, 4e-6, 4e-6, quality={"default": 0.9})
REQUEST: dict[str, object] = {"messages": [{"role": "user", "content": "Extract all person names from the text."}]}
POOL = ["small", "large"]


def record(prompt_tokens: int, completion_tokens: int) -> RequestRecord:
    """What is known of a request that succeeded, as far as a strategy asks."""
    payload = {"status": "success", "prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    return build_record(payload, Trace("acompletion", time.time()))


class FakeClock:
    """Unix seconds that stand still."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def strategy(group: GroupSettings | None = None, clock: Callable[[], float] = time.time) -> Strategy:
    settings = PluginSettings(groups={"smart": group or GroupSettings()}, log=LogSettings())
    made = Strategy(settings, MetricsStore(""), clock)
    made.know([ManagedDeployment("smart", SMALL), ManagedDeployment("smart", LARGE)])
    return made


def arrived(made: Strategy, **inputs: object) -> Trace:
    trace = Trace("acompletion", time.time())
    made.read_request("smart", trace, SloInputs()._replace(**inputs))  # type: ignore[arg-type]
    return trace


def over(made: Strategy, trace: Trace, told: RequestRecord, outcome: Outcome = "success") -> None:
    """A request was sent to whom the strategy chose, is over, and then learned from."""
    if trace.decision is not None:
        made.sent(trace, trace.decision.deployment_id)
    landing = made.finish(trace, outcome)  # type: ignore[arg-type]  # a cache hit is not among them here
    made.learn(trace, landing, told.model_copy(update={"outcome": outcome}))


def test_workers_tell_each_other_how_many_rescues_are_left() -> None:
    first, second = strategy(), strategy()
    for one in (first, second):
        one.rescues.budget.earn("smart", 0.03, NOW_S)
    assert first.rescues.budget.take("smart", NOW_S)
    second.absorb([wire(at_once(first.export()))])
    assert second.rescues.budget.left("smart") == first.rescues.budget.left("smart") == 11


def test_an_attempt_that_was_given_up_ends_silent_whatever_litellm_says_of_it() -> None:
    made = strategy()
    for _ in range(2):
        trace = arrived(made)
        chosen = made.choose("smart", REQUEST, POOL, trace)
        assert chosen is not None
        made.sent(trace, chosen)
        attempt = trace.attempt
        assert attempt is not None
        attempt.is_given_up = True
        made.supersede(trace)
        assert attempt.ending == "silent"
        assert made.live.states[chosen].circuit.is_open


def test_without_measurements_it_routes_on_configured_prices_and_qualities() -> None:
    made = strategy()
    assert made.choose("smart", REQUEST, POOL, arrived(made)) == "small"
    assert made.choose("smart", REQUEST, POOL, arrived(made, headers={"x-slo-min-quality": "0.8"})) == "large"


def test_the_snapshot_in_memory_is_what_it_decides_on() -> None:
    made = strategy(GroupSettings(slo=SloSettings(ttft_ms=150)))
    made.store.snapshot = measured(small=Metrics(time.time(), 0.3), large=Metrics(time.time(), 0.1))
    trace = arrived(made)
    assert made.choose("smart", REQUEST, POOL, trace) == "large"
    assert trace.slo == Slo(ttft_s=0.15)
    assert trace.decision is not None
    assert (trace.decision.kind, trace.decision.features.category) == ("met", "ner")
    assert trace.decision.policy == PluginSettings(groups={"smart": made.groups["smart"].settings}).policy


def test_only_deployments_of_the_pool_are_candidates() -> None:
    made = strategy()
    trace = arrived(made)
    assert made.choose("smart", REQUEST, ["large", "added at run time"], trace) == "large"
    assert trace.decision is not None
    assert [a.deployment_id for a in trace.decision.assessments] == ["large"]


def test_a_retry_skips_what_was_tried() -> None:
    made = strategy()
    trace = arrived(made)
    picks = [made.choose("smart", REQUEST, POOL, trace) for _ in range(2)]
    assert picks == trace.tried == ["small", "large"]
    assert made.choose("smart", REQUEST, POOL, arrived(made)) == "small"  # another request knows nothing of it


def test_a_pool_of_strangers_is_left_to_litellm_and_no_old_decision_stays() -> None:
    made = strategy()
    trace = arrived(made)
    made.choose("smart", REQUEST, POOL, trace)
    assert made.choose("smart", REQUEST, ["unknown"], trace) is None
    assert (trace.decision, trace.note) == (None, "no candidate is known to the configuration")


def test_the_groups_quality_floor_depends_on_the_category_and_the_request_may_lower_it() -> None:
    made = strategy(GroupSettings(min_quality={"reasoning": 0.6}))
    reasoning = arrived(made, headers={"x-slo-category": "Reasoning"})
    assert made.choose("smart", REQUEST, POOL, reasoning) == "large"
    assert made.choose("smart", REQUEST, POOL, arrived(made)) == "small"  # ner: no floor
    lower = arrived(made, headers={"x-slo-category": "reasoning", "x-slo-min-quality": "0.1"})
    assert made.choose("smart", REQUEST, POOL, lower) == "small"


def test_a_clamped_wish_is_remembered_for_the_header() -> None:
    made = strategy()
    limits = {"slo_limits": {"min_quality": {"min": 0.7}}}
    trace = arrived(made, body_slo={"min_quality": 0.1}, key_metadata=limits)
    assert made.choose("smart", REQUEST, POOL, trace) == "large"
    assert trace.clamped == ("min_quality",)


def test_a_category_that_the_group_does_not_have_is_refused_and_one_it_adds_is_not() -> None:
    with pytest.raises(RequestSloError, match=r"x-slo-category: 'legal' is not valid, expected one of ner, summar"):
        arrived(strategy(), headers={"x-slo-category": "legal"})
    made = strategy(GroupSettings(categories={"legal": ["clause"]}))
    trace = arrived(made, headers={"x-slo-category": "LEGAL"})
    made.choose("smart", REQUEST, POOL, trace)
    assert trace.decision is not None
    assert trace.decision.features.category == "legal"


def test_the_groups_own_words_name_its_own_category() -> None:
    made = strategy(GroupSettings(categories={"legal": ["indemnity clause"]}))
    trace = arrived(made)
    made.choose("smart", {"prompt": "Review this indemnity clause."}, POOL, trace)
    assert trace.decision is not None
    assert trace.decision.features.category == "legal"


def length_of(made: Strategy, name: str, category: str = "ner", effort: str = "") -> Length:
    """What a worker expects of a deployment's answer, once its background job has looked."""
    made.absorb(())
    return made.answers.lengths(Features(category, "client", 10, 100, 100, effort=effort))[name]


def test_usage_of_a_finished_request_is_learned_where_it_was_decided() -> None:
    made = strategy()
    trace = arrived(made)
    over(made, trace, record(100, 200))  # no decision: nothing to compare with
    assert length_of(made, "small").answers == 0
    made.choose("smart", REQUEST, POOL, trace)
    over(made, trace, record(28, 200))
    learned = length_of(made, "small")
    assert learned.answers == pytest.approx(1.0, rel=0.01)
    assert 120 < learned.mean < 160  # a sixth of the way from 120, and what that tells of its relatives
    assert made.answers.learned.prompt_factor == pytest.approx({"ner": 1.05})  # estimated 14: 1 + 0.05 × (28 / 14 − 1)


def test_the_cheap_by_token_that_writes_a_lot_loses_its_traffic_to_the_cheap_by_answer() -> None:
    """Half the price per token, 25 times the answer."""
    terse, talker = (Facts(name, name, None, None, usd, usd) for name, usd in (("terse", 2e-6), ("talker", 1e-6)))
    made = strategy()
    made.know([ManagedDeployment("smart", terse), ManagedDeployment("smart", talker)])
    picks = []
    for _ in range(150):
        trace = arrived(made)
        picks.append(made.choose("smart", REQUEST, ["terse", "talker"], trace))
        over(made, trace, record(14, 24 if picks[-1] == "terse" else 600))
        made.absorb(())
    assert picks[0] == "talker"
    assert picks[20:].count("terse") >= 125
    assert trace.decision is not None
    assert trace.decision.features.output_tokens < 60  # what is predicted, recorded and shown is of the pick


def test_workers_tell_each_other_how_long_models_write() -> None:
    """The lengths of a sample of their answers, once; what is no length, or of nobody known, is left out."""
    one, other = strategy(), strategy()
    for made in (one, other):
        made.know([ManagedDeployment("smart", replace(SMALL, model="talker"))])
    for _ in range(MOST_LENGTHS + 2):
        trace = arrived(one)
        one.choose("smart", REQUEST, ["small"], trace)
        over(one, trace, record(14, 600))
    told = at_once(one.export())
    assert len(json.loads(told)[LENGTHS]) == MOST_LENGTHS
    assert json.loads(at_once(one.export()))[LENGTHS] == []
    other.absorb([wire(told)])
    known = length_of(other, "small")
    assert known.mean == pytest.approx(600, rel=0.25)
    nonsense: list[object] = [
        ["ner", "stranger", 5, False, "", 0],
        ["poems", "talker", 5, False, "", 0],
        ["ner", "talker", -5, False, "", 0],
        ["ner", "talker", 5, False, "a lot", 0],
        ["ner", "talker", 5, False, "~" + "9" * 5_000, 0],
        ["ner", "talker", 5, False, ""],  # of an older version
        ["ner", "talker", 5, False, "", 6],
        ["ner", "talker", 5, False, "", "1"],
        ["ner"],
        "ner",
        None,
    ]
    unlike: list[object] = [nonsense, "lengths", None, {}]
    for said in unlike:
        other.absorb([wire({LENGTHS: said})])
    assert length_of(other, "small").mean == pytest.approx(known.mean)


def answered(
    made: Strategy, name: str, tokens: int, request: dict[str, object], *, is_whole: bool | None, hidden: int = 0
) -> None:
    """One request to this deployment, and its answer."""
    trace = arrived(made)
    made.choose("smart", {**REQUEST, **request}, [name], trace)
    made.sent(trace, name)
    landing = made.finish(trace, "success")
    told = record(14, tokens).model_copy(update={"outcome": "success", "hidden_tokens": hidden})
    made.learn(trace, landing, told, is_whole=is_whole)


@pytest.mark.parametrize("is_whole", [False, None])
def test_an_answer_that_max_tokens_cut_says_at_least(is_whole: bool | None) -> None:
    """Half of the answers are of 40 tokens and half of 400, and most clients allow 100."""
    made = strategy()
    for i in range(200):
        wanted, limit = (40, 400)[i % 2], 1_000 if i % 10 == 1 else 100
        got = min(wanted, limit)
        answered(made, "small", got, {"max_tokens": limit}, is_whole=True if got < limit else is_whole)
    learned = length_of(made, "small")
    assert learned.mean == pytest.approx(220, rel=0.1)
    assert learned.within(100) == pytest.approx(70, rel=0.05)


def test_what_a_server_cuts_by_itself_is_as_long_as_its_answers_get() -> None:
    made = strategy()
    for _ in range(100):
        answered(made, "small", 64, {}, is_whole=False)
    assert length_of(made, "small").mean == pytest.approx(64, rel=0.1)


def test_lengths_are_learned_where_live_measurements_are_off() -> None:
    settings = PluginSettings(groups={"smart": GroupSettings()}, log=LogSettings(), live_measurements=False)
    made = Strategy(settings, MetricsStore(""))
    made.know([ManagedDeployment("smart", SMALL)])
    for _ in range(100):
        answered(made, "small", 900, {}, is_whole=True)
    assert length_of(made, "small").mean == pytest.approx(900, rel=0.1)
    assert all(state.curve is None for state in made.live.states.values())


def test_a_replica_that_nobody_measured_is_expected_to_write_as_its_model_does() -> None:
    made = strategy()
    replica = replace(SMALL, deployment_id="replica")
    made.know([ManagedDeployment("smart", one) for one in (SMALL, replica, replace(LARGE, model="another"))])
    for _ in range(60):
        answered(made, "small", 900, {}, is_whole=True)
    assert length_of(made, "replica") == length_of(made, "small")
    assert length_of(made, "large").mean < 900  # its category's, which one model alone does not make


def test_a_model_that_is_asked_to_think_is_told_apart_from_itself() -> None:
    made = strategy()
    made.know([ManagedDeployment("smart", replace(one, thinks=True)) for one in (SMALL, LARGE)])
    assert length_of(made, "small", effort="high").mean == pytest.approx(2 * length_of(made, "small").mean)
    assert length_of(made, "small", effort="~4096").mean == pytest.approx(120 + 2_048)
    for _ in range(60):
        answered(made, "small", 100, {}, is_whole=True)
        answered(made, "small", 2_000, {"reasoning_effort": "high"}, is_whole=True)
    assert length_of(made, "small").mean == pytest.approx(100, rel=0.1)
    assert length_of(made, "small", effort="high").mean == pytest.approx(2_000, rel=0.1)


def test_the_total_time_is_that_of_the_tokens_that_a_client_sees_and_the_cost_that_of_all() -> None:
    """Nine in ten are hidden thoughts, which are written before the first token. Other workers hear of it."""
    one, other = strategy(), strategy()
    row = Metrics(NOW_S, ttft_s=2.0, tpot_s=0.02)
    for made in (one, other):
        made.know([ManagedDeployment("smart", replace(SMALL, model="thinker"))])
        made.store.snapshot = make_snapshot({"small": {"ner": row}}, NOW_S)
    for _ in range(200):
        answered(one, "small", 1_000, {}, is_whole=True, hidden=900)
        other.absorb([wire(at_once(one.export()))])
    for made in (one, other):
        made.absorb(())
        assert length_of(made, "small").shown == pytest.approx(0.1, abs=0.02)
        assert length_of(made, "small", "chat").shown < 0.2  # as it does elsewhere
        trace = arrived(made)
        made.choose("smart", REQUEST, ["small"], trace)
        assert trace.decision is not None
        (assessment,) = trace.decision.assessments
        assert assessment.prediction.output_tokens == pytest.approx(1_000, rel=0.1)
        longest = assessment.prediction.longest_tokens
        assert longest is not None
        assert assessment.prediction.e2e_s == pytest.approx(2.0 + 0.02 * (longest * length_of(made, "small").shown - 1))


def test_what_a_benchmark_saw_of_hidden_thoughts_is_expected_until_traffic_tells() -> None:
    made = strategy()
    made.know([ManagedDeployment("smart", SMALL)])
    row = Metrics(NOW_S, output_tokens_mean=800.0, hidden_tokens_mean=600.0, samples=50)
    made.store.snapshot = make_snapshot({"small": {"ner": row}}, NOW_S)
    assert length_of(made, "small").shown == pytest.approx(0.25)
    for _ in range(300):
        answered(made, "small", 800, {}, is_whole=True)
    assert length_of(made, "small").shown > 0.95


def test_what_the_benchmark_measured_is_expected_until_traffic_tells_more() -> None:
    made = strategy()
    made.know([ManagedDeployment("smart", SMALL), ManagedDeployment("smart", replace(LARGE, model="another"))])
    rows = {"small": Metrics(NOW_S, output_tokens_mean=800.0, samples=50)}
    made.store.snapshot = make_snapshot({name: {"ner": row} for name, row in rows.items()}, NOW_S)
    assert length_of(made, "small").mean == pytest.approx(800, rel=0.1)
    assert length_of(made, "small", "chat").mean > 300  # it writes more than is assumed there, too
    for _ in range(100):
        answered(made, "small", 200, {}, is_whole=True)
    assert length_of(made, "small").mean == pytest.approx(200, rel=0.1)


def test_a_context_window_has_room_for_more_than_the_expected_answer_unless_the_client_allows_less() -> None:
    made = strategy()
    made.know([ManagedDeployment("smart", replace(SMALL, context_tokens=400)), ManagedDeployment("smart", LARGE)])
    for tokens in (50, 600) * 50:
        answered(made, "small", tokens, {}, is_whole=True)
    made.absorb(())
    assert made.choose("smart", REQUEST, POOL, arrived(made)) == "large"  # half of the answers would not fit
    assert made.choose("smart", {**REQUEST, "max_tokens": 300}, POOL, arrived(made)) == "small"


def test_a_whole_answer_is_overdue_once_it_takes_longer_than_hardly_one_does() -> None:
    made = strategy()
    made.know([ManagedDeployment("smart", SMALL)])
    row = Metrics(NOW_S, ttft_s=0.1, tpot_s=0.01)
    made.store.snapshot = measured(small=row)
    trace = arrived(made)
    made.choose("smart", REQUEST, ["small"], trace)
    assert trace.attempts[-1].flight is not None
    assert trace.attempts[-1].flight.expected_s is None  # nobody knows how long its answers get
    for _ in range(100):
        answered(made, "small", 100, {}, is_whole=True)
    trace = arrived(made)
    made.absorb(())
    made.choose("smart", REQUEST, ["small"], trace)
    assert trace.attempts[-1].flight is not None
    expected_s = trace.attempts[-1].flight.expected_s
    assert expected_s is not None
    assert expected_s < 10.0


def test_the_first_token_of_a_stream_is_learned_while_the_answer_goes_on() -> None:
    made = strategy()
    warm = arrived(made)
    made.choose("smart", REQUEST, POOL, warm)
    over(made, warm, record(28, 200))  # a worker's first request teaches nothing
    trace = arrived(made)
    trace.stream = True
    made.choose("smart", REQUEST, POOL, trace)
    made.sent(trace, "small")
    flight = trace.attempts[0].flight
    assert flight is not None
    made.absorb(())
    assert made.live.states["small"].evidence.at_s is None
    trace.saw_token(flight.at_s + 0.25)
    made.absorb(())
    sums = made.live.states["small"].evidence.ttft[0]
    assert sums.count == 1
    assert sums.products[1] / sums.products[5] == pytest.approx(0.25)  # Σ y / Σ 1, both of weight 1 ÷ scale²
    assert made.live.in_flight("small") == 1
    over(made, trace, record(28, 200), "disconnected")
    assert made.live.in_flight("small") == 0


def test_a_worker_whose_first_answers_are_long_does_not_take_their_deployment_for_hanging() -> None:
    """Until a worker's first request ended its first tokens teach nothing, but they do say that somebody answers."""
    clock = FakeClock(NOW_S)
    made = strategy(clock=clock)
    made.store.snapshot = measured(small=Metrics(NOW_S, 0.1, ttft_p95_s=0.2))
    for _ in range(4):
        trace = arrived(made)
        trace.stream = True
        assert made.choose("smart", REQUEST, POOL, trace) == "small"
        made.sent(trace, "small")
        trace.saw_token(NOW_S + 0.15)
    for _ in range(20):
        clock.now_s += 0.25
        made.watch()
    assert not made.live.states["small"].circuit.is_open
    assert made.live.states["small"].evidence.at_s is None


def test_a_later_attempt_that_goes_on_with_a_broken_stream_has_a_first_token_of_its_own() -> None:
    """The client's TTFT is that of the first; what is learned of the second counts from its own dispatch."""
    made = strategy()
    warm = arrived(made)
    made.choose("smart", REQUEST, POOL, warm)
    over(made, warm, record(28, 200))
    trace = arrived(made)
    trace.stream = True
    made.choose("smart", REQUEST, POOL, trace)
    made.sent(trace, "small")
    trace.saw_token(trace.arrived_s + 0.1)
    made.finish(trace, "error")
    made.sent(trace, "large")
    second = trace.attempts[1].flight
    assert second is not None
    assert trace.awaits_token
    made.absorb(())
    assert made.live.states["large"].evidence.at_s is None
    trace.saw_token(second.at_s + 0.25)
    told = record(28, 200).model_copy(update={"ttft_ms": 100.0, "e2e_ms": 600.0})
    made.learn(trace, made.finish(trace, "success"), told)
    assert trace.first_token_s == trace.arrived_s + 0.1
    sums = made.live.states["large"].evidence.ttft[0]
    assert sums.products[1] / sums.products[5] == pytest.approx(0.25)


def test_of_a_client_that_leaves_the_first_token_is_learned_though_nobody_tells_more() -> None:
    made = strategy()
    warm = arrived(made)
    made.choose("smart", REQUEST, POOL, warm)
    over(made, warm, record(28, 200))
    trace = arrived(made)
    trace.stream = True
    made.choose("smart", REQUEST, POOL, trace)
    made.sent(trace, "small")
    trace.saw_token(time.time() + 0.25)
    made.finish(trace, "disconnected")
    assert made.live.states["small"].evidence.ttft[0].count == 1


def test_a_sticky_group_remembers_where_a_conversation_was_until_its_slo_is_broken() -> None:
    made = strategy(GroupSettings(stickiness=True))
    large = made.facts["large"]
    made.facts = {**made.facts, "large": replace(large, cached_usd_per_token=0.0, input_usd_per_token=1.1e-6)}
    first = [{"role": "user", "content": "Extract the names. " * 200}]
    turn = {"messages": [*first, {"role": "assistant", "content": "None."}, {"role": "user", "content": "Sure?"}]}

    def after(slo_met: bool | None) -> str | None:
        begun = arrived(made, headers={"x-slo-min-quality": "0.8"})
        assert made.choose("smart", {"messages": first}, POOL, begun) == "large"
        over(made, begun, record(28, 200).model_copy(update={"slo_met": slo_met}))
        return made.choose("smart", turn | {"max_tokens": 1}, POOL, arrived(made))

    assert after(None) == "large"
    assert after(False) == "small"


def test_a_canary_by_key_takes_the_same_keys_every_time_and_by_request_its_share_of_each() -> None:
    by_key = strategy(GroupSettings.model_validate({"mode": {"canary": "30%", "by": "key"}}))
    keys = [f"key-{number}" for number in range(1_000)]
    routed = [by_key.groups["smart"].routes(key, 0.5) for key in keys]
    assert routed == [by_key.groups["smart"].routes(key, 0.5) for key in keys]
    assert sum(routed) == pytest.approx(300, abs=60)  # 4 standard deviations of 14.5
    by_request = strategy(GroupSettings.model_validate({"mode": {"canary": 0.3}}))
    lots = [by_request.draw_lot() for _ in range(1_000)]
    taken = [by_request.groups["smart"].routes("one key", lot) for lot in lots]
    assert sum(taken) == pytest.approx(300, abs=60)
    assert taken == [by_request.groups["smart"].routes("one key", lot) for lot in lots]  # a retry stays where it was
    assert not strategy(GroupSettings(mode="shadow")).groups["smart"].routes("", 0.0)
    assert strategy().groups["smart"].routes("", 0.99)


def test_in_shadow_the_load_counts_where_litellm_sent_the_request() -> None:
    made = strategy(GroupSettings(mode="shadow"))
    trace = arrived(made)
    trace.is_shadow = True
    assert made.choose("smart", REQUEST, POOL, trace) == "small"
    assert trace.attempts == []
    assert made.sent(trace, "large")
    assert (made.live.in_flight("small"), made.live.in_flight("large"), trace.sent_to) == (0, 1, ["large"])


def test_a_group_in_shadow_or_switched_off_is_left_to_litellm() -> None:
    assert strategy().left_to_litellm(frozenset()) == set()
    assert strategy().left_to_litellm({"smart"}) == {"small", "large"}
    assert strategy(GroupSettings(mode="shadow")).left_to_litellm(()) == {"small", "large"}


@pytest.mark.parametrize(
    ("call_type", "stream", "limit", "expected_s"),
    [
        ("acompletion", True, None, 0.1),  # the first token
        ("acompletion", False, 100, 1.1),  # 0.1 + 100 × 0.01: the longest answer that may come
        ("acompletion", False, None, None),  # it may be long, and nobody knows how long
        ("anthropic_messages", True, None, 0.1),
    ],
)
def test_an_answer_that_may_be_long_is_not_taken_for_one_that_hangs(
    call_type: str, stream: bool, limit: int | None, expected_s: float | None
) -> None:
    made = strategy()
    made.store.snapshot = measured(small=Metrics(time.time(), 0.1, tpot_s=0.01))
    trace = Trace(call_type, time.time(), stream=stream)
    made.choose("smart", REQUEST | ({} if limit is None else {"max_tokens": limit}), ["small"], trace)
    flight = trace.attempts[0].flight
    assert flight is not None
    assert flight.expected_s == (None if expected_s is None else pytest.approx(expected_s))


@pytest.mark.parametrize("slo", [SloSettings(), SloSettings(ttft_ms=1_000)], ids=["no limit", "a limit"])
def test_of_three_equal_deployments_each_gets_its_share(slo: SloSettings) -> None:
    """The same model with three keys, and nothing measured: the first one with live evidence must not keep it all."""
    made = strategy(GroupSettings(slo=slo))
    made.know([ManagedDeployment("smart", replace(SMALL, deployment_id=name)) for name in "abc"])
    picks: Counter[str | None] = Counter()
    for _ in range(400):
        trace = arrived(made)
        trace.stream = True
        name = made.choose("smart", REQUEST, ["a", "b", "c"], trace)
        picks[name] += 1
        told = record(14, 24).model_copy(update={"ttft_ms": 100.0, "e2e_ms": 400.0})
        over(made, trace, told)
        made.absorb(())
    assert min(picks.values()) > 60, picks


THOUGHT = {"role": "assistant", "content": "Hm.", "thinking_blocks": [{"type": "thinking", "signature": "s"}]}


@pytest.mark.parametrize("stickiness", [False, True])
def test_a_conversation_that_only_its_model_can_read_stays_there_whatever_it_costs(stickiness: bool) -> None:
    made = strategy(GroupSettings(stickiness=stickiness, slo=SloSettings(ttft_ms=1)))
    made.know([ManagedDeployment("smart", SMALL), ManagedDeployment("smart", replace(LARGE, model="another"))])
    first = [{"role": "user", "content": "Think it over."}]
    begun = arrived(made, headers={"x-slo-min-quality": "0.8"})
    asks = {"messages": first, "reasoning_effort": "low"}
    assert made.choose("smart", asks, POOL, begun) == "large"
    over(made, begun, record(28, 200).model_copy(update={"slo_met": False}))
    turn = {"messages": [*first, THOUGHT, {"role": "user", "content": "Sure?"}]}
    trace = arrived(made)
    assert made.choose("smart", turn, POOL, trace) == "large"
    assert trace.decision is not None
    assert [(one.deployment_id, one.filter, one.value) for one in trace.decision.rejections] == [
        ("small", "capability", "history")
    ]
    plain = {"messages": [*first, {"role": "assistant", "content": "Hm."}, {"role": "user", "content": "Sure?"}]}
    assert made.choose("smart", plain, POOL, arrived(made, headers={"x-slo-ttft-ms": "900"})) == "small"


def test_a_response_is_gone_on_with_where_it_is_held() -> None:
    made = strategy()
    assert SMALL.model == LARGE.model  # it does not hold what another deployment of its model holds
    assert made.choose("smart", REQUEST, POOL, arrived(made), holder="large") == "large"
    assert made.choose("smart", REQUEST, ["small"], arrived(made), holder="large") == "small"  # it cools down


def test_what_a_provider_keeps_is_read_by_whoever_has_its_account_and_other_workers_know_where_it_is() -> None:
    one, other = strategy(), strategy()
    twin = replace(SMALL, deployment_id="twin", model="openai/other")
    listed = [
        ManagedDeployment("smart", SMALL, api_key="a"),
        ManagedDeployment("smart", replace(LARGE, model="openai/large"), api_key="b"),
        ManagedDeployment("smart", twin, api_key="b"),
    ]
    for made in (one, other):
        made.know(listed)
    body = {"input": "Go on.", "conversation": "conv_1"}
    trace = arrived(one)
    assert one.choose("smart", body, ["large"], trace) == "large"
    assert trace.goes_on
    over(one, trace, record(5_000, 100))
    other.absorb([wire(at_once(one.export()))])
    for made in (one, other):
        assert made.choose("smart", body, ["small", "large"], arrived(made)) == "large"
        assert made.choose("smart", body, ["small", "twin"], arrived(made)) == "twin"
        assert made.choose("smart", body, ["small"], arrived(made)) == "small"  # the others cool down
    assert one.answers.learned.prompt_factor == {}


def test_a_history_that_the_server_holds_makes_no_other_prompt_look_longer() -> None:
    made = strategy()
    for holder, moves in (("small", False), (None, True)):
        before = made.answers.learned.prompt_factor
        trace = arrived(made)
        made.choose("smart", REQUEST, POOL, trace, holder=holder)
        over(made, trace, record(5_000, 100))  # the request itself has some ten tokens
        assert (made.answers.learned.prompt_factor != before) is moves


# --- an attempt


def test_litellm_may_say_twice_that_an_attempt_is_sent() -> None:
    """It does on /v1/messages where a provider speaks only the Responses protocol."""
    made = strategy()
    trace = arrived(made)
    made.choose("smart", REQUEST, POOL, trace)
    assert made.sent(trace, "small")
    assert not made.sent(trace, "small")
    assert (trace.sent_to, made.live.in_flight("small")) == (["small"], 1)


def test_a_pick_that_was_never_sent_is_nobodys_fault_and_not_made_again() -> None:
    """LiteLLM's usage-based strategy refuses a deployment over its rpm, and asks again."""
    made = strategy()
    for _ in range(5):
        trace = arrived(made)
        made.choose("smart", REQUEST, POOL, trace)
        made.supersede(trace)
        assert made.choose("smart", REQUEST, POOL, trace) == "large"
        assert [attempt.ending for attempt in trace.attempts] == ["released", None]
        made.finish(trace, "released")
    assert made.live.in_flight("small") == 0
    assert made.live.states["small"].circuit.failures == 0


def test_an_attempt_that_was_sent_and_of_which_nothing_is_told_failed() -> None:
    made = strategy()
    trace = arrived(made)
    made.choose("smart", REQUEST, POOL, trace)
    made.sent(trace, "small")
    made.supersede(trace)
    assert trace.attempts[0].ending == "error"
    assert made.live.states["small"].circuit.failures == 1


def test_a_call_that_tells_nothing_of_a_deployment_is_no_part_of_its_load() -> None:
    """LiteLLM does not tell of every kind of call that it is over."""
    made = strategy()
    trace = arrived(made)
    trace.tells_nothing = True
    made.sent(trace, "small")
    assert made.live.in_flight("small") == 0
    made.supersede(trace)
    assert made.live.states["small"].circuit.failures == 0


@pytest.mark.parametrize(("fault", "failures"), [("deployment", 1), ("request", 0), ("unclear", 0), ("account", 0)])
def test_a_failed_attempt_counts_once_and_only_against_whose_fault_it_was(fault: Fault, failures: int) -> None:
    made = strategy()
    trace = arrived(made)
    made.choose("smart", REQUEST, POOL, trace)
    made.sent(trace, "small")
    made.finish(trace, ENDINGS[fault])
    made.finish(trace, "error")  # the request's own end: no attempt is under way
    assert made.live.states["small"].circuit.failures == failures
    assert made.live.in_flight("small") == 0


def test_a_deployment_that_the_configuration_does_not_know_has_no_load() -> None:
    """A fallback of LiteLLM's leads to a group that is not managed."""
    made = strategy()
    trace = arrived(made)
    made.choose("smart", REQUEST, POOL, trace)
    assert made.sent(trace, "elsewhere")
    assert trace.sent_to == ["elsewhere"]
    assert "elsewhere" not in made.live.states


def test_a_category_that_only_the_first_group_has_is_routed_in_its_fallback_group_too() -> None:
    """LiteLLM's `fallbacks` hand a request to another group, with what was read on arrival."""
    groups = {"smart": GroupSettings(categories={"legal": ["clause"]}), "other": GroupSettings(min_quality=0.8)}
    made = Strategy(PluginSettings(groups=groups), MetricsStore(""))
    made.know([ManagedDeployment("other", SMALL), ManagedDeployment("other", LARGE)])
    trace = arrived(made, headers={"x-slo-category": "legal"})
    assert made.choose("other", REQUEST, POOL, trace) == "large"


def test_what_is_known_is_worked_out_by_the_refit_and_by_requests_until_then(monkeypatch: pytest.MonkeyPatch) -> None:
    made = strategy()
    made.store.snapshot = measured(small=Metrics(time.time(), 0.3), large=Metrics(time.time(), 0.1))
    made.absorb(())
    with monkeypatch.context() as context:
        context.setattr(prediction, "know", None)
        assert foreseen(made) == (0.3, 0.5)
    made.store.snapshot = measured(small=Metrics(time.time(), 0.2))
    assert foreseen(made) == (0.2, 0.5)  # it counts at once
    made.absorb(())
    with monkeypatch.context() as context:
        context.setattr(prediction, "know", None)
        assert foreseen(made) == (0.2, 0.5)
    made.know([ManagedDeployment("smart", replace(SMALL, quality={"default": 0.7}))])
    assert foreseen(made) == (0.2, 0.7)  # what the configuration says holds at once


def foreseen(made: Strategy) -> tuple[float | None, float | None]:
    """TTFT and quality of `small`."""
    trace = arrived(made)
    made.choose("smart", REQUEST, ["small"], trace)
    assert trace.decision is not None
    found = trace.decision.assessments[0].prediction
    return found.ttft_s, found.quality
