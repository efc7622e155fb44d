"""Counts what the router does, for LiteLLM's own /metrics (callback `prometheus`). `families` has the metrics' names.

    a decision         → decided()   kind, rejections, duration
    a finished request → observe()   SLO, latencies, cost and its counterfactual, prediction error
    each interval      → refresh()   circuits, load, time of the snapshot, losses

Nothing here waits or does I/O. A request takes about twenty additions. With several workers, prometheus_client keeps
each worker's numbers in files, and the scrape adds them up (LiteLLM sets PROMETHEUS_MULTIPROC_DIR).
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter

from slo_router.contract.model import Assessment, Decision, Facts, Snapshot
from slo_router.contract.record import RequestRecord
from slo_router.contract.settings.group import GroupSettings
from slo_router.contract.units import MS
from slo_router.live.account import is_denied
from slo_router.live.quota import headroom
from slo_router.live.state import LiveState
from slo_router.telemetry.baseline import baseline, spent_usd
from slo_router.telemetry.families import Children, Families
from slo_router.telemetry.rescues import RescueMetrics
from slo_router.worker.tasks.jobs import Standing

OTHER = "other"
MOST_DEPLOYMENTS = 1_000  # so many deployments get their own label; removed deployments keep theirs
NONE = "none"
EMPTY: Mapping[str, Standing] = {}
MET = {True: "true", False: "false", None: "unknown"}


class Labels:
    """Bounds the labels, for a series can't be removed: the first `limit` names get their own, the rest is `other`."""

    def __init__(self, limit: int) -> None:
        self._names: set[str] = set()
        self._limit = limit

    def of(self, name: str) -> str:
        """The label of a name: the name itself, or `other`."""
        if name in self._names:
            return name
        if len(self._names) >= self._limit:
            return OTHER
        self._names.add(name)
        return name


class Consumers:
    """Attainment and spend by team or by key. The first `limit` names get their own label, the rest is `other`."""

    def __init__(self, families: Families, kind: str, limit: int) -> None:
        self._labels = Labels(limit)
        self._begun: set[str] = set()
        self._slo: Children[Counter] = families.counter(
            f"slo_router_{kind}_slo_total",
            f"Finished requests of a {kind} by whether they kept their SLO",
            (kind, "met"),
        )
        self._cost_usd: Children[Counter] = families.counter(
            f"slo_router_{kind}_cost_usd_total", f"USD spent by a {kind}", (kind,)
        )
        for name in (NONE, OTHER):
            self._begin(name)

    def observe(self, name: str | None, met: str, usd: float | None) -> None:
        """Counts one finished request of the team or key `name` (`None`: it has none), and its cost in USD."""
        label = NONE if name is None else self._labels.of(name)
        if label not in self._begun:
            self._begin(label)
        self._slo[label, met].inc()
        if usd:
            self._cost_usd[label,].inc(usd)

    def _begin(self, name: str) -> None:
        self._begun.add(name)
        for met in MET.values():  # each series starts at 0: a team that never kept an SLO shows an attainment of 0
            self._slo[name, met].inc(0)


class Telemetry:
    """All metrics of a worker. A registry takes only one, for a metric's name can be registered only once.

    `label_teams` and `label_keys`: so many teams and keys get their own label; 0 leaves their metrics out.
    """

    def __init__(
        self,
        groups: Mapping[str, GroupSettings],
        registry: CollectorRegistry,
        now_s: float,
        *,
        label_teams: int = 0,
        label_keys: int = 0,
    ) -> None:
        ttft_ms = [group.slo.ttft_ms for group in groups.values()]
        e2e_ms = [group.slo.e2e_ms for group in groups.values()]
        families = self._families = Families(
            registry, [ms * MS for ms in ttft_ms if ms is not None], [ms * MS for ms in e2e_ms if ms is not None]
        )
        self._teams = Consumers(families, "team", label_teams) if label_teams else None
        self._keys = Consumers(families, "key", label_keys) if label_keys else None
        self._told: dict[object, int] = {}
        self._deployments = Labels(MOST_DEPLOYMENTS)
        self.rescues = RescueMetrics(families, self._deployments.of)
        families.snapshot_at_s.set(now_s)  # the first reading is not late yet
        self.configure(groups)

    def configure(self, groups: Mapping[str, GroupSettings]) -> None:
        """Exports the groups' SLOs, at start and when the policy changes. Bucket bounds stay as at the start."""
        families = self._families
        for name, group in groups.items():
            for field, limit_ms in (("ttft", group.slo.ttft_ms), ("e2e", group.slo.e2e_ms)):
                if limit_ms is not None:
                    families.slo_limit_s[name, field].set(limit_ms * MS)
                elif (name, field) in families.slo_limit_s:  # the limit was removed
                    families.slo_limit_s[name, field].set(math.inf)
            for met in MET.values():  # each series starts at 0, so that its first count shows as an increase
                families.slo[name, met].inc(0)
            for pick in ("baseline", "another", "only"):
                families.picks[name, pick].inc(0)
            families.unpriced[name, OTHER].inc(0)

    def compared(self, group: str, outcome: str) -> None:
        """Counts one comparison of answers, or why it was none."""
        self._families.comparisons[group, outcome].inc()

    def decided(self, group: str, decision: Decision, took_s: float) -> None:
        """Counts one decision, for one attempt of one request. It took `took_s` seconds."""
        families, chosen = self._families, self._deployments.of(decision.deployment_id)
        families.decisions[group, chosen, decision.features.category, decision.kind].inc()
        families.decision_s[group,].observe(took_s)
        if decision.worth_usd is not None:
            families.worth_usd[group,].set(decision.worth_usd)
        if decision.rejections:
            by_reason: dict[str, int] = {}
            for rejection in decision.rejections:
                by_reason[rejection.filter] = by_reason.get(rejection.filter, 0) + 1
            for reason, count in by_reason.items():
                families.rejections[group, reason].inc(count)

    def observe(self, group: str, record: RequestRecord, decision: Decision | None, facts: Mapping[str, Facts]) -> None:
        """Counts a finished request. `decision` is its last, `None` where LiteLLM chose. `facts` by deployment id."""
        families = self._families
        own = None if record.deployment is None else facts.get(record.deployment)
        served = OTHER if own is None else self._deployments.of(own.deployment_id)
        met = MET[record.slo_met]
        families.requests[group, served, record.outcome].inc()
        families.slo[group, met].inc()
        if record.ttft_ms is not None:
            families.ttft_s[group, served].observe(record.ttft_ms * MS)
        if record.e2e_ms is not None and record.outcome == "success":
            families.e2e_s[group, served].observe(record.e2e_ms * MS)
        chosen = None if decision is None else decision.selected
        usd = spent_usd(record, own, chosen)
        unrouted_usd = usd  # no saving counts where the plugin did not choose, or the baseline's price is unknown
        if decision is None or chosen is None:
            if record.decision is None:  # a shadow decision was counted before, by `decided`
                families.decisions[group, served, record.category or NONE, "passthrough"].inc()
        else:
            self._count_error(record, decision, chosen)
            self._count_cost_error((group, served), record, decision, usd)
            best, best_usd = baseline(decision, record, facts)
            self._count_pick(group, decision, chosen, best)
            if best is not chosen and best_usd is not None and record.outcome != "cache_hit":
                unrouted_usd = best_usd
        if usd is not None and unrouted_usd is not None:
            families.cost_usd[group, served].inc(usd)
            families.baseline_cost_usd[group,].inc(unrouted_usd)
            families.request_cost_usd[group,].observe(usd)
            self._count_tokens(group, served, record)
        elif record.outcome != "error":
            families.unpriced[group, served].inc()
        if self._teams is not None:
            self._teams.observe(record.team_id, met, usd)
        if self._keys is not None:
            self._keys.observe(record.key_alias or (record.key_hash or "")[:12] or None, met, usd)

    def _count_tokens(self, group: str, served: str, record: RequestRecord) -> None:
        counts = (record.prompt_tokens, record.completion_tokens, record.cached_tokens)
        for kind, count in zip(("prompt", "completion", "cached"), counts, strict=True):
            if count is not None:
                self._families.tokens[group, served, kind].inc(count)

    def refresh(self, snapshot: Snapshot, states: Mapping[str, LiveState], **counts: Any) -> None:
        """Runs all steps of `refreshing`."""
        for _ in self.refreshing(snapshot, states, **counts):
            pass

    def refreshing(
        self,
        snapshot: Snapshot,
        states: Mapping[str, LiveState],
        *,
        now_s: float | None = None,
        fail_open: int = 0,
        unasked: int = 0,
        log_dropped: int = 0,
        is_lacking: bool = False,
        jobs: Mapping[str, Standing] = EMPTY,
    ) -> Generator[None, None, None]:
        """Updates the gauges, once in each refresh interval. Yields between steps, so that the caller can pause.

        `states` are the worker's live states by deployment id. `jobs` are the background jobs' standings by name.
        `fail_open`, `unasked` and `log_dropped` are counts since start. `is_lacking`: LiteLLM lacks what the plugin
        needs. `now_s` (Unix seconds) is given where no Redis is configured: then no snapshot can be stale.
        """
        families = self._families
        read_at_s = snapshot.read_at_s if now_s is None else now_s
        if read_at_s is not None:
            families.snapshot_at_s.set(read_at_s)
        for name, metrics in snapshot.pooled.items():
            if self._deployments.of(name) == name:
                families.measured_at_s[name,].set(metrics.measured_at_s)
        yield
        for gone in families.circuit_open.keys() - {(name,) for name in states}:  # a series in a file can't be removed
            families.circuit_open[gone].set(0)
            families.account_fault[gone].set(0)
            if gone in families.quota_left:
                families.quota_left[gone].set(1)
            families.shadow_usd_per_s[gone].set(0)
            families.in_flight[(*gone, "own")].set(0)
            families.in_flight[(*gone, "foreign")].set(0)
        for name, state in list(states.items()):
            yield
            if self._deployments.of(name) != name:
                continue
            self._show(name, state)
        families.out_of_action.set(is_lacking)
        for name, standing in jobs.items():
            families.job_at_s[name,].set(standing.succeeded_at_s)
            self._catch_up(families.job_failures[name,], standing.failures)
        self._catch_up(families.fail_open, fail_open)
        self._catch_up(families.unasked, unasked)
        self._catch_up(families.log_dropped, log_dropped)

    def _show(self, name: str, state: LiveState) -> None:
        """The gauges of one deployment."""
        families = self._families
        families.circuit_open[name,].set(state.circuit.is_open)
        families.shadow_usd_per_s[name,].set(state.shadow_usd_per_s)
        families.account_fault[name,].set(is_denied(state.account))
        if state.quota is not None:
            families.quota_left[name,].set(headroom(state.quota, time.time()))
        families.in_flight[name, "own"].set(len(state.flights))
        families.in_flight[name, "foreign"].set(state.foreign)
        if state.cache_usage is not None:
            families.cache_usage[name,].set(state.cache_usage)
        elif (name,) in families.cache_usage:  # another worker asks the server now
            families.cache_usage[name,].set(0)

    def _catch_up(self, counter: Counter, count: int) -> None:
        counter.inc(max(count - self._told.get(counter, 0), 0))
        self._told[counter] = count

    def _count_pick(self, group: str, decision: Decision, chosen: Assessment, best: Assessment) -> None:
        """Compares the pick with the baseline."""
        families = self._families
        only = len(decision.assessments) == 1
        families.picks[group, "only" if only else "baseline" if best is chosen else "another"].inc()
        quality, best_quality = chosen.prediction.quality, best.prediction.quality
        if quality is not None and best_quality is not None:
            category = decision.features.category
            families.quality[group, category].observe(quality)
            families.baseline_quality[group, category].observe(best_quality)

    def _count_cost_error(
        self, labels: tuple[str, str], record: RequestRecord, decision: Decision, usd: float | None
    ) -> None:
        """Compares the real with the predicted cost, for successes only: a broken-off answer was not predicted."""
        families, chosen = self._families, decision.selected
        predicted_usd = None if chosen is None else chosen.prediction.cost_usd
        if predicted_usd is None or usd is None or record.outcome != "success":
            return
        families.predicted_cost_usd[labels].inc(predicted_usd)
        families.billed_cost_usd[labels].inc(usd)
        if decision.cost_interval_usd is not None:
            low_usd, high_usd = decision.cost_interval_usd
            families.cost_within[(*labels, "true" if low_usd <= usd <= high_usd else "false")].inc()

    def _count_error(self, record: RequestRecord, decision: Decision, chosen: Assessment) -> None:
        """Compares the observed with the predicted TTFT, without retries: their TTFT includes the failed attempt."""
        if record.ttft_ms is None or record.attempts > 1:
            return
        observed_s, ratios = record.ttft_ms * MS, self._families.ttft_ratio
        name = self._deployments.of(chosen.deployment_id)
        if chosen.prediction.ttft_s:
            ratios[name, "bound"].observe(observed_s / chosen.prediction.ttft_s)
        if decision.outlook is not None and decision.outlook.ttft_p50_s:
            ratios[name, "median"].observe(observed_s / decision.outlook.ttft_p50_s)
