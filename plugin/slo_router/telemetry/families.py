"""The metrics by name: what each counts, in which unit, with which labels.

LiteLLM's /metrics adds up files of several workers. So each gauge says how its values combine: `livesum` adds parts of
a whole, `livemax` or `livemin` takes the worst, `livemostrecent` is for values that all workers share. Gauges of dead
workers do not count. No gauge is an age, for it would stop when its writer stops. A gauge is a moment instead, and its
age is `time() - moment`.

Label values come from the configuration. Teams and keys are the exception: they are off by default, and bounded.
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
    """The series of one metric by their label values. A look-up takes a tenth of the time of `labels()`."""

    def __init__(self, metric: M) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, values: tuple[str, ...]) -> M:
        child = self[values] = self._metric.labels(*values)
        return child


class Families:
    """Every metric, registered once. SLO limits (seconds) become bucket bounds, so the share within an SLO is exact."""

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
            "Decisions: one per attempt, and one per request that LiteLLM routed itself (passthrough)",
            ("group", "deployment", "category", "decision"),
        )
        self.requests = self.counter(
            "slo_router_requests_total", "Finished requests", ("group", "deployment", "outcome")
        )
        self.slo = self.counter(
            "slo_router_slo_total",
            "Finished requests by whether they kept their SLO; unknown: part of it could not be measured",
            ("group", "met"),
        )
        self.picks = self.counter(
            "slo_router_picks_total",
            f"Finished requests by the deployment that served: the baseline ({BASELINE}), another, or the only one",
            ("group", "pick"),
        )
        self.rejections = self.counter(
            "slo_router_rejections_total", "Candidates that a filter left out of a decision", ("group", "reason")
        )
        self.fail_open = Counter(
            "slo_router_fail_open_total", "Decisions that failed: LiteLLM routed", registry=self._registry
        )
        self.unasked = Counter(
            "slo_router_unasked_total",
            "Attempts in managed groups that LiteLLM sent without asking the plugin",
            registry=self._registry,
        )
        self.log_dropped = Counter(
            "slo_router_log_dropped_total", "Request records lost to a full queue", registry=self._registry
        )

        self.comparisons = self.counter(
            "slo_router_comparisons_total",
            "Answers that were drawn for shadow evaluation, by what became of them: better, tie or worse than another "
            "deployment's, control, or why not",
            ("group", "outcome"),
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
            "Tokens of the requests in slo_router_cost_usd_total: prompt, completion, and the part of the prompt that "
            "the provider read from a cache (cached)",
            ("group", "deployment", "kind"),
        )
        self.baseline_cost_usd = self.counter(
            "slo_router_baseline_cost_usd_total",
            f"USD that the same requests, with their real tokens, would have cost on the baseline ({BASELINE}); their "
            "real cost where the plugin did not choose",
            ("group",),
        )
        self.unpriced = self.counter(
            "slo_router_unpriced_total",
            "Finished requests, without errors, whose cost is unknown; no sum of USD includes them",
            ("group", "deployment"),
        )
        self.predicted_cost_usd = self.counter(
            "slo_router_predicted_cost_usd_total",
            "USD that successful requests were predicted to cost, as in x-slo-predicted-cost-usd",
            ("group", "deployment"),
        )
        self.billed_cost_usd = self.counter(
            "slo_router_billed_cost_usd_total", "USD that the same requests really cost", ("group", "deployment")
        )
        self.cost_within = self.counter(
            "slo_router_cost_within_interval_total",
            "The same requests by whether their cost was in the interval predicted for nine in ten",
            ("group", "deployment", "within"),
        )
        self.request_cost_usd = self.histogram(
            "slo_router_request_cost_usd", "USD of one request", ("group",), COST_BUCKETS_USD
        )
        self.quality = self.summary(
            "slo_router_quality", "Quality (0..1) expected of the deployment that served", ("group", "category")
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
            "Observed / predicted TTFT of first attempts. Predicted is the median (1 is right), or the bound that was "
            "compared with the SLO (the share up to 1 is the confidence)",
            ("deployment", "predicted"),
            RATIO_BUCKETS,
        )
        self.decision_s = self.histogram(
            "slo_router_decision_seconds", "Duration of a decision", ("group",), DECISION_BUCKETS_S
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
            "1 where LiteLLM lacks what the plugin needs: LiteLLM alone routes",
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
            "The group's own SLO limit, for requests where request, key and team set none",
            ("group", "field"),
            "livemostrecent",
        )

    def _deployments(self) -> None:
        self.circuit_open = self._gauge(
            "slo_router_circuit_open", "1 where any worker's circuit is open", ("deployment",), "livemax"
        )
        self.account_fault = self._gauge(
            "slo_router_account_fault",
            "1 where a health check of any worker found that the deployment refuses every request",
            ("deployment",),
            "livemax",
        )
        self.quota_left = self._gauge(
            "slo_router_quota_left_ratio",
            "Share left of the tightest known limit on requests or tokens (0..1)",
            ("deployment",),
            "livemin",
        )
        self.shadow_usd_per_s = self._gauge(
            "slo_router_shadow_usd_per_second",
            "Value in USD, to other requests, of each second that a request occupies the deployment; 0 where it is not "
            "scarce; only routing uses it, it is never billed",
            ("deployment",),
            "livemax",
        )
        self.worth_usd = self._gauge(
            "slo_router_worth_usd",
            "What a quality of 1 may cost on one request, in a group with the objective `value`",
            ("group",),
            "livemostrecent",
        )
        self.in_flight = self._gauge(
            "slo_router_in_flight_requests",
            "Requests in flight: this proxy's own, and further ones that the server reports (foreign)",
            ("deployment", "source"),
            "livesum",
        )
        self.cache_usage = self._gauge(
            "slo_router_kv_cache_usage_ratio",
            "Used share of the KV cache (0..1), as the server reports it at metrics_url",
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
