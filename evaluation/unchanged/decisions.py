"""Random worlds, the same for the same seed: the decision on each request, and the decisions of other policies on it.

    settings, deployments, measurements ─→ Strategy.choose ─→ the record ─→ decided again, and by another policy
                                              ↑ live state  ←─ how it ended

Each world has two workers, each with a strategy, which hear of each other. Requests succeed, fail, are refused, and
clients leave them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace

from evaluation.shared.traffic import CALL_TYPES, body, mixed
from slo_router.contract.model import CATEGORIES, Facts, LatencyFit, Metrics
from slo_router.contract.settings.config import PluginSettings
from slo_router.contract.settings.deployments import ManagedDeployment
from slo_router.contract.settings.group import GroupSettings, SloSettings, Weights
from slo_router.live.probes import Health, probe_ended, probes_due
from slo_router.live.state import Ending
from slo_router.operator.replay.again import decided_again
from slo_router.operator.replay.recorded import decode, features_of, prediction_of, slo_of
from slo_router.operator.replay.redecision import Draws, Foreseen, demand_of, possible, redecide, trials
from slo_router.request.slo import SloInputs
from slo_router.worker.records import build_record
from slo_router.worker.sharing import read_export
from slo_router.worker.snapshot import MetricsStore, make_snapshot
from slo_router.worker.strategy import Strategy
from slo_router.worker.tasks.turns import at_once
from slo_router.worker.trace import Trace

GROUP, NOW_S = "smart", 1_800_000_000.0
REQUESTS = 100  # in each world
GAP_S = 0.4  # mean time between two requests
AGES_S = (30.0, 3_600.0, 90_000.0, 700_000.0)
HEADERS = {
    "x-slo-ttft-ms": (100, 300, 1_000, 5_000),
    "x-slo-tpot-ms": (10, 40),
    "x-slo-e2e-ms": (1_000, 10_000),
    "x-slo-cost-per-1k": (0.0005, 0.002, 0.02),
    "x-slo-min-quality": (0.3, 0.5, 0.8),
    "x-slo-category": CATEGORIES,
}
ENDINGS: tuple[Ending, ...] = ("success",) * 8 + ("error", "refused", "denied", "disconnected", "released")


class World:
    """One group of deployments, and the clock of its workers."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now_s = NOW_S
        self.group, self.other = self._settings(), self._settings()
        self.facts = [self._facts(number) for number in range(self.rng.randint(2, 8))]
        rows = {one.deployment_id: self._rows() for one in self.facts if self.rng.random() < 0.8}
        self.snapshot = make_snapshot({name: found for name, found in rows.items() if found}, NOW_S)
        self.workers = [self._strategy() for _ in range(2)]
        self.under_way: list[tuple[Strategy, Trace]] = []

    def _maybe(self, *values: float, share: float = 0.5) -> float | None:
        return self.rng.choice(values) if self.rng.random() < share else None

    def _settings(self) -> GroupSettings:
        rng = self.rng
        is_weighted = rng.random() < 0.3
        return GroupSettings(
            slo=SloSettings(ttft_ms=self._maybe(200, 800), e2e_ms=self._maybe(3_000, share=0.2)),
            min_quality={"default": 0.5, "code": 0.8} if rng.random() < 0.3 else {},
            objective="weighted" if is_weighted else "cheapest",
            weights=Weights(quality=rng.random(), cost=rng.random(), latency=0.1) if is_weighted else None,
            categorizer=rng.choice(["rules", "article"]),
            max_error_rate=rng.choice([0.2, 0.5]),
            trial_share=rng.choice([0.0, 0.02, 0.5]),
            confidence=rng.choice([0.5, 0.9, 0.95]),
            stickiness=rng.random() < 0.5,
        )

    def _facts(self, number: int) -> Facts:
        rng, usd = self.rng, self._maybe(1e-7, 5e-7, 2e-6, 1e-5, share=0.85)
        made = Facts(
            f"d{number}",
            rng.choice(["small", "middle", "large"]),
            context_tokens=rng.choice([None, 4_096, 32_768, 200_000]),
            max_output_tokens=rng.choice([None, None, 512, 8_192]),
            input_usd_per_token=usd,
            output_usd_per_token=None if usd is None else usd * rng.choice([1, 4]),
            cached_usd_per_token=None if usd is None else self._maybe(usd / 10),
            quality={} if rng.random() < 0.2 else {"default": rng.uniform(0.4, 1), "code": rng.uniform(0.4, 1)},
            unsupported=frozenset({"tools"} if rng.random() < 0.15 else {"vision"} if rng.random() < 0.2 else ()),
        )
        return replace(made, gpu_usd_per_hour=2.0) if usd is None and rng.random() < 0.5 else made

    def _rows(self) -> dict[str, Metrics]:
        return {category: self._row() for category in CATEGORIES if self.rng.random() < 0.7}

    def _row(self) -> Metrics:
        rng, ttft_s, tpot_s = self.rng, self.rng.uniform(0.05, 2), self.rng.uniform(0.005, 0.06)
        return Metrics(
            NOW_S - rng.choice(AGES_S),
            ttft_s,
            ttft_s * 0.9,
            self._maybe(ttft_s * 1.6),
            tpot_s,
            self._maybe(tpot_s * 1.4),
            throughput_tps=self._maybe(40.0),
            error_rate=rng.choice([0.0] * 8 + [0.1, 0.6]),
            quality_score=self._maybe(0.4, 0.9),
            quality_n=200,
            output_tokens_mean=self._maybe(80, 400),
            samples=30,
            answer_fault="looping 9/10" if rng.random() < 0.02 else None,
            quality_held=rng.random() < 0.05,
            fit=self._fit(ttft_s, tpot_s) if rng.random() < 0.3 else None,
        )

    def _fit(self, ttft_s: float, tpot_s: float) -> LatencyFit:
        line = (ttft_s, 1e-5, 0.01, 0.05, 8.0, tpot_s, 0.001)
        return LatencyFit(NOW_S - self.rng.choice(AGES_S), *line, 1.5, 1.3, 0.1, 0.1, 0.9, 0.9, 200, 50, 8_000, 24)

    def _strategy(self) -> Strategy:
        settings = PluginSettings(groups={GROUP: self.group})
        made = Strategy(settings, MetricsStore(""), lambda: self.now_s, random.Random(self.rng.random()))
        made.store.snapshot = self.snapshot
        made.know(ManagedDeployment(GROUP, one) for one in self.facts)
        made.live.can_ask = lambda _: True
        return made

    def requests(self) -> Iterator[dict[str, object]]:
        """The decisions on each request, and those that replay makes from its record."""
        for number in range(REQUESTS):
            self.now_s += self.rng.expovariate(1 / GAP_S)
            worker = self.rng.choice(self.workers)
            yield self._request(worker, number)
            while self.under_way and self.rng.random() < 0.6:
                self._end(*self.under_way.pop(self.rng.randrange(len(self.under_way))))
            if number % 5 == 0:
                self._refresh()

    def _request(self, worker: Strategy, number: int) -> dict[str, object]:
        rng = self.rng
        ask = mixed(rng, rng.choice([20, 400, 3_000, 20_000]), rng.choice([20, 200, 1_500]))
        trace = Trace(CALL_TYPES[ask.route], self.now_s, group=GROUP, stream=ask.stream)
        wishes = {name: str(rng.choice(values)) for name, values in HEADERS.items() if rng.random() < 0.15}
        ceiling = {"slo_limits": {"cost_per_1k": {"max": 0.002}}} if rng.random() < 0.1 else None
        worker.read_request(GROUP, trace, SloInputs(headers=wishes, key_metadata=ceiling))
        pool = [one.deployment_id for one in self.facts if rng.random() < 0.9]
        sent = body(ask, GROUP)
        found = [self._decision(worker, trace, sent, pool)]
        if pool and rng.random() < 0.15:  # the first attempt fails
            worker.sent(trace, trace.tried[-1])
            found.append(self._decision(worker, trace, sent, pool))
        if pool:
            worker.sent(trace, trace.tried[-1])
            self.under_way.append((worker, trace))
        return {"request": number, "decisions": found, "again": self._again(trace)}

    def _decision(self, worker: Strategy, trace: Trace, sent: dict[str, object], pool: list[str]) -> object:
        full = [name for name in pool if self.rng.random() < 0.03]
        worker.choose(GROUP, sent, pool, trace, full=full)
        return self._record(trace)["decision"]

    def _record(self, trace: Trace, **told: object) -> dict[str, object]:
        payload = {"status": "success", "endTime": self.now_s, "model_group": GROUP, "id": "r", **told}
        return build_record(payload, trace).model_dump(mode="json")

    def _again(self, trace: Trace) -> object:
        record = decode(json.dumps(self._record(trace)).encode())
        if record.decision is None:
            return None
        by_id = {one.deployment_id: one for one in self.facts}
        candidates = [
            Foreseen(by_id[one.deployment], prediction_of(one.predicted), one.probability)
            for one in record.decision.candidates
        ]
        demand = demand_of(record.decision, features_of(record, record.decision), slo_of(record))
        other = redecide(demand, candidates, self.other, Draws(0))
        return {
            "same": decided_again(record, record.decision, self.group, by_id),
            "other": other.chosen.deployment_id,
            "is_met": other.is_met,
            "possible": sorted(possible(other, self.other)),
            "trials": sorted(trials(other, self.other)),
            "rejections": other.rejections,
        }

    def _end(self, worker: Strategy, trace: Trace) -> None:
        rng, ending = self.rng, self.rng.choice(ENDINGS)
        if trace.stream and ending in ("success", "disconnected"):
            trace.saw_token(min(self.now_s, trace.arrived_s + rng.expovariate(3)))
        landing = worker.finish(trace, ending)
        tokens = {"prompt_tokens": rng.randint(10, 20_000), "completion_tokens": rng.randint(1, 2_000)}
        payload = {"status": "success" if ending == "success" else "failure", "endTime": self.now_s, **tokens}
        worker.learn(trace, landing, build_record(payload, trace), is_whole=rng.choice([True, True, False, None]))

    def _refresh(self) -> None:
        heard = [export for one in self.workers if (export := read_export(at_once(one.export()).decode())) is not None]
        for number, worker in enumerate(self.workers):
            worker.watch()
            worker.absorb([*heard[:number], *heard[number + 1 :]])
            for name in probes_due(worker.live.states, self.now_s):
                health: Health = self.rng.choice(["answers", "fails"])
                probe_ended(worker.live.states, name, self.now_s, self.now_s + 0.1, health)


def decisions(count: int, seed: int = 0) -> Iterator[str]:
    """A line of JSON for each request of as many worlds as `count` requests need."""
    for world in range(seed, seed + -(-count // REQUESTS)):
        for found in World(world).requests():
            yield json.dumps({"world": world, **found}, sort_keys=True)
