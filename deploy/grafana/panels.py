"""What the dashboards show: every panel with its expressions, in the order of reading.

`generate` turns this into Grafana's JSON. `$group` is the dashboard's choice of groups. A share of something that never
happened has no series to divide: there `or vector(0)` shows 0 instead of nothing.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from slo_router.telemetry.baseline import BASELINE

Kind = Literal["lines", "stacked", "stat", "steps"]

GROUP = 'group=~"$group"'
RATE = "[$__rate_interval]"
RANGE = "[$__range]"


class Query(NamedTuple):
    """One PromQL expression and the name of what it returns."""

    expr: str
    legend: str


class Panel(NamedTuple):
    """One panel. `unit` is Grafana's name of it; `width` is out of 24."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = "lines"
    width: int = 12


class Board(NamedTuple):
    """One dashboard: its rows by title."""

    uid: str
    title: str
    rows: dict[str, tuple[Panel, ...]]


def _share(part: str, whole: str, by: str, window: str) -> str:
    return f"sum{by}(rate({part}{window})) / sum{by}(rate({whole}{window}))"


def attainment(selector: str = GROUP, by: str = "", window: str = RATE, metric: str = "slo_router_slo_total") -> str:
    """The share of requests that kept their SLO, of those that could be judged."""
    separator = "," if selector else ""
    return _share(
        f'{metric}{{{selector}{separator}met="true"}}',
        f'{metric}{{{selector}{separator}met=~"true|false"}}',
        by,
        window,
    )


def quantile(q: float, metric: str, by: str, selector: str = GROUP) -> str:
    """A quantile of a histogram."""
    return f"histogram_quantile({q}, sum by ({by}, le) (rate({metric}_bucket{{{selector}}}{RATE})))"


def mean(metric: str, by: str = "") -> str:
    """The mean of what a histogram or a summary observed."""
    return _share(f"{metric}_sum{{{GROUP}}}", f"{metric}_count{{{GROUP}}}", by, RATE)


def saved(window: str = RATE) -> str:
    """The share of the baseline's cost that was not spent."""
    spent, unrouted = f"slo_router_cost_usd_total{{{GROUP}}}", f"slo_router_baseline_cost_usd_total{{{GROUP}}}"
    return f"1 - {_share(spent, unrouted, '', window)}"


def largest(by: str = "", window: str = RATE) -> str:
    """The share of the requests with a choice that the baseline served."""
    metric = f"slo_router_picks_total{{{GROUP},"
    return _share(f'{metric}pick="baseline"}}', f'{metric}pick=~"baseline|another"}}', by, window)


FALLBACK = (
    f'(sum(rate(model_routing_decisions_total{{{GROUP},decision="fallback"}}{RANGE})) or vector(0))'
    f" / sum(rate(model_routing_decisions_total{{{GROUP}}}{RANGE}))"
)
PER_DAY = "* 86400"

AT_A_GLANCE = (
    Panel("Requests", "Finished requests per second.", "reqps",
          (Query(f"sum(rate(slo_router_requests_total{{{GROUP}}}{RANGE}))", ""),), "stat", 4),
    Panel("SLO attainment", "Requests that kept their SLO, of those that could be judged; errors are misses.",
          "percentunit", (Query(attainment(window=RANGE), ""),), "stat", 5),
    Panel("Saved", f"Against the baseline: {BASELINE}, with the request's real tokens.",
          "percentunit", (Query(saved(RANGE), ""),), "stat", 5),
    Panel("Fallbacks", "Decisions where no candidate was expected to keep the SLO.", "percentunit",
          (Query(FALLBACK, ""),), "stat", 5),
    Panel("On the baseline", f"Requests that went to the baseline ({BASELINE}) although there was another.",
          "percentunit", (Query(largest(window=RANGE), ""),), "stat", 5),
)  # fmt: skip

ARTICLE = (
    Panel("Decisions", "Where requests go, per second.", "reqps",
          (Query(f"sum by (deployment) (rate(model_routing_decisions_total{{{GROUP}}}{RATE}))", "{{deployment}}"),),
          "stacked"),
    Panel("TTFT against the SLO", "Arrival to first token, of streams, and the group's own limit.", "s", (
        Query(quantile(0.5, "slo_router_ttft_seconds", "group"), "{{group}} p50"),
        Query(quantile(0.95, "slo_router_ttft_seconds", "group"), "{{group}} p95"),
        Query(f'max by (group) (slo_router_slo_limit_seconds{{{GROUP},field="ttft"}})', "{{group}} limit"),
    )),
    Panel("Queue load", "What the model servers say of themselves (vLLM's names).", "short", (
        Query("sum by (model_name) (vllm:num_requests_running)", "{{model_name}} running"),
        Query("sum by (model_name) (vllm:num_requests_waiting)", "{{model_name}} waiting"),
    )),
    Panel("Cost per request", "What requests cost on average, what the dearest twentieth costs at least, and what the "
          f"same requests would have cost on the baseline ({BASELINE}).", "currencyUSD", (
        Query(mean("slo_router_request_cost_usd"), "mean"),
        Query(quantile(0.95, "slo_router_request_cost_usd", "group"), "{{group}} p95"),
        Query(_share(f"slo_router_baseline_cost_usd_total{{{GROUP}}}",
                     f"slo_router_request_cost_usd_count{{{GROUP}}}", "", RATE), "baseline"),
    )),
)  # fmt: skip

LOAD = (
    Panel("GPU memory for requests", "Use of the KV cache; near 1 requests wait or are preempted.", "percentunit", (
        Query("max by (model_name) (vllm:kv_cache_usage_perc or vllm:gpu_cache_usage_perc)", "{{model_name}}"),
        Query("max by (deployment) (slo_router_kv_cache_usage_ratio)", "{{deployment}} by metrics_url"),
    )),
    Panel("On their way", "Requests of this proxy, and what the server reports beyond them (foreign).", "short", (
        Query("sum by (deployment, source) (slo_router_in_flight_requests)", "{{deployment}} {{source}}"),
    )),
    Panel("TTFT p95 by deployment", "Arrival to first token, failed attempts before it included.", "s",
          (Query(quantile(0.95, "slo_router_ttft_seconds", "deployment"), "{{deployment}}"),)),
    Panel("E2E p95 by deployment", "Arrival to last token, of successes.", "s",
          (Query(quantile(0.95, "slo_router_e2e_seconds", "deployment"), "{{deployment}}"),)),
)  # fmt: skip

WHY = (
    Panel("Kinds of decisions", "met, fallback (nothing was expected to keep the SLO), passthrough (LiteLLM chose).",
          "reqps", (
        Query(f"sum by (decision) (rate(model_routing_decisions_total{{{GROUP}}}{RATE}))", "{{decision}}"),
    ), "stacked"),
    Panel("Categories", "What requests are, as far as decisions were made.", "reqps", (
        Query(f"sum by (category) (rate(model_routing_decisions_total{{{GROUP}}}{RATE}))", "{{category}}"),
    ), "stacked"),
    Panel("Candidates left out", "By the filter that left them out, per second.", "cps", (
        Query(f"sum by (reason) (rate(slo_router_rejections_total{{{GROUP}}}{RATE}))", "{{reason}}"),
    )),
    Panel("Outcomes", "Finished requests per second.", "reqps", (
        Query(f"sum by (outcome) (rate(slo_router_requests_total{{{GROUP}}}{RATE}))", "{{outcome}}"),
    ), "stacked"),
)  # fmt: skip

RATIO = "slo_router_ttft_observed_to_predicted_ratio"
HEALTH = (
    Panel("TTFT, observed over predicted", "Against the predicted median: 1 is right, 2 is twice as slow.", "none", (
        Query(f'histogram_quantile(0.5, sum by (deployment, le) (rate({RATIO}_bucket{{predicted="median"}}{RATE})))',
              "{{deployment}}"),
    )),
    Panel("TTFT within the predicted bound", "To be compared with the group's `confidence`.", "percentunit", (
        Query(_share(f'{RATIO}_bucket{{predicted="bound",le="1.0"}}', f'{RATIO}_count{{predicted="bound"}}',
                     " by (deployment) ", RATE), "{{deployment}}"),
    )),
    Panel("Decision time", "CPU that a decision takes in the proxy.", "s", (
        Query(quantile(0.5, "slo_router_decision_seconds", "group"), "{{group}} p50"),
        Query(quantile(0.99, "slo_router_decision_seconds", "group"), "{{group}} p99"),
    )),
    Panel("Circuits and accounts", "1 while traffic is kept off a deployment that fails, or that refuses everything.",
          "none", (
        Query("max by (deployment) (slo_router_circuit_open)", "{{deployment}} fails"),
        Query("max by (deployment) (slo_router_account_fault)", "{{deployment}} refuses"),
    ), "steps"),
    Panel("Quota left", "Of the tightest limit on requests or tokens, where one is known.", "percentunit",
          (Query("min by (deployment) (slo_router_quota_left_ratio)", "{{deployment}}"),)),
    Panel("Shadow price", "What a second's stay is worth to others, where places are scarce. Nobody is billed it.",
          "currencyUSD", (Query("max by (deployment) (slo_router_shadow_usd_per_second)", "{{deployment}}"),)),
    Panel("Worth of quality", "What a quality of 1 may cost on one request, where the objective is value.",
          "currencyUSD", (Query(f"max by (group) (slo_router_worth_usd{{{GROUP}}})", "{{group}}"),)),
    Panel("Silent at their deadline", "Attempts without content when it should have been there, by what became of "
          "them: rescue (given up for another), or why not.", "short", (
        Query(f"sum by (deployment, reason) (increase(slo_router_silent_total{{{GROUP}}}{RATE}))",
              "{{deployment}}: {{reason}}"),
    )),
    Panel("Rescue: waiting saved", "Seconds per second, estimated: who is silent is taken to be silent as long again.",
          "short", (
        Query(f"sum by (group) (rate(slo_router_rescue_saved_seconds_total{{{GROUP}}}{RATE}))", "{{group}}"),
    )),
    Panel("Rescue: cost", "USD per day that those who were given up are expected to bill.", "currencyUSD", (
        Query(f"sum by (deployment) (rate(slo_router_rescue_cost_usd_total{{{GROUP}}}{RATE})) {PER_DAY}",
              "{{deployment}}"),
    )),
    Panel("Age of the data", "Since the slowest worker last read Redis and ended a round of each background job, and "
          "since the benchmark agent last measured.", "s", (
        Query("time() - min(slo_router_snapshot_timestamp_seconds)", "snapshot"),
        Query("time() - min by (deployment) (slo_router_measured_timestamp_seconds)", "{{deployment}} measured"),
        Query("time() - min by (job) (slo_router_job_timestamp_seconds)", "{{job}}"),
    )),
    Panel("Losses", "Decisions that failed, attempts that the plugin was not asked about (LiteLLM chose), records that "
          "found the queue full, and rounds of background jobs that failed.", "short", (
        Query(f"sum(increase(slo_router_fail_open_total{RATE}))", "failed open"),
        Query(f"sum(increase(slo_router_unasked_total{RATE}))", "not asked"),
        Query(f"sum(increase(slo_router_log_dropped_total{RATE}))", "records dropped"),
        Query(f"sum by (job) (increase(slo_router_job_failures_total{RATE}))", "{{job}} failed"),
    )),
)  # fmt: skip

SAVINGS = (
    Panel("Spend and baseline", "USD per day at the present rate: spent, and what the same requests, with their real "
          f"tokens, would have cost on the baseline ({BASELINE}).", "currencyUSD", (
        Query(f"sum(rate(slo_router_cost_usd_total{{{GROUP}}}{RATE})) {PER_DAY}", "spent"),
        Query(f"sum(rate(slo_router_baseline_cost_usd_total{{{GROUP}}}{RATE})) {PER_DAY}", "baseline"),
    )),
    Panel("Saved", "Share of the baseline's cost that was not spent.", "percentunit",
          (Query(saved(), "saved"),)),
    Panel("Spend by deployment", "USD per day at the present rate.", "currencyUSD", (
        Query(f"sum by (deployment) (rate(slo_router_cost_usd_total{{{GROUP}}}{RATE})) {PER_DAY}", "{{deployment}}"),
    ), "stacked"),
    Panel("On the baseline", "Share of the requests that had a choice.", "percentunit",
          (Query(largest(" by (group) "), "{{group}}"),)),
    Panel("Predicted against billed cost", "What requests were predicted to cost ÷ what they then cost: "
          "1 is right in the mean, and one request alone may cost many times more or less.", "short", (
        Query(_share(f"slo_router_predicted_cost_usd_total{{{GROUP}}}",
                     f"slo_router_billed_cost_usd_total{{{GROUP}}}", " by (deployment) ", RATE), "{{deployment}}"),
    )),
    Panel("Cost within its interval", "Requests that cost what nine in ten of them were predicted to: 0.9 is right.",
          "percentunit", (
        Query(_share(f'slo_router_cost_within_interval_total{{{GROUP},within="true"}}',
                     f"slo_router_cost_within_interval_total{{{GROUP}}}", " by (deployment) ", RATE), "{{deployment}}"),
    )),
    Panel("Effective price by deployment", "USD per million tokens, prompt and completion together, as billed: what "
          "was read from a cache, and how long the answers are, is in it.", "currencyUSD", (
        Query(f"sum by (deployment) (rate(slo_router_cost_usd_total{{{GROUP}}}{RATE})) / sum by (deployment) "
              f'(rate(slo_router_tokens_total{{{GROUP},kind=~"prompt|completion"}}{RATE})) * 1e6', "{{deployment}}"),
    )),
    Panel("Prompts read from a cache", "Share of the prompt tokens, of deployments whose provider says so.",
          "percentunit", (
        Query(_share(f'slo_router_tokens_total{{{GROUP},kind="cached"}}',
                     f'slo_router_tokens_total{{{GROUP},kind="prompt"}}', " by (deployment) ", RATE), "{{deployment}}"),
    )),
    Panel("Of unknown cost", "Requests whose cost nobody knows, per second: they are in no sum of money.", "reqps", (
        Query(f"sum by (deployment) (rate(slo_router_unpriced_total{{{GROUP}}}{RATE}))", "{{deployment}}"),
    ), "stacked", 24),
)  # fmt: skip

BY_CATEGORY = " by (category) "
QUALITY = (
    Panel("Quality by category", "Expected of who served: measured by the agent, else configured.", "percentunit",
          (Query(mean("slo_router_quality", BY_CATEGORY), "{{category}}"),)),
    Panel("Quality given up", "What the baseline is expected to have over who served; below 0 it is worse.",
          "percentunit", (
        Query(" - ".join([mean(f"slo_router_{whose}quality", BY_CATEGORY) for whose in ("baseline_", "")]),
              "{{category}}"),
    )),
    Panel("Shadow evaluation", "Answers that were drawn to be compared with another deployment's, by what became of "
          "them: better, tie, worse, control, or why they were not compared.", "short", (
        Query(f"sum by (group, outcome) (increase(slo_router_comparisons_total{{{GROUP}}}{RATE}))",
              "{{group}}: {{outcome}}"),
    )),
)  # fmt: skip

ATTAINMENT = (
    Panel("Attainment by group", "Requests that kept their SLO, of those that could be judged.", "percentunit",
          (Query(attainment(by=" by (group) "), "{{group}}"),)),
    Panel("Not judged", "Requests whose SLO names something that could not be measured, such as the TTFT of an answer "
          "that was not streamed.", "percentunit", (
        Query(_share(f'slo_router_slo_total{{{GROUP},met="unknown"}}', f"slo_router_slo_total{{{GROUP}}}",
                     " by (group) ", RATE), "{{group}}"),
    )),
    Panel("Attainment by team", "Needs `metrics: {teams: …}` in the plugin's settings.", "percentunit",
          (Query(attainment("", " by (team) ", metric="slo_router_team_slo_total"), "{{team}}"),)),
    Panel("Spend by team", "USD per day at the present rate. Needs `metrics: {teams: …}`.", "currencyUSD",
          (Query(f"sum by (team) (rate(slo_router_team_cost_usd_total{RATE})) {PER_DAY}", "{{team}}"),), "stacked"),
)  # fmt: skip

BOARDS = (
    Board("slo-router", "SLO router", {
        "At a glance": AT_A_GLANCE,
        "Decisions, latency, load and cost": ARTICLE,
        "Deployments": LOAD,
        "Why": WHY,
        "Health of the router": HEALTH,
    }),
    Board("slo-router-value", "SLO router: savings, quality, attainment", {
        "Savings": SAVINGS,
        "Quality": QUALITY,
        "Attainment": ATTAINMENT,
    }),
)  # fmt: skip
