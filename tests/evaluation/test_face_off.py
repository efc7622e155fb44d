"""The face-off's arithmetic: the same arrivals for everybody, who kept a contract, shares and spreads, the bars, and
proxy documents that the plugin accepts. The face-off itself is a study of minutes, run by hand."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evaluation.face_off.__main__ import app
from evaluation.face_off.arrivals import Arrival, Plan, arrivals
from evaluation.face_off.client import Reading
from evaluation.face_off.omniscient import route
from evaluation.face_off.outcome import FAILED, Outcome, judge
from evaluation.face_off.plot import draw
from evaluation.face_off.proxies import OURS, PEERS, STRATEGIES, document
from evaluation.face_off.report import (
    ALL_TO_LARGE,
    OMNISCIENT,
    by_victim,
    tables,
    together,
    verdicts,
    where_possible,
)
from evaluation.face_off.summary import Figures, bars, figures, quantile, spreads
from evaluation.face_off.watch import Shut, Watch, has_failed, shut_by
from evaluation.face_off.world import (
    BY_CATEGORY,
    BY_NAME,
    DEPLOYMENTS,
    EVERYBODY,
    FLEETS,
    KINDS,
    PHASES,
    Contract,
    dealt,
)
from evaluation.routing.models import first_right
from evaluation.shared.results import Spread
from evaluation.shared.traffic import Ask
from slo_router.contract.settings.config import parse_settings
from slo_router.request.slo import SloInputs, read_asked

STEADY, BURST = PHASES[:2]
MIXED = next(phase for phase in PHASES if phase.name == "mixed")
SLOWDOWN, OUTAGE = (
    next(phase for phase in PHASES if (phase.name, phase.victim) == one)
    for one in (("slowdown", "medium"), ("outage", "small"))
)
PLAN = Plan(rate=20, seconds=30)
NER = Arrival(1.0, BY_CATEGORY["ner"], "who?")  # TTFT ≤ 0.6 s, ≤ $0.002 per 1,000 tokens, quality ≥ 0.5
REASONING = Arrival(2.0, BY_CATEGORY["reasoning"], "why?")  # ≤ 1.5 s, ≤ $0.02, ≥ 0.9
GOOD = Figures(0.98, 0.99, 0.0002, 0.0003, 0.1, 0.5, 0.0, {"small": 0.6, "large": 0.4})
PEER = Figures(0.80, 0.99, 0.0006, 0.0008, 0.1, 0.5, 0.0, {"small": 0.3, "large": 0.7})
WHOLE = Ask("chat", stream=False, text_tokens=0, answer_tokens=0)


def answered(arrival: Arrival, deployment: str, ttft_s: float = 0.1) -> Outcome:
    return Outcome(arrival, deployment, ttft_s, ttft_s + 0.3, prompt_tokens=90, output_tokens=10)


def test_the_same_seed_gives_the_same_requests_and_another_seed_others() -> None:
    assert arrivals(BURST, PLAN, "7") == arrivals(BURST, PLAN, "7")
    assert arrivals(BURST, PLAN, "7") != arrivals(BURST, PLAN, "8")
    assert [a.at_s for a in arrivals(STEADY, PLAN, "7")] != [a.at_s for a in arrivals(OUTAGE, PLAN, "7")]


def test_a_burst_is_four_times_the_rate_in_the_middle_third_only() -> None:
    found = arrivals(BURST, PLAN, "0")
    per_third = Counter(int(3 * arrival.at_s / PLAN.seconds) for arrival in found if arrival.counted)
    assert [per_third[third] for third in range(3)] == pytest.approx([200, 800, 200], rel=0.15)  # 20/s × 10 s, × 4


def test_usual_traffic_settles_before_what_counts() -> None:
    settling = [arrival for arrival in arrivals(OUTAGE, PLAN, "0") if not arrival.counted]
    assert len(settling) == pytest.approx(200, rel=0.2)  # 20/s × 10 s
    assert min(arrival.at_s for arrival in settling) >= -10


def test_each_class_has_its_share_and_prompts_of_its_size() -> None:
    found = arrivals(STEADY, PLAN, "0")
    counts = Counter(arrival.kind.category for arrival in found)
    assert sum(kind.share for kind in KINDS) == pytest.approx(1)
    for kind in KINDS:
        assert counts[kind.category] / len(found) == pytest.approx(kind.share, abs=0.06)
    assert len({arrival.prompt for arrival in found}) == len(found)


def test_a_prompt_belongs_to_the_smallest_model_that_answered_it_right() -> None:
    assert first_right([(1, 0, 1), (0, 1, 1), (0, None, 1), (0, 1, 0), (0, 0, 0)]) == [1, 2, 1]


def test_the_contracts_headers_are_what_the_plugin_reads() -> None:
    asked = read_asked(SloInputs(headers=Contract(0.6, 0.002, 0.5).headers)).values
    assert {name: value for name, (value, _) in asked.items()} == pytest.approx(
        {"ttft_ms": 0.6, "cost_per_1k": 0.002, "min_quality": 0.5}
    )


@pytest.mark.parametrize(
    ("outcome", "in_time", "cost", "quality"),
    [
        (answered(NER, "small"), True, True, True),
        (answered(NER, "small", ttft_s=0.6), True, True, True),  # on the limit
        (answered(NER, "small", ttft_s=0.61), False, True, True),
        (answered(NER, "large"), True, False, True),  # 1,000 × (90 × 5e-6 + 10 × 2e-5) ÷ 100 = $0.0065 per 1,000
        (answered(REASONING, "large"), True, True, True),
        (answered(REASONING, "medium"), True, True, False),  # 0.80 < 0.9
        (answered(NER._replace(ask=WHOLE, e2e_s=0.4), "small"), True, True, True),  # a whole answer, after 0.4 s
        (answered(NER._replace(ask=WHOLE, e2e_s=0.4), "small", ttft_s=0.11), False, True, True),
    ],
)
def test_a_contract_is_kept_where_each_of_its_parts_is(
    outcome: Outcome, *, in_time: bool, cost: bool, quality: bool
) -> None:
    verdict = judge(outcome)
    assert (verdict.in_time, verdict.cost, verdict.quality) == (in_time, cost, quality)
    assert verdict.kept == (in_time and cost and quality)


def test_an_answers_cost_is_prices_times_the_tokens_that_were_reported() -> None:
    assert judge(answered(NER, "large")).cost_usd == pytest.approx(0.00065)  # 90 × 5e-6 + 10 × 2e-5


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(NER, error="HTTP 500"),
        answered(NER, "small")._replace(error="broken stream"),
        answered(NER, "small")._replace(ttft_s=None),  # no content came
        answered(NER, "small")._replace(output_tokens=None),  # nobody said what it cost
        answered(NER, "unheard-of"),
    ],
)
def test_a_request_that_failed_or_cannot_be_judged_keeps_nothing(outcome: Outcome) -> None:
    assert judge(outcome) == FAILED


def test_figures_count_failures_in_the_shares_and_leave_them_out_of_cost_and_times() -> None:
    outcomes = [answered(NER, "small", 0.1), answered(NER, "small", 0.7), answered(NER, "large", 0.2), Outcome(NER)]
    found = figures(outcomes)
    assert (found.kept, found.in_time, found.failed) == (0.25, 0.5, 0.25)
    assert found.cost_usd == pytest.approx((2 * 100 * 2e-7 + 0.00065) / 3)
    assert found.cost_per_kept_usd == pytest.approx(2 * 100 * 2e-7 + 0.00065)  # one of the four was kept
    assert (found.ttft_p50_s, found.ttft_p99_s) == (0.2, 0.7)  # of 0.1, 0.2, 0.7
    assert found.answered_by == {"small": 0.5, "large": 0.25}


def test_a_phase_in_which_nobody_answered_has_no_cost_and_no_times() -> None:
    found = figures([Outcome(NER, error="timeout")])
    assert (found.kept, found.failed) == (0.0, 1.0)
    assert math.isnan(found.cost_usd)
    assert math.isnan(found.ttft_p99_s)
    with pytest.raises(ValueError, match="no requests were counted"):
        figures([])


def test_a_quantile_is_a_value_that_was_measured() -> None:
    values = [float(i) for i in range(1, 101)]
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile([3.0], 0.99)) == (50.0, 99.0, 3.0)


def test_a_cell_is_the_value_over_all_requests_with_the_lowest_and_highest_repeat() -> None:
    repeats = [[answered(NER, "small")] * 3, [answered(NER, "large")]]  # 3 of 3 kept, 0 of 1
    assert spreads(repeats)[0] == Spread(0.75, 0.0, 1.0)


def test_bars_hold_us_against_litellms_best_and_the_omniscient_router() -> None:
    peers = {"least-busy": PEER, "simple-shuffle": PEER._replace(kept=0.6, cost_usd=0.0001)}
    found = bars("steady", GOOD, peers, GOOD)
    assert [bar.is_kept for bar in found] == [
        True
    ] * 6  # 98 %, 1 ×, none shut, 18 points, as timely, a third of the cost
    assert "least-busy" in found[3].text
    shut = [Shut("medium", 1.5)]
    slower = bars("steady", GOOD._replace(kept=0.94, in_time=0.98, cost_usd=0.00031), peers, GOOD, shut)
    assert [bar.is_kept for bar in slower] == [False] * 6  # 94 %, 1.55 ×, shut, 14 points, less timely, 0.52 × the cost
    assert len(bars("burst", GOOD, {}, GOOD)) == 3  # without a peer: only what is asked of us alone


def test_of_mixed_traffic_contracts_count_where_the_omniscient_router_keeps_them_and_no_request_may_be_lost() -> None:
    played = {OMNISCIENT: [answered(NER, "small"), answered(NER, "large")], OURS: [Outcome(NER), Outcome(NER)]}
    assert {name: len(outcomes) for name, outcomes in where_possible(played).items()} == {OMNISCIENT: 1, OURS: 1}
    peers = {"least-busy": PEER._replace(failed=0.02)}
    good = bars("mixed", GOOD._replace(failed=0.02), peers, GOOD._replace(kept=1.0))
    assert [bar.is_kept for bar in good] == [True] * 6  # 98 % of it, 1 ×, none shut, ahead, as timely, as many lost
    worse = bars("mixed", GOOD._replace(failed=0.03, cost_usd=0.00026), peers, GOOD, [Shut("27b", 1.1)])
    assert [bar.is_kept for bar in worse] == [True, False, False, True, True, False]


def test_the_omniscient_router_takes_the_cheapest_that_keeps_the_contract() -> None:
    ner, reasoning = route([NER, REASONING], STEADY, seconds=10)
    assert (ner.deployment, reasoning.deployment) == ("small", "large")
    # an unloaded small: 80 ms, 1 token × 100 µs
    assert ner.ttft_s == pytest.approx(0.0801)


def test_the_omniscient_router_sees_queues_slowdowns_and_outages() -> None:
    crowd = [NER] * 12  # small has 2 slots: not all of them get a first token within 0.6 s there
    assert {outcome.deployment for outcome in route(crowd, STEADY, seconds=10)} == {"small", "medium"}
    assert route([NER._replace(at_s=5.0)], OUTAGE, seconds=10)[0].deployment == "medium"
    summary = Arrival(5.0, BY_CATEGORY["summarization"], "x" * 800)  # medium: 6 × (120 + 200 × 0.15) = 900 ms > 800
    assert route([summary], STEADY, seconds=10)[0].deployment == "medium"
    assert route([summary], SLOWDOWN, seconds=10)[0].deployment == "hosted"


def test_whoever_sends_all_to_the_large_one_pays_for_it_and_has_nobody_else_when_it_fails() -> None:
    (outcome,) = route([NER], STEADY, 10, DEPLOYMENTS[-1:])
    assert (outcome.deployment, judge(outcome).in_time, judge(outcome).cost) == ("large", True, False)
    fails = next(phase for phase in PHASES if (phase.name, phase.victim) == ("outage", "large"))
    assert [one.error for one in route([NER._replace(at_s=5.0)], fails, 10, DEPLOYMENTS[-1:])] == ["nobody answers"]


def test_what_settles_is_routed_but_not_counted() -> None:
    assert len(route([NER._replace(at_s=-1.0), NER], STEADY, seconds=10)) == 1


def test_every_class_can_be_served_within_its_contract_where_nothing_fails() -> None:
    found = figures(route(arrivals(STEADY, Plan(4, 60), "0"), STEADY, 60))
    assert found.kept == 1.0
    assert set(found.answered_by) == {"small", "medium", "large"}  # hosted is what there is when medium is slow


def test_the_omniscient_router_knows_lengths_limits_and_who_would_refuse() -> None:
    asked = arrivals(MIXED, Plan(4, 60), "0")
    kinds = Counter((arrival.ask.route, arrival.ask.stream, arrival.ask.tools > 0) for arrival in asked)
    assert len(kinds) == 12  # three routes, streamed and whole, with tools and without
    assert all(arrival.ask.fault is None and arrival.ask.leaves_after_s is None for arrival in asked if arrival.counted)
    outcomes = route(asked, MIXED, 60)
    assert figures(outcomes).kept > 0.9
    limited = sum(outcome.deployment == "8b-limited" for outcome in outcomes)
    assert limited <= 5 + (60 + MIXED.settle_s) / 2  # a burst of 5, and 30 a minute
    for outcome in outcomes:
        if outcome.deployment is not None:
            assert outcome.output_tokens == outcome.arrival.output_tokens(BY_NAME[outcome.deployment])
    (long,) = route([NER._replace(prompt="x" * 4 * 8_192)], MIXED, 60)
    assert long.deployment not in ("8b", "8b-limited")  # a window of 8,192
    (wrong,) = route([NER._replace(ask=WHOLE._replace(fault="policy"))], MIXED, 60) or [Outcome(NER)]
    assert wrong.deployment is None


def test_the_documents_differ_in_the_strategy_alone_and_ours_parses() -> None:
    bases = {deployment.name: "http://127.0.0.1:9/v1" for deployment in EVERYBODY}
    documents = {strategy: document(strategy, bases) for strategy in STRATEGIES}
    for strategy in PEERS:
        assert documents[strategy]["model_list"] == documents[OURS]["model_list"]
        assert "callback_settings" not in documents[strategy]
        assert documents[strategy]["router_settings"] == {
            "routing_strategy": strategy,
            "num_retries": 2,
            "enable_pre_call_checks": True,
        }
    settings = parse_settings(documents[OURS], {})
    assert [one.facts.deployment_id for one in settings.deployments] == [one.name for one in EVERYBODY]
    assert [one.facts.quality_for("ner") for one in settings.deployments] == [one.quality for one in EVERYBODY]
    assert settings.plugin.groups.keys() == FLEETS.keys()


def test_every_endpoint_slows_down_and_fails_in_its_turn_and_they_count_together() -> None:
    assert Counter(phase.name for phase in PHASES) == {
        "steady": 1,
        "burst": 1,
        "slowdown": 4,
        "outage": 4,
        "stall": 1,
        "mixed": 1,
        "credit": 3,
        "verbose": 1,
    }
    assert all({event.deployment for event in phase.events} == {phase.victim} for phase in PHASES if phase.events)
    first, second = ([(phase.name, phase.victim) for phase in dealt(number, 2)] for number in range(2))
    assert first[:4] == [("steady", ""), ("burst", ""), ("slowdown", "small"), ("slowdown", "medium")]
    assert second[2:4] == [("slowdown", "hosted"), ("slowdown", "large")]
    assert len(dealt(0, 9)) == len(PHASES)
    kept, broken = [answered(NER, "small")], [answered(NER, "large")]
    other = next(phase for phase in PHASES if (phase.name, phase.victim) == ("slowdown", "large"))
    played = [{SLOWDOWN: {OURS: kept}, other: {OURS: broken}}, {SLOWDOWN: {OURS: kept}, other: {OURS: kept}}]
    assert together(played) == {"slowdown": {OURS: [kept + broken, kept + kept]}}
    assert [list(column.cells) for column in by_victim(played).columns] == [
        [OURS],
        ["100, 0.020"],  # 100 tokens at 2e-7
        ["50, 0.335"],  # that and 0.65
    ]


def test_tables_bars_and_plot_show_every_strategy(tmp_path: Path) -> None:
    row = [[answered(NER, "small"), answered(REASONING, "large")]]
    results = {STEADY.name: {OMNISCIENT: row, ALL_TO_LARGE: row, "least-busy": row, OURS: row}}
    assert [table.row_count for table in tables(results)] == [4]
    assert [aim.text.partition(":")[0] for aim in verdicts(results, {})] == ["steady"] * 6
    assert verdicts({STEADY.name: {OMNISCIENT: row, "least-busy": row}}, {}) == []
    draw(results, tmp_path / "plot.svg")
    draw(results, tmp_path / "again.svg")
    assert (tmp_path / "plot.svg").read_bytes() == (tmp_path / "again.svg").read_bytes()


@pytest.mark.parametrize(
    ("events", "ttft_s", "tokens"),
    [
        (
            [
                {"choices": [{"delta": {"role": "assistant", "content": ""}}]},
                {"choices": [{"delta": {"content": "x"}}]},
                {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}},
            ],
            1.0,
            (7, 3),
        ),
        (
            [
                {"type": "message_start", "message": {"usage": {"input_tokens": 7, "output_tokens": 0}}},
                {"type": "content_block_start", "content_block": {"type": "text", "text": ""}},
                {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x"}},
                {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
            ],
            2.0,
            (7, 3),
        ),
        (
            [
                {"type": "response.created", "response": {"usage": None}},
                {"type": "response.output_text.delta", "delta": "x"},
                {"type": "response.completed", "response": {"usage": {"input_tokens": 7, "output_tokens": 3}}},
            ],
            1.0,
            (7, 3),
        ),
    ],
    ids=["chat", "messages", "responses"],
)
def test_the_first_token_is_the_first_text_on_every_route(
    events: list[dict[str, object]], ttft_s: float, tokens: tuple[int, int]
) -> None:
    reading = Reading()
    for position, event in enumerate(events):
        reading.event(event, float(position))
    assert (reading.ttft_s, (reading.prompt_tokens, reading.output_tokens)) == (ttft_s, tokens)
    assert not reading.is_broken
    reading.event({"error": {"message": "gone"}}, 9.0)
    assert reading.is_broken


def test_whom_we_shut_without_a_cause_is_told_by_what_we_publish_and_what_the_endpoint_was_asked() -> None:
    closed, opened = [0, False, None, 1.0, None], [3, True, 5.0, 1.0, None]
    trusted, denied = [0, False, False, None, 1.0, None], [3, True, True, 5.0, 1.0, None]
    exports: list[Mapping[str, object]] = [
        {"a": {"circuit": closed, "account": trusted}, "b": {"circuit": opened, "account": trusted}},
        {"a": {"circuit": closed, "account": denied}, ".conversations": []},
    ]
    assert shut_by(exports) == {"a", "b"}
    assert has_failed({"fault": {"fault": "ok"}, "seen": [{"status": 200}, {"status": 429}]})
    assert has_failed({"fault": {"fault": "status"}, "seen": []})
    assert not has_failed({"fault": {"fault": "ok"}, "seen": [{"status": 400}, {"status": None}]})  # a wrong request
    watch = Watch("redis://nowhere", {})
    for now_s, names in ((1.0, {"a"}), (1.5, {"a"}), (2.5, set())):
        watch.look(names, now_s)
    assert watch.ended() == [Shut("a", 1.5)]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--strategies", "least-busy,fastest"), "'fastest', expected some of simple-shuffle"),
        (("--phases", "steady,stormy"), "'stormy', expected some of steady"),
    ],
)
def test_an_unknown_strategy_or_phase_is_refused_by_name(option: tuple[str, str], message: str) -> None:
    result = CliRunner().invoke(app, option)
    assert result.exit_code == 2
    assert message in result.output
