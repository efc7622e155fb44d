"""The plugin itself as a policy: the real `decide` on the real live state, at four workers.

Requests go to the workers in turn. Each worker has its own `Live` and publishes it once a second, through JSON as
through Redis; all hear each other at once. Beside them an observer hears of every request itself, and each decision is
held against the one that it would have made.
"""

# ruff: noqa: ARG002  # every policy has the same signatures
from __future__ import annotations

import itertools
import json
import random
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from evaluation.simulator.endpoint import Spec
from evaluation.simulator.policies import Told
from evaluation.simulator.policy import Call, Choice, Ended, Probe
from evaluation.simulator.workload import Request
from slo_router.circuit import probed
from slo_router.config import GroupSettings
from slo_router.domain import Decision, Facts, Features, Metrics, Slo, Snapshot
from slo_router.live import Ending, Flight, Live, LiveState
from slo_router.metrics_store import make_snapshot
from slo_router.prediction import View, prior
from slo_router.routing import Ask, Policy, decide

WORKERS = 4
TICKS_PER_REFRESH = 4
EPOCH_S = 1_750_000_000.0  # virtual time 0, in Unix seconds
BENCHMARK_AGE_S = 6 * 3_600.0  # it ran last night
POLICY = Policy(GroupSettings(), "simulator")


class Worker(NamedTuple):
    """One process of the proxy, or the observer."""

    live: Live
    rng: random.Random


class Ours(Told):
    """See the module. `benchmark` is by deployment name; one that it lacks was never measured."""

    def __init__(self, specs: Sequence[Spec], rng: random.Random, benchmark: Mapping[str, Metrics]) -> None:
        super().__init__(specs, rng)
        self.facts = [facts_of(spec) for spec in specs]
        categories: Collection[str] = specs[0].quality
        aged = {name: row._replace(measured_at_s=EPOCH_S - BENCHMARK_AGE_S) for name, row in benchmark.items()}
        measured = {name: dict.fromkeys(categories, row) for name, row in aged.items()}
        self.snapshot: Snapshot = make_snapshot(measured, EPOCH_S)
        self.priors = {name: prior([row]) for name, row in benchmark.items()}
        self.workers = [Worker(Live(), random.Random(rng.random())) for _ in range(WORKERS)]
        self.observer = Worker(Live(), random.Random(rng.random()))
        self._turn, self._ticks = itertools.count(), itertools.count()
        self._flights: dict[int, list[tuple[Live, Flight]]] = {}  # by request, the worker's and the observer's
        self._begun: list[tuple[Request, float, float]] = []  # request, TTFT, when; since the last tick
        self._pictures: deque[Mapping[str, LiveState]] = deque(
            maxlen=2 * TICKS_PER_REFRESH
        )  # the observer's, of two seconds
        self._decided: tuple[Worker, Decision] | None = None  # by `choose`, for the `begun` that follows

    def choose(self, call: Call, now_s: float) -> Choice:
        """See Policy."""
        worker = self.workers[next(self._turn) % WORKERS]
        candidates = [self.facts[i] for i in call.pool]
        tried = frozenset(self.specs[i].name for i in call.tried)
        ask = Ask(features_of(call.request), slo_of(call.request), tried)

        def decided(rng: random.Random, states: Mapping[str, LiveState]) -> Decision:
            return decide(ask, candidates, View(self.snapshot, EPOCH_S + now_s, rng, states), POLICY)

        decision = decided(worker.rng, worker.live.states)
        agreed, agreed_soon = self._agreed(decision, decided)
        self._decided = worker, decision
        chosen = next(i for i in call.pool if self.specs[i].name == decision.deployment_id)
        p95_s = None if decision.selected is None else decision.selected.prediction.ttft_s
        if decision.outlook is not None:
            p95_s = decision.outlook.ttft_p95_s
        return Choice(chosen, decision.probability, p95_s, agreed, agreed_soon)

    def _agreed(
        self, decision: Decision, decided: Callable[[random.Random, Mapping[str, LiveState]], Decision]
    ) -> tuple[bool, bool]:
        """Whether the observer decides alike now, and whether it does or would have in the last two seconds."""
        pictures = (self.observer.live.states, *self._pictures)
        alike = (decided(self.observer.rng, picture).deployment_id == decision.deployment_id for picture in pictures)
        now = next(alike)
        return now, now or any(alike)

    def begun(self, call: Call, deployment: int, now_s: float) -> None:
        """See Policy."""
        if self._decided is not None:
            worker, decision = self._decided
            expected_s = None if decision.selected is None else decision.selected.prediction.ttft_s
            self._flights[call.request.number] = [
                (live, live.dispatched(decision.deployment_id, EPOCH_S + now_s, expected_s))
                for live in (worker.live, self.observer.live)
            ]

    def first_token(self, request: Request, ttft_s: float, now_s: float) -> None:
        """See Policy. The plugin looks at its ticks."""
        self._begun.append((request, ttft_s, now_s))

    def ended(self, end: Ended, now_s: float) -> None:
        """See Policy."""
        ending: Ending = "success" if end.outcome == "success" else "error"
        for live, flight in self._flights.pop(end.request.number):
            live.finished(
                flight,
                ending,
                EPOCH_S + now_s,
                prompt_tokens=end.request.estimated_tokens,
                output_tokens=end.request.output_tokens,
                ttft_s=end.ttft_s,
                e2e_s=end.e2e_s,
            )

    def tick(self, now_s: float) -> None:
        """See Policy."""
        for request, ttft_s, at_s in self._begun:
            for live, flight in self._flights.get(request.number, ()):
                live.first_token(flight, EPOCH_S + at_s, prompt_tokens=request.estimated_tokens, ttft_s=ttft_s)
        self._begun.clear()
        for live in (*(worker.live for worker in self.workers), self.observer.live):
            live.watch(EPOCH_S + now_s)
        if next(self._ticks) % TICKS_PER_REFRESH == 0:
            self._refresh(EPOCH_S + now_s)
        self._pictures.append(
            {
                name: LiveState(elsewhere=state.in_flight, curve=state.curve, circuit=state.circuit)
                for name, state in self.observer.live.states.items()
            }
        )

    def probes(self, now_s: float) -> Sequence[Probe]:
        """See Policy. The observer hears of the workers' probes and sends none."""
        sent_s = EPOCH_S + now_s
        return [
            self._probe(i, spec.name, worker.live, sent_s)
            for worker in self.workers
            for name in worker.live.probes_due(sent_s)
            for i, spec in enumerate(self.specs)
            if spec.name == name
        ]

    def _probe(self, deployment: int, name: str, prober: Live, sent_s: float) -> Probe:
        seen = self.observer.live.states[name]
        seen.circuit = probed(seen.circuit, sent_s)

        def ended(now_s: float, is_answered: bool) -> None:  # noqa: FBT001
            for live in (prober, self.observer.live):
                live.probe_ended(name, sent_s, EPOCH_S + now_s, "answers" if is_answered else "fails")

        return Probe(deployment, ended)

    def _refresh(self, unix_s: float) -> None:
        """What the plugin's background jobs do once a second."""
        published = [json.dumps(worker.live.export(unix_s)) for worker in self.workers]
        heard = [json.loads(text) for text in published]
        for i, worker in enumerate(self.workers):
            worker.live.absorb([*heard[:i], *heard[i + 1 :]], self.priors, unix_s)
        self.observer.live.absorb([], self.priors, unix_s)


def facts_of(spec: Spec) -> Facts:
    """What the configuration says of an endpoint."""
    return Facts(
        spec.name,
        spec.name,
        input_usd_per_token=spec.input_usd_per_token,
        output_usd_per_token=spec.output_usd_per_token,
        quality=spec.quality,
    )


def features_of(request: Request) -> Features:
    """What the plugin knows of a request: sizes are guesses."""
    expected = request.expected_tokens
    return Features(request.category, "client", request.estimated_tokens, expected, expected, stream=True)


def slo_of(request: Request) -> Slo:
    """The contract, as the request's headers say it."""
    ttft_s, cost_per_1k_usd, min_quality = request.contract
    return Slo(ttft_s=ttft_s, cost_per_1k_usd=cost_per_1k_usd, min_quality=min_quality)
