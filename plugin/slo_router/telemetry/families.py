"""The metrics by name: what each counts, in which unit, with which labels.

Several workers write files that LiteLLM's /metrics adds up, so a gauge must say what its values in several workers mean
together: `livesum` for parts of a whole, `livemax` or `livemin` for the worst, `livemostrecent` where all say the same;
and dead workers' gauges must not count. There is no gauge of an age: it would stand still if its writer did. Moments
are exported, and the age is `time() - moment`.

The labels' values come from the configuration, except teams and keys: those are off until asked for, and bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, Literal, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary
from prometheus_client.metrics import MetricWrapperBase

from slo_router.telemetry.baseline import BASELINE

TTFT_BUCKETS_S = (0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0, 3.0, 5.0, 10.0, 30.0)
E2E_BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0, 60.0, 120.0)
COST_BUCKETS_USD = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0)
RATIO_BUCKETS = (0.25, 0.5, 0.8, 1.0, 1.25, 2.0, 5.0)
DECISION_BUCKETS_S = (25e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 5e-3, 25e-3)
MOST_LIMITS = 8  # limits that become bucket bounds; more would swell every scrape

Mode = Literal["livesum", "livemax", "livemin", "livemostrecent"]
M = TypeVar("M", bound=MetricWrapperBase)


class Children(dict[tuple[str, ...], M], Generic[M]):
    """The series of one metric by their label values. Looking one up costs a tenth of `labels()`."""

    def __init__(self, metric: M) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, values: tuple[str, ...]) -> M:
        child = self[values] = self._metric.labels(*values)
        return child


class Families:
    """Every metric, registered once. Limits that are bucket bounds make the share within an SLO exact."""

    def __init__(
        self, registry: CollectorRegistry, ttft_limits_s: Iterable[float] = (), e2e_limits_s: Iterable[float] = ()
    ) -> None:
        self._registry = registry
        self._counters()
        self._cost_and_quality()
        self._latencies(_with_limits(TTFT_BUCKETS_S, ttft_limits_s), _with_limits(E2E_BUCKETS_S, e2e_limits_s))
        self._state()
        self._deployments()

    def _counters(self) -> None:
        self.decisions = self.counter(
            "model_routing_decisions_total",
            "Decisions: one for each attempt, and one for each request that LiteLLM routed itself (passthrough)",
            ("group", "deployment", "category", "decision"),
        )
        self.requests = self.counter(
            "slo_router_requests_total", "Finished requests", ("group", "deployment", "outcome")
        )
        self.slo = self.counter(
            "slo_router_slo_total",
            "Finished requests by whether they kept their SLO; unknown where part of it could not be measured",
            ("group", "met"),
        )
        self.picks = self.counter(
            "slo_router_picks_total",
            f"Finished requests by who served them: the baseline ({BASELINE}), another, or the only one",
            ("group", "pick"),
        )
        self.rejections = self.counter(
            "slo_router_rejections_total", "Candidates that a filter left out of a decision", ("group", "reason")
        )
        self.fail_open = Counter(
            "slo_router_fail_open_total", "Decisions that failed, so that LiteLLM chose", registry=self._registry
        )
        self.unasked = Counter(
            "slo_router_unasked_total",
            "Attempts in managed groups that LiteLLM sent without asking the plugin",
            registry=self._registry,
        )
        self.log_dropped = Counter(
            "slo_router_log_dropped_total", "Request records lost to a full queue", registry=self._registry
        )

        self.job_failures = self.counter(
            "slo_router_job_failures_total", "Rounds of a background job that failed or took too long", ("job",)
        )

    def _cost_and_quality(self) -> None:
        self.cost_usd = self.counter(
            "slo_router_cost_usd_total", "USD spent on finished requests", ("group", "deployment")
        )
        self.tokens = self.counter(
            "slo_router_tokens_total",
            "Tokens of the requests in slo_router_cost_usd_total: prompt, completion, and of the prompt those that the "
            "provider says it read from a cache",
            ("group", "deployment", "kind"),
        )
        self.baseline_cost_usd = self.counter(
            "slo_router_baseline_cost_usd_total",
            f"USD that the same requests, with their real tokens, would have cost on the baseline ({BASELINE}); where "
            "nobody chose, what they did cost",
            ("group",),
        )
        self.unpriced = self.counter(
            "slo_router_unpriced_total",
            "Finished requests whose cost nobody knows, errors aside: they are in no sum of money",
            ("group", "deployment"),
        )
        self.predicted_cost_usd = self.counter(
            "slo_router_predicted_cost_usd_total",
            "USD that requests were predicted to cost where they went, as x-slo-predicted-cost-usd says",
            ("group", "deployment"),
        )
        self.billed_cost_usd = self.counter(
            "slo_router_billed_cost_usd_total", "USD that the same requests then cost", ("group", "deployment")
        )
        self.cost_within = self.counter(
            "slo_router_cost_within_interval_total",
            "The same requests by whether they cost what nine in ten were expected to",
            ("group", "deployment", "within"),
        )
        self.request_cost_usd = self.histogram(
            "slo_router_request_cost_usd", "USD of one request", ("group",), COST_BUCKETS_USD
        )
        self.quality = self.summary(
            "slo_router_quality", "Quality (0..1) expected of who served", ("group", "category")
        )
        self.baseline_quality = self.summary(
            "slo_router_baseline_quality", "Quality (0..1) expected of the baseline", ("group", "category")
        )

    def _latencies(self, ttft_buckets_s: tuple[float, ...], e2e_buckets_s: tuple[float, ...]) -> None:
        served = ("group", "deployment")
        self.ttft_s = self.histogram(
            "slo_router_ttft_seconds", "Arrival to first token, of streams", served, ttft_buckets_s
        )
        self.e2e_s = self.histogram(
            "slo_router_e2e_seconds", "Arrival to last token, of successes", served, e2e_buckets_s
        )
        self.ttft_ratio = self.histogram(
            "slo_router_ttft_observed_to_predicted_ratio",
            "Observed over predicted TTFT of first attempts: against the median (1 is right), and against the bound "
            "that the SLO was judged by (the share up to 1 is the confidence it is kept with)",
            ("deployment", "predicted"),
            RATIO_BUCKETS,
        )
        self.decision_s = self.histogram(
            "slo_router_decision_seconds", "Time that a decision took", ("group",), DECISION_BUCKETS_S
        )

    def _state(self) -> None:
        self.snapshot_at_s = Gauge(
            "slo_router_snapshot_timestamp_seconds",
            "Unix time at which the worker that is furthest behind last read Redis",
            registry=self._registry,
            multiprocess_mode="livemin",
        )
        self.job_at_s = self._gauge(
            "slo_router_job_timestamp_seconds",
            "Unix time at which the worker that is furthest behind last finished a round of a background job",
            ("job",),
            "livemin",
        )
        self.out_of_action = Gauge(
            "slo_router_out_of_action",
            "1 where LiteLLM lacks what the plugin needs, so that LiteLLM alone routes",
            registry=self._registry,
            multiprocess_mode="livemax",
        )
        self.measured_at_s = self._gauge(
            "slo_router_measured_timestamp_seconds",
            "Unix time of a deployment's oldest measurement by the benchmark agent",
            ("deployment",),
            "livemostrecent",
        )
        self.slo_limit_s = self._gauge(
            "slo_router_slo_limit_seconds",
            "The group's own SLO, which holds where request, key and team ask for nothing",
            ("group", "field"),
            "livemostrecent",
        )

    def _deployments(self) -> None:
        self.circuit_open = self._gauge(
            "slo_router_circuit_open", "1 where any worker's circuit is open", ("deployment",), "livemax"
        )
        self.account_fault = self._gauge(
            "slo_router_account_fault",
            "1 where any worker found, by a health check, that a deployment refuses everything",
            ("deployment",),
            "livemax",
        )
        self.quota_left = self._gauge(
            "slo_router_quota_left_ratio",
            "What is left of the tightest limit on requests or tokens (0..1), where one is known",
            ("deployment",),
            "livemin",
        )
        self.shadow_usd_per_s = self._gauge(
            "slo_router_shadow_usd_per_second",
            "What a second of a request's stay is worth to others at the present load, USD, 0 where places are not "
            "scarce; it steers, and nobody is billed it",
            ("deployment",),
            "livemax",
        )
        self.in_flight = self._gauge(
            "slo_router_in_flight_requests",
            "Requests on their way: this proxy's own, and what the server reports beyond them (foreign)",
            ("deployment", "source"),
            "livesum",
        )
        self.cache_usage = self._gauge(
            "slo_router_kv_cache_usage_ratio",
            "How full the server says its KV cache is (0..1), where metrics_url is set",
            ("deployment",),
            "livemax",
        )

    def counter(self, name: str, text: str, labels: tuple[str, ...]) -> Children[Counter]:
        """A new counter."""
        return Children(Counter(name, text, labels, registry=self._registry))

    def histogram(
        self, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...]
    ) -> Children[Histogram]:
        """A new histogram."""
        return Children(Histogram(name, text, labels, registry=self._registry, buckets=buckets))

    def summary(self, name: str, text: str, labels: tuple[str, ...]) -> Children[Summary]:
        """A new sum with its count."""
        return Children(Summary(name, text, labels, registry=self._registry))

    def _gauge(self, name: str, text: str, labels: tuple[str, ...], mode: Mode) -> Children[Gauge]:
        return Children(Gauge(name, text, labels, registry=self._registry, multiprocess_mode=mode))


def _with_limits(buckets_s: tuple[float, ...], limits_s: Iterable[float]) -> tuple[float, ...]:
    return tuple(sorted({*buckets_s, *sorted(set(limits_s))[:MOST_LIMITS]}))
