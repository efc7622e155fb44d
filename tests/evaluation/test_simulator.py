"""The simulator: each request ends exactly once, a lone endpoint follows its formula, a seed repeats, bounds hold."""

import gzip
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from evaluation.shared.traffic import Ask, Habits, RateLimit, mixed
from evaluation.simulator import tally
from evaluation.simulator.clairvoyant import Clairvoyant, Planning, Present, foreseen_ttft_s
from evaluation.simulator.endpoint import Attempt, Endpoint, Fault, FaultKind, Outcome, Spec
from evaluation.simulator.engine import Schedule, Served, Simulation, Watch
from evaluation.simulator.ours import Ours
from evaluation.simulator.policies import BASELINES, LatencyBased, Named, Random
from evaluation.simulator.policy import Call, Ended
from evaluation.simulator.scenarios import BY_NAME, SCENARIOS, SPECS, benchmark
from evaluation.simulator.study import simulate
from evaluation.simulator.workload import Contract, Noise, Rate, Request, generate, read_trace
from slo_router.contract.settings.group import RescueSettings
from slo_router.latency.curve import ttft_s

STILL = Noise(1.0, 1.0, 1.0)
LONE = Spec("lone", 0.1, 0.001, 0.01, 2, 1e-6, 2e-6, {"chat": 0.9}, tpot_growth=0.5)
MIXED = next(scenario for scenario in SCENARIOS if scenario.name == "mixed")


def request(number: int, at_s: float, prompt_tokens: int = 100, output_tokens: int = 11, **asked: object) -> Request:
    ask = Ask("chat", True, prompt_tokens, output_tokens)._replace(**asked)  # type: ignore[arg-type]
    contract = Contract(1.0, 1.0, 0.5)
    return Request(number, at_s, "chat", ask, 4 * prompt_tokens, (output_tokens,), contract, (STILL,))


def served_alone(requests: list[Request], fault: Fault | None = None, spec: Spec = LONE) -> dict[int, Served]:
    """What became of each request at a lone endpoint."""
    simulation = Simulation([spec], {} if fault is None else {"lone": fault})
    run = simulation.run(Random([spec], random.Random(0)), requests)
    return {entry.request.number: entry for entry in run.served}


def run_alone(requests: list[Request], fault: Fault | None = None) -> dict[int, tuple[float | None, float]]:
    """TTFT and end of each request at the lone endpoint."""
    return {number: (entry.ttft_s, entry.ended_s) for number, entry in served_alone(requests, fault).items()}


def test_a_lone_request_follows_the_formula() -> None:
    # TTFT 0.1 + 100 × 0.001 = 0.2; 10 further tokens of 0.01 each: ends at 0.3
    assert run_alone([request(0, 0.0)])[0] == pytest.approx((0.2, 0.3))


def test_prefill_is_serialized_and_decoding_slows_with_the_neighbour() -> None:
    found = run_alone([request(0, 0.0), request(1, 0.0)])
    # The second prompt waits for the first: 0.2 + 0.1 = 0.3. Two running: 0.015 per token. The first decodes from 0.2
    # to 0.35; at 0.3 it has done 6.67 tokens of the clock. From 0.35 the second runs alone: 0.05 / 0.015 = 3.33 done,
    # 6.67 left × 0.01 = 0.0667.
    assert found[0] == pytest.approx((0.2, 0.35))
    assert found[1] == pytest.approx((0.3, 0.35 + 0.0667), abs=1e-4)


def test_the_third_of_two_slots_waits_for_the_first_to_end() -> None:
    # The first ends at 0.35, then 0.1 overhead and 0.1 prefill: first token at 0.55.
    assert run_alone([request(i, 0.0) for i in range(3)])[2][0] == pytest.approx(0.55)


def test_a_slowdown_stretches_what_is_running_already() -> None:
    # Decodes from 0.2; at 0.25 five tokens of ten are done, the rest takes 0.02 each: ends at 0.35.
    assert run_alone([request(0, 0.0)], Fault("slow", 0.25, 9.0, 2.0))[0] == pytest.approx((0.2, 0.35))


@pytest.mark.parametrize("kind", ["error", "hang"])
def test_what_is_not_begun_when_a_fault_comes_fails_or_times_out_and_is_retried(kind: FaultKind) -> None:
    fault = Fault(kind, 0.1, 0.105)
    found = run_alone([request(0, 0.0)], fault)[0]
    # error: at 0.1, tried again at once and refused 0.01 later, then served: 0.11 + 0.2. hang: the timeout is 10 s.
    assert found[0] == pytest.approx({"error": 0.31, "hang": 10.2}[kind])


@pytest.mark.parametrize("count", range(6))
def test_the_clairvoyant_foresees_the_ttft_that_a_queue_will_give(count: int) -> None:
    schedule = Schedule()
    seen: dict[int, float | None] = {}
    endpoint = Endpoint(LONE, schedule.at, 10.0)

    def done(attempt: Attempt, _outcome: Outcome, _now_s: float) -> None:
        seen[attempt.request.number] = attempt.first_token_s

    for i in range(count):
        endpoint.submit(Attempt(request(i, 0.0, 50 + 30 * i), STILL, 5 + 7 * i, 0.0, done), 0.0)
    last = request(count, 0.0)
    foreseen_s = foreseen_ttft_s(endpoint, last, STILL, 0.0)
    endpoint.submit(Attempt(last, STILL, 11, 0.0, done), 0.0)
    schedule.run(lambda: len(seen) <= count)
    assert seen[count] == pytest.approx(foreseen_s)


@pytest.mark.parametrize("kind", ["slow", "error", "hang", "credit"])
@pytest.mark.parametrize("named", BASELINES, ids=lambda named: named.name)
def test_each_request_ends_exactly_once(named: Named, kind: FaultKind) -> None:
    specs = MIXED.specs(0)
    requests = generate(None, Rate(20.0), 30.0, specs, seed=1, draw=mixed)
    fault = Fault(kind, 10.0, 20.0, 6.0)
    served = simulate(named.make(specs, random.Random(0)), specs, {"swift": fault}, requests).served
    assert Counter(entry.request.number for entry in served) == Counter(range(len(requests)))
    assert all(entry.ended_s >= entry.request.at_s for entry in served)
    assert all(entry.ttft_s is not None and entry.ttft_s > 0 for entry in served if entry.outcome == "success")


def test_the_same_seed_gives_the_same_run() -> None:
    specs = MIXED.specs(0)
    first, second = (
        simulate(
            Ours(specs, random.Random(0), benchmark(None, MIXED, 7)),
            specs,
            {"small": Fault("hang", 3.0, 9.0)},
            generate(None, Rate(20.0), 12.0, specs, seed=1, draw=mixed),
        )
        for _ in range(2)
    )
    assert first == second


def test_a_burst_multiplies_the_arrivals_while_it_lasts() -> None:
    requests = generate(None, Rate(20.0, 4.0, 50.0, 100.0), 150.0, SPECS, seed=1)
    counts = Counter(int(entry.at_s // 50) for entry in requests)
    assert counts[1] / counts[0] == pytest.approx(4.0, rel=0.15)
    assert counts[2] / counts[0] == pytest.approx(1.0, rel=0.15)


def test_the_clairvoyant_is_never_dearer_than_ours_where_both_keep_the_contract() -> None:
    requests = [  # so far apart that no choice affects the next
        entry._replace(at_s=3.0 * entry.number, answers=(50,) * len(SPECS))
        for entry in generate(None, Rate(1.0), 20.0, SPECS, seed=1)
    ]
    policy = Ours(SPECS, random.Random(0), benchmark(None, SCENARIOS[0], 7))
    clairvoyant = simulate(Clairvoyant(SPECS, random.Random(0)), SPECS, {}, requests)
    bound = {entry.request.number: entry for entry in clairvoyant.served}
    for entry in simulate(policy, SPECS, {}, requests).served:
        if entry.kept:
            assert bound[entry.request.number].kept
            assert bound[entry.request.number].cost_usd <= entry.cost_usd


def test_a_server_refuses_what_it_cannot_serve_and_litellm_tries_again_what_it_takes_for_a_failure() -> None:
    wrong, forbidden = request(0, 0.0, fault="parameter"), request(1, 1.0, fault="policy")
    long, fits = request(2, 2.0, max_tokens=101), request(3, 3.0, max_tokens=100)  # 100 + 100 of a window of 200
    small = replace(LONE, context_tokens=200)
    found = served_alone([wrong, forbidden, long, fits], spec=small)
    assert [found[i].outcome for i in range(4)] == ["unclear", "own", "own", "success"]
    assert [len(found[i].choices) for i in range(4)] == [1, 1, 1, 1]
    limited = replace(LONE, habits=Habits(limit=RateLimit(60, 1)))
    second = served_alone([request(0, 0.0), request(1, 0.1)], spec=limited)[1]
    assert (second.outcome, len(second.choices)) == (
        "limited",
        3,
    )  # a lone endpoint is tried again despite its cooldown
    for refusal, tries in (("unclear", 1), ("denied", 1), ("forbidden", 3)):
        broke = Fault("credit", 0.0, 9.0, refusal=refusal)  # type: ignore[arg-type]  # literals
        one = served_alone([request(0, 0.5)], broke)[0]
        assert (one.outcome, len(one.choices)) == (refusal, tries)


def test_a_client_that_hangs_up_frees_its_slot() -> None:
    # Both slots are taken until the first client leaves at 0.25: the third has its first token 0.1 + 0.1 later.
    requests = [request(0, 0.0, leaves_after_s=0.25), request(1, 0.0, 100, 500), request(2, 0.0)]
    found = served_alone(requests)
    assert (found[0].outcome, found[0].ended_s) == ("left", 0.25)
    assert found[2].ttft_s == pytest.approx(0.45)


def test_a_whole_answer_is_judged_by_its_end_and_a_stream_by_its_first_token() -> None:
    stream, whole = request(0, 0.0), request(1, 5.0, stream=False)
    limit = Contract(0.25, 1.0, 0.5)  # the first token comes after 0.2 s, the last after 0.3
    found = served_alone([one._replace(contract=limit) for one in (stream, whole)])
    assert [found[i].in_time for i in range(2)] == [True, False]


def test_a_deployment_is_shut_without_a_cause_where_it_failed_nobody() -> None:
    schedule = Schedule()
    blameless, faulty = (Endpoint(LONE, schedule.at, 10.0) for _ in range(2))
    faulty.failed_at_s = 4.0
    watch = Watch([blameless, faulty])
    for now_s, shut in ((5.0, {0, 1}), (6.0, {0, 1}), (7.0, set())):
        watch.look(shut, now_s)
    assert [(one.deployment, one.lasted_s) for one in watch.found] == [(0, 2.0)]


def test_litellms_latency_strategy_stampedes_to_the_unknown_and_forgets_errors() -> None:
    policy = LatencyBased(SPECS, random.Random(0))
    call = Call(request(0, 0.0)._replace(answers=(11,) * 4), range(4))
    for i, first_s in enumerate([0.2, 0.3, 0.1]):
        policy.ended(Ended(call.request, i, "success", first_s, 1.0), 0.0)
    assert {policy.choose(call, 0.0).deployment for _ in range(20)} == {3}  # unknown counts as 0
    policy.ended(Ended(call.request, 3, "success", 0.4, 1.0), 0.0)
    policy.ended(Ended(call.request, 2, "timeout", None, 10.0), 0.0)
    assert policy.choose(call, 0.0).deployment == 2  # the timeout is in the list that streams do not read


def test_a_trace_that_is_not_one_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv.gz"
    path.write_bytes(gzip.compress(b"t_s,prompt_tokens\n0,1\n"))
    with pytest.raises(ValueError, match=r"trace\.csv\.gz: 'output_tokens', expected gzipped CSV"):
        read_trace(path)
    assert read_trace(tmp_path / "absent.csv.gz") is None


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    # 1 to 5 of 10 each: mean 0.3, error √(0.025 / 5) = 0.0707; t with 4 degrees of freedom is 2.776
    found = tally.estimate([{"kept": float(k), "possible": 10.0} for k in range(1, 6)], tally.attainment)
    assert found.value == pytest.approx(0.3)
    assert found.half_width == pytest.approx(0.0707 * 2.776, rel=0.02)


def test_misjudged_are_some_of_all_first_decisions_though_few_are_compared() -> None:
    assert tally.misjudged({"misjudged": 2.0, "chosen": 400.0, "decided": 100.0}) == pytest.approx(0.005)


def test_the_calibration_error_is_the_mean_gap_of_the_bins() -> None:
    # 6 promises of 0.95 of which 3 held, 4 of 0.25 of which 1 held: 0.6 × 0.45 + 0.4 × 0 = 0.27
    sums = {"bin9": 6.0, "promised9": 5.7, "observed9": 3.0, "bin2": 4.0, "promised2": 1.0, "observed2": 1.0}
    assert tally.calibration_error(sums) == pytest.approx(0.27)


def test_who_plans_ahead_keeps_a_place_for_those_who_have_no_other() -> None:
    scarce = replace(LONE, slots=1)
    roomy = replace(LONE, name="roomy", slots=8, input_usd_per_token=4e-6, output_usd_per_token=8e-6)
    first, second = (
        request(number, 0.05 * number)._replace(
            answers=(11, 11), noise=(STILL, STILL), contract=Contract(0.3, cost_per_1k_usd, 0.5)
        )
        for number, cost_per_1k_usd in enumerate((1.0, 0.002))
    )
    greedy, planning, present = (
        policy([scarce, roomy], random.Random(0)) for policy in (Clairvoyant, Planning, Present)
    )
    planning.prices = present.prices = (0.01, 0.0)  # type: ignore[attr-defined]
    present.answer_tokens = 11.0  # type: ignore[attr-defined]

    kept = [
        [one.kept for one in simulate(policy, [scarce, roomy], {}, [first, second]).served]
        for policy in (greedy, planning, present)
    ]

    assert [sum(one) for one in kept] == [1, 2, 2]


def test_after_a_sweep_the_plugin_knows_the_queue_before_it_met_one() -> None:
    scenario = BY_NAME["swept-burst"]
    policy = Ours(scenario.specs(0), random.Random(0), benchmark(None, scenario, 1))
    policy.tick(0.0)

    curve = policy.workers[0].live.states["medium"].curve

    assert curve is not None
    assert curve.knee == pytest.approx(20, abs=4)
    assert ttft_s(curve, 500, 30) > 2 * ttft_s(curve, 500, 10)


def test_a_stall_holds_the_first_token_of_a_share_of_the_requests_and_nobody_else() -> None:
    requests = [request(number, 10.0 * number) for number in range(200)]
    ttfts = [
        entry.ttft_s or 0.0
        for entry in served_alone(requests, Fault("stall", 0.0, 9_999.0, 1.0, share=0.2, stall_s=5.0)).values()
    ]
    assert sorted({round(ttft_s, 6) for ttft_s in ttfts}) == [0.2, 5.2]
    assert 20 <= sum(ttft_s > 5 for ttft_s in ttfts) <= 60


def test_a_server_that_starts_gets_faster() -> None:
    found = run_alone([request(number, 10.0 * number) for number in range(11)], Fault("warming", 0.0, 100.0, 3.0))
    assert [found[number][0] for number in (0, 5, 10)] == pytest.approx([0.6, 0.4, 0.2])  # 0.2 where it is warm


def test_the_clairvoyant_foresees_a_stall() -> None:
    schedule = Schedule()
    endpoint = Endpoint(LONE, schedule.at, 10.0, Fault("stall", 0.0, 9.0, share=1.0, stall_s=5.0))
    schedule.run(lambda: schedule.now_s < 0.0 or not endpoint.is_in_trouble)
    assert foreseen_ttft_s(endpoint, request(0, 0.0), STILL, 0.0) == pytest.approx(5.2)


@pytest.mark.parametrize("fault", [Fault("stall", 20.0, 60.0, share=0.03, stall_s=5.0), Fault("hang", 20.0, 60.0)])
def test_rescue_leaves_fewer_waiting_and_stays_within_its_budget(fault: Fault) -> None:
    requests = generate(None, Rate(8.0), 60.0, SPECS, seed=1)
    known = benchmark(None, SCENARIOS[0], 7)
    tallies = []
    for rescue in (None, RescueSettings()):
        policy = Ours(SPECS, random.Random(0), known, rescue)
        run = simulate(policy, SPECS, {"small": fault}, requests)
        tallies.append(tally.tally(run, run.served, 0.0))
    without, with_rescue = tallies
    assert tally.waited(with_rescue) <= 0.5 * tally.waited(without) > 0
    assert tally.extra_calls(with_rescue) <= tally.extra_calls(without) + 0.03 + 4 / len(
        requests
    )  # each worker's budget begins with one call
