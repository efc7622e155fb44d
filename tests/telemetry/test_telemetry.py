"""What happened is counted under bounded labels, and several workers' numbers add up to one scrape.

Every registry here is of its own; in the proxy it is the default one, which LiteLLM serves on /metrics.
"""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Mapping

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from slo_router.contract.model import Assessment, Decision, Facts, Metrics, Outlook, Rejection, Slo, Snapshot
from slo_router.contract.record import RequestRecord, SloRecord
from slo_router.contract.settings.group import GroupSettings, SloSettings
from slo_router.live.circuit import Circuit
from slo_router.live.live import Live
from slo_router.telemetry.telemetry import Telemetry
from tests.shared.builders import NOTHING_KNOWN, NOW_S, REQUEST, assessed
from tests.shared.repository import ROOT

STARTED_S = NOW_S - 100
GROUPS = {"smart": GroupSettings(slo=SloSettings(ttft_ms=750, e2e_ms=9_000))}
FACTS = {
    "small": Facts("small", "m", input_usd_per_token=1e-6, output_usd_per_token=1e-6),
    "large": Facts("large", "m", input_usd_per_token=1e-5, output_usd_per_token=1e-5),
}
SMALL = assessed("small", NOTHING_KNOWN._replace(ttft_s=0.4, cost_usd=0.001, quality=0.7))
LARGE = assessed("large", NOTHING_KNOWN._replace(ttft_s=0.4, cost_usd=0.01, quality=0.9))


class Bench:
    """A telemetry and what a scrape of it says."""

    def __init__(self, label_teams: int = 0, label_keys: int = 0) -> None:
        self.registry = CollectorRegistry()
        self.telemetry = Telemetry(GROUPS, self.registry, STARTED_S, label_teams=label_teams, label_keys=label_keys)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def observe(self, made: RequestRecord, decision: Decision | None = None) -> None:
        self.telemetry.observe("smart", made, decision, FACTS)


def decided(*candidates: Assessment, rejections: tuple[Rejection, ...] = ()) -> Decision:
    """The first candidate is the pick, expected to need 0.2 s to its first token."""
    found = Outlook(0.9, ttft_p50_s=0.2, ttft_p95_s=0.4)
    return Decision("met", candidates[0].deployment_id, REQUEST, Slo(), candidates, rejections, "p", found)


def record(**changed: object) -> RequestRecord:
    """A stream of the small deployment: 1,000 prompt tokens and 500 of the answer, for 0.0015 USD."""
    return RequestRecord.model_validate(
        {
            "ts": NOW_S, "request_id": "r", "call_type": "acompletion", "model_group": "smart", "deployment": "small",
            "model": "m", "category": "ner", "key_hash": "0123456789abcdef", "key_alias": None, "team_id": None,
            "stream": True, "prompt_tokens": 1_000, "completion_tokens": 500, "ttft_ms": 300.0, "tpot_ms": 5.0,
            "e2e_ms": 2_500.0, "cost_usd": 0.0015, "slo": SloRecord(), "slo_met": True, "outcome": "success",
            "attempts": 1, "decision": None, **changed,
        }
    )  # fmt: skip


def test_a_decision_counts_with_its_rejections_by_reason_and_its_time() -> None:
    bench = Bench()
    poor = Rejection("a", "quality", 0.1, 0.5), Rejection("b", "quality", 0.2, 0.5)
    rejections = (*poor, Rejection("b", "circuit", "open", "closed"))
    bench.telemetry.decided("smart", decided(SMALL, LARGE, rejections=rejections), took_s=80e-6)
    labels = {"group": "smart", "deployment": "small", "category": "ner", "decision": "met"}
    assert bench.value("model_routing_decisions_total", **labels) == 1
    assert bench.value("slo_router_rejections_total", group="smart", reason="quality") == 2
    assert bench.value("slo_router_rejections_total", group="smart", reason="circuit") == 1
    assert bench.value("slo_router_decision_seconds_bucket", group="smart", le="5e-05") == 0
    assert bench.value("slo_router_decision_seconds_bucket", group="smart", le="0.0001") == 1


@pytest.mark.parametrize(("met", "label"), [(True, "true"), (False, "false"), (None, "unknown")])
def test_attainment_counts_what_could_not_be_judged_apart(met: bool | None, label: str) -> None:
    bench = Bench()
    bench.observe(record(slo_met=met))
    found = {
        name: bench.value("slo_router_slo_total", group="smart", met=name) for name in ("true", "false", "unknown")
    }
    assert found == {"true": 0, "false": 0, "unknown": 0} | {label: 1}  # from 0 on: a first one is an increase


def test_the_groups_own_limit_is_a_bucket_bound_so_the_share_within_it_is_exact() -> None:
    bench = Bench()
    bench.observe(record(ttft_ms=749.0, e2e_ms=8_999.0))
    bench.observe(record(ttft_ms=751.0, e2e_ms=9_001.0))
    served = {"group": "smart", "deployment": "small"}
    assert bench.value("slo_router_ttft_seconds_bucket", **served, le="0.75") == 1
    assert bench.value("slo_router_e2e_seconds_bucket", **served, le="9.0") == 1
    assert bench.value("slo_router_slo_limit_seconds", group="smart", field="ttft") == 0.75


def test_a_limit_that_is_taken_back_is_never_exceeded() -> None:
    bench = Bench()
    bench.telemetry.configure({"smart": GroupSettings(slo=SloSettings(ttft_ms=500))})
    assert bench.value("slo_router_slo_limit_seconds", group="smart", field="ttft") == 0.5
    assert bench.value("slo_router_slo_limit_seconds", group="smart", field="e2e") == math.inf


def test_what_was_not_measured_is_not_counted_as_fast() -> None:
    bench = Bench()
    bench.observe(record(ttft_ms=None, e2e_ms=80.0, outcome="error", slo_met=False, cost_usd=None))
    assert bench.value("slo_router_requests_total", group="smart", deployment="small", outcome="error") == 1
    for name in ("slo_router_ttft_seconds_count", "slo_router_e2e_seconds_count"):
        assert bench.value(name, group="smart", deployment="small") is None
    assert bench.value("slo_router_cost_usd_total", group="smart", deployment="small") is None


def test_the_baseline_is_priced_with_the_requests_real_tokens() -> None:
    bench = Bench()
    bench.observe(record(), decided(SMALL, LARGE))  # 1,500 tokens × 1e-5 = 0.015 on the large one
    assert bench.value("slo_router_cost_usd_total", group="smart", deployment="small") == 0.0015
    assert bench.value("slo_router_baseline_cost_usd_total", group="smart") == pytest.approx(0.015)
    assert bench.value("slo_router_quality_sum", group="smart", category="ner") == 0.7
    assert bench.value("slo_router_baseline_quality_sum", group="smart", category="ner") == 0.9
    assert bench.value("slo_router_picks_total", group="smart", pick="another") == 1


def test_what_was_billed_is_held_against_what_was_predicted() -> None:
    bench, labels = Bench(), {"group": "smart", "deployment": "small"}
    made = decided(SMALL, LARGE)._replace(cost_interval_usd=(0.0008, 0.0014))
    bench.observe(record(), made)
    bench.observe(record(cost_usd=0.0009), made)
    bench.observe(record(outcome="disconnected"), made)  # it broke off
    bench.observe(record(outcome="error", cost_usd=None), made)
    assert bench.value("slo_router_predicted_cost_usd_total", **labels) == pytest.approx(0.002)
    assert bench.value("slo_router_billed_cost_usd_total", **labels) == pytest.approx(0.0024)
    assert bench.value("slo_router_cost_within_interval_total", **labels, within="true") == 1
    assert bench.value("slo_router_cost_within_interval_total", **labels, within="false") == 1


def test_tokens_are_counted_with_their_cost_and_cached_ones_only_where_the_provider_says_so() -> None:
    bench = Bench()
    bench.observe(record())

    def tokens(kind: str) -> float | None:
        return bench.value("slo_router_tokens_total", group="smart", deployment="small", kind=kind)

    assert [tokens(kind) for kind in ("prompt", "completion", "cached")] == [1_000, 500, None]
    bench.observe(record(cached_tokens=0))
    assert tokens("cached") == 0
    bench.observe(record(cached_tokens=400))
    assert [tokens(kind) for kind in ("prompt", "completion", "cached")] == [3_000, 1_500, 400]
    bench.observe(record(cost_usd=None, deployment="gone", cached_tokens=9))
    assert bench.value("slo_router_tokens_total", group="smart", deployment="other", kind="cached") is None


def test_no_saving_is_claimed_where_the_baseline_served_has_no_price_or_nobody_decided() -> None:
    served = Bench()
    served.observe(record(deployment="large", cost_usd=0.014), decided(LARGE, SMALL))  # a discount: 0.014, not 0.015
    unpriced = Bench()
    unpriced.observe(record(), decided(SMALL, assessed("unpriced", NOTHING_KNOWN._replace(quality=1.0))))
    unrouted = Bench()
    unrouted.observe(record())
    assert served.value("slo_router_baseline_cost_usd_total", group="smart") == 0.014
    assert served.value("slo_router_picks_total", group="smart", pick="baseline") == 1
    assert unpriced.value("slo_router_baseline_cost_usd_total", group="smart") == 0.0015
    assert unrouted.value("slo_router_baseline_cost_usd_total", group="smart") == 0.0015


def test_a_request_without_a_choice_says_nothing_about_the_share_of_the_largest() -> None:
    bench = Bench()
    bench.observe(record(), decided(SMALL))
    found = {pick: bench.value("slo_router_picks_total", group="smart", pick=pick) for pick in ("only", "baseline")}
    assert found == {"only": 1, "baseline": 0}


def test_ttft_is_held_against_the_predicted_median_and_bound() -> None:
    bench = Bench()
    bench.observe(record(ttft_ms=300.0), decided(SMALL, LARGE))  # 0.3 / 0.2 = 1.5 and 0.3 / 0.4 = 0.75
    bench.observe(record(ttft_ms=9_000.0, attempts=2), decided(SMALL, LARGE))  # the failed attempt's time is in it
    name, small = "slo_router_ttft_observed_to_predicted_ratio", {"deployment": "small"}
    assert bench.value(f"{name}_sum", **small, predicted="median") == pytest.approx(1.5)
    assert bench.value(f"{name}_sum", **small, predicted="bound") == pytest.approx(0.75)
    assert bench.value(f"{name}_bucket", **small, predicted="bound", le="1.0") == 1


def test_what_litellm_routed_itself_is_a_passthrough_of_who_served_it() -> None:
    bench = Bench()
    bench.observe(record(category=None))
    bench.observe(record(category=None, deployment="of another group"))
    labels = {"group": "smart", "category": "none", "decision": "passthrough"}
    assert bench.value("model_routing_decisions_total", **labels, deployment="small") == 1
    assert bench.value("model_routing_decisions_total", **labels, deployment="other") == 1


def test_a_decision_in_shadow_is_counted_once_and_claims_no_saving() -> None:
    bench = Bench()
    bench.observe(record(decision={"shadow": True}))  # `decided` counted it
    assert b"model_routing_decisions_total{" not in generate_latest(bench.registry)
    spent = bench.value("slo_router_cost_usd_total", group="smart", deployment="small")
    assert bench.value("slo_router_baseline_cost_usd_total", group="smart") == spent


def test_teams_and_keys_have_no_labels_until_asked_for_and_then_the_rest_is_other() -> None:
    silent, bench = Bench(), Bench(label_teams=2, label_keys=2)
    for team in ("red", "blue", "green", "red", "violet", None):
        silent.observe(record(team_id=team))
        bench.observe(record(team_id=team, key_alias=team))
    assert b'"red"' not in generate_latest(silent.registry)
    found = {t: bench.value("slo_router_team_slo_total", team=t, met="true") for t in ("red", "blue", "other", "none")}
    assert found == {"red": 2, "blue": 1, "other": 2, "none": 1}
    assert bench.value("slo_router_team_cost_usd_total", team="other") == 0.003
    assert bench.value("slo_router_key_slo_total", key="other", met="true") == 3  # a key without an alias is the third
    assert b'"violet"' not in generate_latest(bench.registry)


def test_a_team_that_never_kept_its_slo_has_an_attainment_of_zero() -> None:
    bench = Bench(label_teams=1)
    bench.observe(record(team_id="red", slo_met=False))
    assert bench.value("slo_router_team_slo_total", team="red", met="true") == 0


def test_a_key_without_an_alias_is_named_by_the_beginning_of_its_hash() -> None:
    bench = Bench(label_keys=2)
    bench.observe(record())
    assert bench.value("slo_router_key_slo_total", key="0123456789ab", met="true") == 1


def test_the_state_is_that_of_the_last_refresh() -> None:
    bench, live = Bench(), Live()
    live.dispatched("small", NOW_S)
    live.heard_of_foreign("small", 3, 0.75)
    live.states["small"].circuit = Circuit(failures=3, is_open=True, changed_at_s=NOW_S)
    snapshot = Snapshot({}, {"small": Metrics(NOW_S - 60)}, read_at_s=NOW_S)
    bench.telemetry.refresh(snapshot, live.states, fail_open=2, log_dropped=5)
    bench.telemetry.refresh(snapshot, live.states, fail_open=3, log_dropped=5)
    assert bench.value("slo_router_circuit_open", deployment="small") == 1
    assert bench.value("slo_router_in_flight_requests", deployment="small", source="own") == 1
    assert bench.value("slo_router_in_flight_requests", deployment="small", source="foreign") == 3
    assert bench.value("slo_router_kv_cache_usage_ratio", deployment="small") == 0.75
    assert bench.value("slo_router_snapshot_timestamp_seconds") == NOW_S
    assert bench.value("slo_router_measured_timestamp_seconds", deployment="small") == NOW_S - 60
    assert bench.value("slo_router_fail_open_total") == 3
    assert bench.value("slo_router_log_dropped_total") == 5


def test_a_deployment_that_was_removed_is_neither_open_nor_busy() -> None:
    bench, live = Bench(), Live()
    live.dispatched("small", NOW_S)
    live.states["small"].circuit = Circuit(is_open=True, changed_at_s=NOW_S)
    bench.telemetry.refresh(Snapshot(), live.states)
    bench.telemetry.refresh(Snapshot(), {})
    assert bench.value("slo_router_circuit_open", deployment="small") == 0
    assert bench.value("slo_router_in_flight_requests", deployment="small", source="own") == 0


def test_before_the_first_reading_and_without_redis_the_snapshot_is_not_stale() -> None:
    bench = Bench()
    name = "slo_router_snapshot_timestamp_seconds"
    bench.telemetry.refresh(Snapshot(), {})
    assert bench.value(name) == STARTED_S
    bench.telemetry.refresh(Snapshot(read_at_s=5.0), {})
    assert bench.value(name) == 5.0
    bench.telemetry.refresh(Snapshot(read_at_s=5.0), {}, now_s=NOW_S)
    assert bench.value(name) == NOW_S


def test_a_scrape_of_50_deployments_and_20_teams_stays_under_a_megabyte() -> None:
    """Every series that can be: each deployment in each category, kind and outcome, and names as long as a UUID."""
    bench = Bench(label_teams=20)
    names = [f"7b1c9a52-91a4-4f0e-a9c6-{number:012d}" for number in range(50)]
    facts = {name: Facts(name, "m", input_usd_per_token=1e-6, output_usd_per_token=1e-6) for name in names}
    live = Live()
    for number, name in enumerate(names):
        pick = assessed(name, NOTHING_KNOWN._replace(ttft_s=0.4, quality=0.5))
        live.dispatched(name, NOW_S)
        for category in ("ner", "summarization", "reasoning", "code", "chat", "unsure"):
            decision = decided(pick, LARGE)._replace(features=REQUEST._replace(category=category))
            for kind in ("met", "fallback"):
                bench.telemetry.decided("smart", decision._replace(kind=kind), 1e-4)
            for outcome in ("success", "error", "disconnected", "cache_hit"):
                made = record(deployment=name, outcome=outcome, team_id=f"team-{number % 20}", category=category)
                bench.telemetry.observe("smart", made, decision, facts)
            bench.telemetry.observe("smart", record(deployment=name, category=category), None, facts)
    bench.telemetry.refresh(Snapshot({}, {name: Metrics(NOW_S) for name in names}, NOW_S), live.states)
    exposition = generate_latest(bench.registry)
    assert exposition.count(b"7b1c9a52") > 50 * 70  # so much is there
    assert len(exposition) < 1_000_000


WORKER = """
import sys
from prometheus_client import REGISTRY
from slo_router.live.circuit import Circuit
from slo_router.contract.model import Snapshot
from slo_router.live.live import Live
from slo_router.telemetry.telemetry import Telemetry
from tests.telemetry.test_telemetry import FACTS, GROUPS, LARGE, NOW_S, SMALL, decided, record

requests, is_open, read_at_s = int(sys.argv[1]), sys.argv[2] == "open", float(sys.argv[3])
telemetry, live = Telemetry(GROUPS, REGISTRY, NOW_S, label_teams=1), Live()
for _ in range(requests):
    telemetry.decided("smart", decided(SMALL, LARGE), 1e-4)
    telemetry.observe("smart", record(team_id="red"), decided(SMALL, LARGE), FACTS)
    live.dispatched("small", NOW_S)
live.states["small"].circuit = Circuit(is_open=is_open, changed_at_s=NOW_S)
telemetry.refresh(Snapshot(read_at_s=read_at_s), live.states, fail_open=requests)
"""


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> CollectorRegistry:
    """What LiteLLM's /metrics collects of two workers: 3 requests and a closed circuit, 4 and an open one."""
    directory = tmp_path_factory.mktemp("multiproc")
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(directory), "PATH": ""}
    command = [sys.executable, "-c", WORKER]
    workers = [
        subprocess.Popen([*command, *arguments], env=environment, cwd=ROOT)
        for arguments in (["3", "closed", "100"], ["4", "open", "200"])
    ]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(directory))  # type: ignore[no-untyped-call]
    return registry


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("model_routing_decisions_total", {"deployment": "small", "category": "ner", "decision": "met"}, 7),
        ("slo_router_slo_total", {"met": "true"}, 7),
        ("slo_router_ttft_seconds_count", {"deployment": "small"}, 7),
        ("slo_router_baseline_cost_usd_total", {}, 0.105),  # 7 × 0.015
        ("slo_router_slo_limit_seconds", {"field": "ttft"}, 0.75),  # once, not by worker
    ],
)
def test_workers_add_up(scraped: CollectorRegistry, name: str, labels: Mapping[str, str], expected: float) -> None:
    assert scraped.get_sample_value(name, {"group": "smart", **labels}) == pytest.approx(expected)


def test_of_the_workers_states_the_scrape_shows_the_sum_or_the_worst(scraped: CollectorRegistry) -> None:
    flights = {"deployment": "small", "source": "own"}
    assert scraped.get_sample_value("slo_router_in_flight_requests", flights) == 7
    assert scraped.get_sample_value("slo_router_circuit_open", {"deployment": "small"}) == 1
    assert scraped.get_sample_value("slo_router_snapshot_timestamp_seconds") == 100
    assert scraped.get_sample_value("slo_router_fail_open_total") == 7
    assert scraped.get_sample_value("slo_router_team_slo_total", {"team": "red", "met": "true"}) == 7
