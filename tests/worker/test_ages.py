"""Evidence has an age and lapses; newer and live evidence outweighs it; trials reach what it excluded."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from dataclasses import replace

import pytest

from slo_router.contract.ages import (
    ANSWER_FAULT_LASTS_S,
    DAY_S,
    ERROR_RATE_LASTS_S,
    FIT_LASTS_S,
    HANDFUL,
    LENGTH_HALF_LIFE_S,
    MEASURED_LASTS_S,
    explains,
)
from slo_router.contract.metrics_hash import read_metrics, write_metrics
from slo_router.contract.model import Facts, LatencyFit, Metrics, Snapshot
from slo_router.contract.settings.config import LogSettings, PluginSettings
from slo_router.contract.settings.deployments import ManagedDeployment
from slo_router.contract.settings.group import GroupSettings, SloSettings
from slo_router.decision.explain import reason
from slo_router.decision.known import findings, prior
from slo_router.live.live import Live
from slo_router.live.probes import CHECK_S, Health, probe_ended, probes_due
from slo_router.request.slo import SloInputs
from slo_router.worker.records import build_record, ended_by_itself
from slo_router.worker.snapshot import MetricsStore, make_snapshot
from slo_router.worker.strategy import Strategy
from slo_router.worker.tasks.turns import at_once
from slo_router.worker.trace import Trace
from tests.shared.builders import NOW_S, wire

CHEAP = Facts("cheap", "m/cheap", input_usd_per_token=1e-6, output_usd_per_token=1e-6)
DEAR = Facts("dear", "m/dear", input_usd_per_token=4e-6, output_usd_per_token=4e-6)
CATEGORIES = ("ner", "chat")
FAST = Metrics(NOW_S, 0.05, tpot_s=0.01, error_rate=0.0)


@pytest.fixture(autouse=True)
def _time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of requests take seconds on a busy machine, and a circuit opens for two."""
    now_s = time.time()
    monkeypatch.setattr(time, "time", lambda: now_s)


def ago(row: Metrics, age_s: float) -> Metrics:
    """The row as if it had been measured so long before now."""
    return row._replace(measured_at_s=time.time() - age_s)


class Worker:
    """One worker with two deployments; `cheap` was measured as `row` says. Health checks are told by the test."""

    def __init__(self, row: Metrics, trial_share: float = 0.2, *, asks: bool = True) -> None:
        group = GroupSettings(trial_share=trial_share, slo=SloSettings(ttft_ms=500))
        self.strategy = Strategy(PluginSettings(groups={"smart": group}, log=LogSettings()), MetricsStore(""))
        self.strategy._rng = random.Random(12)
        self.strategy.know([ManagedDeployment("smart", CHEAP), ManagedDeployment("smart", DEAR)])
        self.live = self.strategy.live
        if asks:
            self.live.can_ask = lambda _: True
        rows = {"cheap": dict.fromkeys(CATEGORIES, row), "dear": dict.fromkeys(CATEGORIES, ago(FAST, 60))}
        self.strategy.store.snapshot = make_snapshot(rows, time.time())
        self.strategy.absorb(())

    def check(self, health: Health) -> bool:
        """Makes the health check that is due; False where none is."""
        now_s = time.time()
        due = probes_due(self.live.states, now_s)
        for name in due:
            probe_ended(self.live.states, name, now_s, now_s, health)
        return bool(due)

    def ask(self, category: str = "chat", *, fails: bool = False, ends: str = "stop") -> str:
        """Sends one request, and answers it."""
        trace = Trace("acompletion", time.time())
        self.strategy.read_request("smart", trace, SloInputs(headers={"x-slo-category": category}))
        name = self.strategy.choose(
            "smart", {"messages": [{"role": "user", "content": "Hi."}]}, ["cheap", "dear"], trace
        )
        assert name is not None
        assert trace.decision is not None
        self.reason = reason(trace.decision)
        self.strategy.sent(trace, name)
        is_error = fails and name == "cheap"
        landing = self.strategy.finish(trace, "error" if is_error else "success")
        if not is_error:
            payload = {"status": "success", "response": {"choices": [{"finish_reason": ends}]}}
            record = build_record(payload, trace)
            self.strategy.learn(trace, landing, record, is_whole=ended_by_itself(payload))
        return name

    def counted(self, requests: int = 400, **how: object) -> Counter[str]:
        return Counter(self.ask(**how) for _ in range(requests))  # type: ignore[arg-type]


FAILING = FAST._replace(error_rate=1.0)


# --- an error rate


def test_an_error_rate_excludes_until_it_lapses() -> None:
    assert Worker(ago(FAILING, ERROR_RATE_LASTS_S - 60), trial_share=0.0).counted() == {"dear": 400}
    assert Worker(ago(FAILING, ERROR_RATE_LASTS_S + 1), trial_share=0.0).ask() == "cheap"


def test_what_lapses_lapses_while_redis_is_away_too() -> None:
    worker = Worker(ago(FAILING, ERROR_RATE_LASTS_S - 60), trial_share=0.0)
    store, read_at_s = worker.strategy.store, worker.strategy.store.snapshot.read_at_s
    store.lapse(time.time())
    assert worker.ask() == "dear"
    store.lapse(time.time() + 61)
    assert (worker.ask(), store.snapshot.read_at_s) == ("cheap", read_at_s)


def test_a_handful_of_live_answers_outweighs_an_error_rate_and_trials_bring_them() -> None:
    worker = Worker(ago(FAILING, 3_600))
    assert worker.counted() == {"dear": 400}  # nobody knows yet whether it answers
    assert worker.check("answers")
    assert not worker.check("answers")
    names = [worker.ask() for _ in range(400)]
    tries = [at for at, name in enumerate(names) if name == "cheap"]
    assert tries[HANDFUL - 1] < 100
    assert set(names[tries[HANDFUL - 1] :]) == {"cheap"}
    assert worker.reason == "cheapest of 2 that meet the SLO"


def test_a_trial_says_that_it_is_one() -> None:
    worker = Worker(ago(FAILING, 3_600), trial_share=1.0)
    worker.check("answers")
    assert (worker.ask(), worker.reason) == (
        "cheap",
        "on trial: what its benchmark found may be over (error_rate)",
    )


def test_what_fails_still_is_asked_each_minute_and_costs_no_request() -> None:
    worker = Worker(ago(FAILING, 3_600), trial_share=1.0)
    assert worker.check("fails")
    assert worker.counted() == {"dear": 400}
    now_s = time.time()
    assert probes_due(worker.live.states, now_s + CHECK_S - 1) == []
    assert probes_due(worker.live.states, now_s + CHECK_S + 1) == ["cheap"]


def test_where_nobody_can_ask_a_request_finds_out_and_three_failures_shut_the_circuit() -> None:
    worker, now_s = Worker(ago(FAILING, 3_600), trial_share=0.5, asks=False), time.time()
    worker.strategy._clock = lambda: now_s  # a second later the circuit lets one more request pass
    assert worker.counted(fails=True)["cheap"] == 3
    unclear = Worker(ago(FAILING, 3_600), trial_share=0.5)
    unclear.check("unclear")
    assert unclear.ask() in {"cheap", "dear"}
    assert unclear.counted()["cheap"] > 300


def test_a_flaky_one_stays_excluded_for_its_live_failures_bear_it_out() -> None:
    worker = Worker(ago(FAILING, 3_600)._replace(error_rate=0.7))
    worker.check("answers")
    names = [worker.ask(fails=bool(number % 3)) for number in range(600)]
    assert names[-200:].count("cheap") < 100  # two of three of its requests fail


def test_live_answers_in_one_category_say_nothing_of_another_that_was_measured() -> None:
    worker = Worker(ago(FAILING, 3_600))
    worker.check("answers")
    worker.counted(category="chat")
    worker.strategy.adopt({"smart": GroupSettings(trial_share=0.0, slo=SloSettings(ttft_ms=500))}, "cafe0123")
    assert worker.ask("chat") == "cheap"
    assert worker.ask("ner") == "dear"
    assert worker.ask("code") == "dear"  # never measured: the others' findings stand for it


def test_what_one_worker_saw_counts_for_the_others() -> None:
    one, other = Worker(row := ago(FAILING, 3_600)), Worker(row, trial_share=0.0)
    one.check("answers")
    one.counted()
    text = at_once(one.strategy.export())
    other.strategy.absorb([wire(text)])
    assert other.ask() == "cheap"
    for nonsense in ("x", [[1, 2]], [["errors", "chat", -1, 1, 1]], [["errors", "chat", 1e99, 1, 1]], {"a": 1}):
        other.strategy.absorb([wire({"cheap": {**json.loads(text)["cheap"], "proofs": nonsense}})])
        assert other.ask() == "dear"


def test_a_newer_finding_begins_anew() -> None:
    worker = Worker(ago(FAILING, 3_600))
    worker.check("answers")
    worker.counted()
    assert worker.ask() == "cheap"
    rows = {"cheap": dict.fromkeys(CATEGORIES, ago(FAILING, 10)), "dear": {"ner": ago(FAST, 60)}}
    worker.strategy.store.snapshot = make_snapshot(rows, time.time())
    worker.strategy.absorb(())
    assert worker.counted() == {"dear": 400}
    assert worker.check("answers")


def test_an_error_rate_is_as_old_as_it_was_written_apart_from_the_latencies() -> None:
    """The agent leaves the last good latencies with their timestamp where nothing was answered."""
    row = FAST._replace(measured_at_s=NOW_S - 3 * DAY_S, error_rate=1.0, error_at_s=NOW_S - 60)
    read, bad = read_metrics(write_metrics(row), NOW_S)
    assert (read, bad) == (row, [])
    assert make_snapshot({"a": {"ner": row}}, NOW_S).measured["a"]["ner"].error_rate == 1.0
    later = row._replace(measured_at_s=NOW_S - 10)  # another program, which knows one timestamp
    assert later.failed_at_s == NOW_S - 10
    read, bad = read_metrics({**write_metrics(row), "error_timestamp": str(NOW_S + 60)}, NOW_S)
    assert read is not None
    assert (read.failed_at_s, [one.field for one in bad]) == (NOW_S - 3 * DAY_S, ["error_timestamp"])


# --- faulty answers


FAULTY = FAST._replace(answer_fault="looping 9/10")


def test_an_answer_fault_excludes_until_it_lapses() -> None:
    assert Worker(ago(FAULTY, ANSWER_FAULT_LASTS_S - 60), trial_share=0.0).counted() == {"dear": 400}
    assert Worker(ago(FAULTY, ANSWER_FAULT_LASTS_S + 1), trial_share=0.0).ask() == "cheap"
    found = FAULTY._replace(fault_at_s=time.time() - ANSWER_FAULT_LASTS_S - 1)  # a run since could not judge
    assert Worker(ago(found, 60), trial_share=0.0).ask() == "cheap"


def test_answers_that_end_by_themselves_outweigh_a_fault_that_shows_in_the_end() -> None:
    worker = Worker(ago(FAULTY, 3_600))
    names = [worker.ask() for _ in range(400)]
    tries = [at for at, name in enumerate(names) if name == "cheap"]
    assert tries[HANDFUL - 1] < 100
    assert set(names[tries[HANDFUL - 1] :]) == {"cheap"}


def test_answers_that_run_to_their_limit_bear_it_out() -> None:
    share = Worker(ago(FAULTY, 3_600)).counted(1_000, ends="length")["cheap"] / 1_000
    assert share == pytest.approx(0.2, abs=0.05)  # the trials, and no more


@pytest.mark.parametrize("fault", ["special_token 9/10", "gibberish 9/10", "broken_json 9/10"])
def test_a_fault_that_no_end_shows_waits_for_the_agent(fault: str) -> None:
    assert Worker(ago(FAULTY._replace(answer_fault=fault), 60), trial_share=1.0).counted() == {"dear": 400}


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ({"choices": [{"finish_reason": "stop"}]}, True),
        ({"choices": [{"finish_reason": "stop"}, {"finish_reason": "length"}]}, False),
        ({"choices": [{"finish_reason": None}]}, None),
        ({"choices": []}, None),
        ({"status": "completed"}, True),
        ({"status": "incomplete"}, False),
        ({"stop_reason": "end_turn"}, True),
        ({"stop_reason": "max_tokens"}, False),
        ("redacted-by-litellm", None),
        (None, None),
    ],
)
def test_how_an_answer_ended(response: object, expected: bool | None) -> None:
    assert ended_by_itself({"status": "success", "response": response}) is expected
    assert ended_by_itself({"status": "failure", "response": response}) is None


# --- latencies


def test_who_was_slow_more_than_a_day_ago_is_tried_again() -> None:
    slow = FAST._replace(ttft_s=5.0)
    assert Worker(ago(slow, MEASURED_LASTS_S - 60)).counted() == {"dear": 400}
    assert Worker(ago(slow, MEASURED_LASTS_S + 60)).counted()["cheap"] == pytest.approx(80, abs=30)


SWEPT = LatencyFit(
    NOW_S, 0.05, 1e-4, 0.002, 0.08, 16.0, 0.010, 0.0005, 1.2, 1.1, 0.04, 0.03, 0.99, 0.98, 300, 128, 4_096, 40
)  # fmt: skip


@pytest.mark.parametrize(
    ("found", "agrees"),
    [
        (Metrics(0.0, 0.08, tpot_s=0.012), True),
        (Metrics(0.0, 0.40), True),  # on long prompts, as far as is known
        (Metrics(0.0, 0.40, prompt_tokens_mean=200.0), False),  # 0.07 s were expected
        (Metrics(0.0, 0.13, prompt_tokens_mean=200.0), True),
        (Metrics(0.0, 1.0), False),
        (Metrics(0.0, 0.02), False),  # faster, too
        (Metrics(0.0, tpot_s=0.1), False),
        (Metrics(0.0, quality_score=0.9), True),  # it says nothing of latencies
        (Metrics(0.0, ttft_p50_s=1.0), False),
    ],
)
def test_a_newer_benchmark_that_a_sweep_cannot_explain_ends_it(found: Metrics, agrees: bool) -> None:
    assert explains(SWEPT, found) is agrees
    later, before = found._replace(measured_at_s=NOW_S + 60), found._replace(measured_at_s=NOW_S - 60)
    assert (prior([later._replace(fit=SWEPT)]).fit is not None) is agrees
    assert prior([before._replace(fit=SWEPT)]).fit == SWEPT  # the sweep is newer
    long_after = found._replace(measured_at_s=NOW_S + FIT_LASTS_S + 1)
    assert prior([long_after._replace(fit=SWEPT)]).fit is None


# --- lengths


def test_who_wrote_three_long_answers_is_asked_again_after_some_days() -> None:
    worker = Worker(ago(FAST, 60), trial_share=0.0)
    strategy, now_s = worker.strategy, time.time()
    for facts, tokens, count in ((CHEAP, 9_000, 3), (replace(DEAR, model="m/dear"), 100, 60)):
        for _ in range(count):
            trace = Trace("acompletion", now_s)
            strategy.read_request("smart", trace, SloInputs(headers={"x-slo-category": "chat"}))
            strategy.choose("smart", {"messages": [{"role": "user", "content": "Hi."}]}, [facts.deployment_id], trace)
            strategy.sent(trace, facts.deployment_id)
            landing = strategy.finish(trace, "success")
            usage = {"prompt_tokens": 10, "completion_tokens": tokens, "endTime": now_s}
            strategy.learn(trace, landing, build_record({"status": "success", **usage}, trace))
    strategy.absorb(())
    assert worker.ask() == "dear"  # four times the price, a hundredth of the words
    strategy._clock = lambda: now_s + 8 * LENGTH_HALF_LIFE_S
    strategy.absorb(())
    assert worker.ask() == "cheap"


# --- small things


def test_findings_are_looked_for_only_where_something_was_found() -> None:
    assert findings("a", CATEGORIES, Snapshot(), 0.5) == {}
    live = Live()
    live.find("a", {})
    assert probes_due(live.states, NOW_S) == []
