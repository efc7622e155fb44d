"""The plugin itself as a policy: four workers, each with the strategy, the live state and the learning of a proxy.

Requests go to the workers in turn. The policy calls what LiteLLM's hooks call, in the same order: pick, sent, first
token, end, record. Each worker publishes its live state once a second, as JSON as in Redis, and all workers hear it at
once. An observer in shadow mode hears of every request itself. Every fourth decision is compared with the one that the
observer would have made.

Here LiteLLM always marks the true first token. On a real proxy it may mark a chunk with the role alone; tests on the
real proxy cover that.
"""

# ruff: noqa: ARG002  # every policy has the same signatures
from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from evaluation.shared.traffic import CALL_TYPES, body, prose
from evaluation.simulator.endpoint import Outcome, Spec
from evaluation.simulator.ours import rescuing
from evaluation.simulator.ours.told import facts_of, headers_of
from evaluation.simulator.policy import Call, Choice, Ended, Policy, Probe
from evaluation.simulator.workload import Request
from slo_router.contract.model import Decision, Metrics
from slo_router.contract.settings.config import PluginSettings
from slo_router.contract.settings.deployments import ManagedDeployment
from slo_router.contract.settings.group import GroupSettings, RescueSettings
from slo_router.live.account import is_doubted
from slo_router.live.circuit import probed
from slo_router.live.probes import Health, probe_ended, probes_due
from slo_router.live.state import Ending, Landing, LiveState
from slo_router.request.slo import SloInputs
from slo_router.worker.probing import UNCLEAR_S
from slo_router.worker.records import build_record
from slo_router.worker.sharing import read_export
from slo_router.worker.snapshot import MetricsStore, make_snapshot
from slo_router.worker.strategy import Strategy
from slo_router.worker.tasks.turns import at_once
from slo_router.worker.trace import Trace

GROUP = "simulator"
WORKERS = 4
OBSERVED_EVERY = 4
BY_FAR = 1.25  # more than the filter's margin and an estimate's error together
TICKS_PER_REFRESH = 4
EPOCH_S = 1_750_000_000.0  # virtual time 0, in Unix seconds
BENCHMARK_AGE_S = 6 * 3_600.0  # the benchmark ran last night
ENDINGS: Mapping[Outcome, Ending] = {  # as `gateway.faults.fault_of` reads what LiteLLM raises
    "success": "success",
    "error": "error",
    "timeout": "error",
    "limited": "full",
    "denied": "denied",
    "forbidden": "refused",
    "unclear": "refused",
    "own": "released",
    "left": "disconnected",
    "given_up": "silent",
}
HEALTH: Mapping[Outcome, Health] = {"success": "answers", "error": "fails", "timeout": "fails", "limited": "fails"}


@dataclass(slots=True, eq=False)
class Way:
    """One request in a worker, with the worker's trace and the observer's. Times are Unix seconds."""

    worker: Strategy
    trace: Trace
    observed: Trace


class Ours(Policy):
    """See the module. `benchmark` is by deployment name; a deployment that it lacks was never measured."""

    def __init__(
        self,
        specs: Sequence[Spec],
        rng: random.Random,
        benchmark: Mapping[str, Metrics],
        rescue: RescueSettings | None = None,
    ) -> None:
        super().__init__(specs, rng)
        self._rescue = rescue
        self._now_s = EPOCH_S
        self._position = {spec.name: i for i, spec in enumerate(specs)}
        aged = {name: _aged(row) for name, row in benchmark.items()}
        self._snapshot = make_snapshot(
            {name: dict.fromkeys(specs[0].quality, row) for name, row in aged.items()}, EPOCH_S
        )
        self.workers = [self._strategy() for _ in range(WORKERS)]
        self.observer = self._strategy()
        self._turn, self._ticks = itertools.count(), itertools.count()
        self._ways: dict[int, Way] = {}  # by request number
        self._over: list[tuple[Way, Landing | None, Landing | None, dict[str, object]]] = []  # since the last tick
        self._unclear_s: dict[tuple[int, str], float] = {}  # last unclear health check, by worker and deployment
        self._pictures: deque[Mapping[str, LiveState]] = deque(
            maxlen=2 * TICKS_PER_REFRESH
        )  # the observer's state at each tick of the last two seconds

    def _strategy(self) -> Strategy:
        settings = PluginSettings(groups={GROUP: GroupSettings()})
        made = Strategy(settings, MetricsStore(""), lambda: self._now_s, random.Random(self.rng.random()))
        made.store.snapshot = self._snapshot
        made.know(ManagedDeployment(GROUP, facts_of(spec)) for spec in self.specs)
        made.live.can_ask = lambda _: True
        return made

    def choose(self, call: Call, now_s: float) -> Choice:
        """See Policy."""
        self._now_s = EPOCH_S + now_s
        way = self._ways.get(call.request.number) or self._arrived(call.request)
        pool = [self.specs[i].name for i in call.pool]
        sent = body(call.request.ask, GROUP, prose(call.request.chars))
        name = way.worker.choose(GROUP, sent, pool, way.trace)
        decision = way.trace.decision
        if name is None or decision is None:
            raise RuntimeError("the strategy left a pick to LiteLLM, which is not simulated")
        agreed, agreed_soon = self._agreed(name, sent, pool, way.observed, call.request.number)
        is_stream, outlook = call.request.ask.stream, decision.outlook
        p95_s = None if decision.selected is None else decision.selected.prediction.ttft_s
        p95_s = p95_s if outlook is None else outlook.ttft_p95_s
        misjudged = self._misjudges(decision, call.request)
        at = self._position[name]
        return Choice(at, decision.probability, p95_s if is_stream else None, agreed, agreed_soon, misjudged)

    def _arrived(self, request: Request) -> Way:
        worker = self.workers[next(self._turn) % WORKERS]
        call_type, stream = CALL_TYPES[request.ask.route], request.ask.stream
        trace = Trace(call_type, self._now_s, group=GROUP, stream=stream)
        observed = Trace(call_type, self._now_s, group=GROUP, stream=stream, is_shadow=True)
        way = self._ways[request.number] = Way(worker, trace, observed)
        for strategy, trace in ((worker, way.trace), (self.observer, way.observed)):
            strategy.read_request(GROUP, trace, SloInputs(headers=headers_of(request)))
        return way

    def _agreed(
        self, name: str, sent: dict[str, object], pool: Sequence[str], trace: Trace, number: int
    ) -> tuple[bool, bool] | tuple[None, None]:
        """Whether the observer decides alike now; and whether it does so now or would have in the last two seconds.

        Only every fourth request asks, because the observer decides up to nine times for it. `None` for the others.
        """
        live, states = self.observer.live, self.observer.live.states
        if number % OBSERVED_EVERY:
            self.observer.choose(GROUP, sent, pool, trace)  # so that it knows what to expect of the request
            return None, None

        def alike(picture: Mapping[str, LiveState]) -> bool:
            live.states = dict(picture)
            return self.observer.choose(GROUP, sent, pool, trace) == name

        try:
            now = alike(states)
            return now, now or any(map(alike, self._pictures))
        finally:
            live.states = states

    def _misjudges(self, decision: Decision, request: Request) -> bool:
        """Whether the decision rules out a deployment as too small whose context window is by far large enough."""
        return any(
            rejection.filter == "context_window"
            and self.specs[self._position[rejection.deployment_id]].context_tokens >= BY_FAR * request.ask.needs_tokens
            for rejection in decision.rejections
        )

    def begun(self, call: Call, deployment: int, now_s: float) -> None:
        """See Policy."""
        way, name = self._ways[call.request.number], self.specs[deployment].name
        for strategy, trace in ((way.worker, way.trace), (self.observer, way.observed)):
            strategy.sent(trace, name)

    def deadline_s(self, request: Request, now_s: float) -> float | None:
        """See Policy."""
        if self._rescue is None:
            return None
        way = self._ways[request.number]
        return rescuing.deadline_s(way.worker, way.trace, GROUP, self._rescue, EPOCH_S + now_s)

    def look(self, request: Request, now_s: float) -> float | None:
        """See Policy."""
        self._now_s = EPOCH_S + now_s
        way = self._ways[request.number]
        return rescuing.look(way.worker, way.trace, GROUP, self._now_s)

    def first_token(self, request: Request, ttft_s: float, now_s: float) -> None:
        """See Policy. The workers learn of it at their next tick."""
        way = self._ways[request.number]
        for trace in (way.trace, way.observed):
            if request.ask.stream and trace.awaits_token:
                trace.saw_token(EPOCH_S + now_s)

    def ended(self, end: Ended, now_s: float) -> None:
        """See Policy."""
        self._now_s = EPOCH_S + now_s
        way = self._ways[end.request.number]
        limit = self.specs[end.deployment].habits.limit
        wait_s = limit.retry_after_s if limit is not None and end.outcome == "limited" else None
        own, observed = (
            strategy.finish(trace, ENDINGS[end.outcome], wait_s)
            for strategy, trace in ((way.worker, way.trace), (self.observer, way.observed))
        )
        if end.is_over:
            del self._ways[end.request.number]
            self._over.append((way, own, observed, self._payload(end)))

    def _payload(self, end: Ended) -> dict[str, object]:
        """The fields of LiteLLM's standard logging payload from which a record is made."""
        return {
            "status": "success" if end.outcome in ("success", "left") else "failure",
            "error_str": "Client disconnected" if end.outcome == "left" else None,
            "endTime": self._now_s,
            "prompt_tokens": end.request.prompt_tokens,
            "completion_tokens": None if end.outcome == "left" else end.request.answers[end.deployment],
            "model_id": self.specs[end.deployment].name,
        }

    def tick(self, now_s: float) -> None:
        """See Policy."""
        self._now_s = EPOCH_S + now_s
        for way, own, observed, payload in self._over:
            record = build_record(payload, way.trace)
            way.worker.learn(way.trace, own, record)
            self.observer.learn(way.observed, observed, record)
        self._over.clear()
        for strategy in (*self.workers, self.observer):
            strategy.watch()
        if next(self._ticks) % TICKS_PER_REFRESH == 0:
            self._refresh()
        self._pictures.append(
            {
                name: LiveState(
                    elsewhere=state.in_flight,
                    curve=state.curve,
                    circuit=state.circuit,
                    account=state.account,
                    tariff=state.tariff,
                )
                for name, state in self.observer.live.states.items()
            }
        )

    def probes(self, now_s: float) -> Sequence[Probe]:
        """See Policy. The observer hears of the workers' probes and sends none."""
        return [
            self._probe(i, name, self._now_s)
            for i, worker in enumerate(self.workers)
            for name in probes_due(worker.live.states, self._now_s, self._left_out(i))
        ]

    def _left_out(self, worker: int) -> Collection[str]:
        return [name for (i, name), at_s in self._unclear_s.items() if i == worker and self._now_s - at_s < UNCLEAR_S]

    def _probe(self, worker: int, name: str, sent_s: float) -> Probe:
        seen = self.observer.live.states[name]
        seen.circuit = probed(seen.circuit, sent_s)

        def ended(now_s: float, outcome: Outcome) -> None:
            for i, live in ((worker, self.workers[worker].live), (-1, self.observer.live)):
                health = HEALTH.get(outcome, "refuses")
                if health == "refuses" and not is_doubted(live.states[name].account):
                    health, self._unclear_s[i, name] = "unclear", EPOCH_S + now_s
                probe_ended(live.states, name, sent_s, EPOCH_S + now_s, health)

        return Probe(self._position[name], ended)

    def shut(self, now_s: float) -> Collection[int]:
        """See Policy. A deployment is shut if any worker leaves it out."""
        return {
            self._position[name]
            for worker in self.workers
            for name, state in worker.live.states.items()
            if state.circuit.is_open or state.account.is_shut
        }

    def _refresh(self) -> None:
        """What the plugin's background jobs do once a second."""
        published = [at_once(worker.export()) for worker in self.workers]
        heard = [export for text in published if (export := read_export(text.decode())) is not None]
        for i, worker in enumerate(self.workers):
            worker.absorb([*heard[:i], *heard[i + 1 :]])
        self.observer.absorb([])


def _aged(row: Metrics) -> Metrics:
    at_s = EPOCH_S - BENCHMARK_AGE_S
    return row._replace(measured_at_s=at_s, fit=None if row.fit is None else row.fit._replace(measured_at_s=at_s))
