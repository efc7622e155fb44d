"""Counts what the router does, for LiteLLM's own /metrics (callback `prometheus`): the names are in `metric_families`.

    a decision         → decided()   kind, rejections, the time it took
    a finished request → observe()   SLO, latencies, cost and its counterfactual, prediction error
    each second        → refresh()   circuits, load, the snapshot's moment, losses

Nothing here waits or does I/O; a request costs some twenty additions. Where several workers run, prometheus_client
keeps each worker's numbers in files that the scrape adds up (LiteLLM sets PROMETHEUS_MULTIPROC_DIR).
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter

from slo_router.contract.model import Assessment, Decision, Facts, Snapshot
from slo_router.contract.record import RequestRecord
from slo_router.contract.settings.config import GroupSettings
from slo_router.contract.units import MS
from slo_router.live.account import is_denied
from slo_router.live.quota import headroom
from slo_router.live.state import LiveState
from slo_router.telemetry.baseline import baseline, spent_usd
from slo_router.telemetry.families import Children, Families
from slo_router.worker.tasks.jobs import Standing

OTHER = "other"
MOST_DEPLOYMENTS = 1_000  # that get a label of their own, those that are gone among them
NONE = "none"
EMPTY: Mapping[str, Standing] = {}
MET = {True: "true", False: "false", None: "unknown"}


class Labels:
    """The first `limit` names that come get a label, the rest is `other`: a series can never be taken back."""

    def __init__(self, limit: int) -> None:
        self._names: set[str] = set()
        self._limit = limit

    def of(self, name: str) -> str:
        """The label of a name."""
        if name in self._names:
            return name
        if len(self._names) >= self._limit:
            return OTHER
        self._names.add(name)
        return name


class Consumers:
    """Attainment and spend by team or by key: the first `limit` names that come get a label, the rest is `other`."""

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
        """One finished request of whoever is called so."""
        label = NONE if name is None else self._labels.of(name)
        if label not in self._begun:
            self._begin(label)
        self._slo[label, met].inc()
        if usd:
            self._cost_usd[label,].inc(usd)

    def _begin(self, name: str) -> None:
        self._begun.add(name)
        for met in MET.values():  # from 0 on: who never kept an SLO has an attainment of 0, not none
            self._slo[name, met].inc(0)


class Telemetry:
    """All of a worker's metrics. One for each registry: a name can be registered once.

    `label_teams` and `label_keys` are how many teams and keys get a label of their own; 0 leaves their metrics out.
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
        families.snapshot_at_s.set(now_s)  # until the first reading: not stale yet
        self.configure(groups)

    def configure(self, groups: Mapping[str, GroupSettings]) -> None:
        """Takes the groups' SLOs, at start and when the policy changes. Bucket bounds stay those of the start."""
        families = self._families
        for name, group in groups.items():
            for field, limit_ms in (("ttft", group.slo.ttft_ms), ("e2e", group.slo.e2e_ms)):
                if limit_ms is not None:
                    families.slo_limit_s[name, field].set(limit_ms * MS)
                elif (name, field) in families.slo_limit_s:  # taken back: nothing is over it
                    families.slo_limit_s[name, field].set(math.inf)
            for met in MET.values():  # from 0 on, so that the first one shows as an increase
                families.slo[name, met].inc(0)
            for pick in ("baseline", "another", "only"):
                families.picks[name, pick].inc(0)
            families.unpriced[name, OTHER].inc(0)

    def decided(self, group: str, decision: Decision, took_s: float) -> None:
        """One decision was made, for one attempt of one request."""
        families, chosen = self._families, self._deployments.of(decision.deployment_id)
        families.decisions[group, chosen, decision.features.category, decision.kind].inc()
        families.decision_s[group,].observe(took_s)
        if decision.rejections:
            by_reason: dict[str, int] = {}
            for rejection in decision.rejections:
                by_reason[rejection.filter] = by_reason.get(rejection.filter, 0) + 1
            for reason, count in by_reason.items():
                families.rejections[group, reason].inc(count)

    def observe(self, group: str, record: RequestRecord, decision: Decision | None, facts: Mapping[str, Facts]) -> None:
        """One request is over. `decision` is its last one; `None` where LiteLLM chose. `facts` by deployment id."""
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
        unrouted_usd = usd  # no saving is claimed where nobody chose, or the baseline's price is unknown
        if decision is None or chosen is None:
            if record.decision is None:  # else it was counted when it was made, in shadow
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
        """As `refreshing`, all at once."""
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
        """Brings the gauges up to date, once in each refresh interval, step by step.

        `states` are the worker's live states by deployment id, `jobs` how the background jobs go. `fail_open`,
        `unasked` and `log_dropped` are counts since start. `is_lacking`: LiteLLM lacks what the plugin needs. `now_s`
        (Unix seconds) is given where no Redis is configured: nothing can be stale then.
        """
        families = self._families
        read_at_s = snapshot.read_at_s if now_s is None else now_s
        if read_at_s is not None:
            families.snapshot_at_s.set(read_at_s)
        for name, metrics in snapshot.pooled.items():
            if self._deployments.of(name) == name:
                families.measured_at_s[name,].set(metrics.measured_at_s)
        yield
        for gone in families.circuit_open.keys() - {(name,) for name in states}:  # series of files can't be removed
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
        elif (name,) in families.cache_usage:  # another worker asks now
            families.cache_usage[name,].set(0)

    def _catch_up(self, counter: Counter, count: int) -> None:
        counter.inc(max(count - self._told.get(counter, 0), 0))
        self._told[counter] = count

    def _count_pick(self, group: str, decision: Decision, chosen: Assessment, best: Assessment) -> None:
        """Holds the pick against the baseline."""
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
        """Holds what was billed against the predicted cost; an answer that broke off is not what was predicted."""
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
        """Holds the observed TTFT against the predicted; that of a retry has the failed attempt in it."""
        if record.ttft_ms is None or record.attempts > 1:
            return
        observed_s, ratios = record.ttft_ms * MS, self._families.ttft_ratio
        name = self._deployments.of(chosen.deployment_id)
        if chosen.prediction.ttft_s:
            ratios[name, "bound"].observe(observed_s / chosen.prediction.ttft_s)
        if decision.outlook is not None and decision.outlook.ttft_p50_s:
            ratios[name, "median"].observe(observed_s / decision.outlook.ttft_p50_s)
