"""From LiteLLM's request and pool of deployments to a Decision: the last step before the pure core.

Holds what a worker knows (policy, facts of the deployments, snapshot, learned usage) and reads nothing else: no I/O, no
lock. LiteLLM is not imported here.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from itertools import chain

import msgspec

from slo_router.contract.model import Facts
from slo_router.contract.record import RequestRecord
from slo_router.contract.settings.config import GroupSettings, PluginSettings
from slo_router.contract.settings.deployments import ManagedDeployment
from slo_router.decision.decide import Ask, decide
from slo_router.decision.groups import ManagedGroup, default_rules
from slo_router.decision.known import findings, prior
from slo_router.decision.prediction import View, predict
from slo_router.errors import RequestSloError
from slo_router.latency.evidence import Prior
from slo_router.live import picture
from slo_router.live.live import Live
from slo_router.live.picture import Export
from slo_router.live.state import ANSWERS, Ending, Findings, Landing
from slo_router.request.conversations import NOTHING_CACHED, Cached, Conversations, fingerprints
from slo_router.request.features import UNSURE, extract
from slo_router.request.history import is_signed, may_be_signed
from slo_router.request.slo import CATEGORY_HEADER, SloInputs, cost_ceiling, read_asked, resolve
from slo_router.worker.attempt import Attempt
from slo_router.worker.learning.answers import Answers
from slo_router.worker.learning.lessons import Lessons, expected_s
from slo_router.worker.snapshot import MetricsStore
from slo_router.worker.trace import Trace

CONVERSATIONS, LENGTHS = ".conversations", ".lengths"  # beside the deployments' names in what a worker publishes


class Strategy:
    """Everything a worker needs to decide. `clock` tells Unix seconds; a study brings its own, and its own chance."""

    def __init__(
        self,
        settings: PluginSettings,
        store: MetricsStore,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        self.policy = ""
        self.groups: Mapping[str, ManagedGroup] = {}
        self.adopt(settings.groups, settings.policy)
        self.store = store
        self.facts: Mapping[str, Facts] = {}
        self.group_of: Mapping[str, str] = {}  # deployment id → group
        self.answers = Answers()
        self.live = Live()
        self.conversations = Conversations()
        self._priors: tuple[object, dict[str, Prior]] = None, {}  # of which measurements, and by deployment id
        self._lessons = Lessons(self.live)
        self._is_live = settings.live_measurements
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311  # spreads load among equals; nothing secret hangs on it

    def adopt(self, groups: Mapping[str, GroupSettings], policy: str) -> None:
        """Routes by these settings from now on; `policy` is their fingerprint."""
        self.policy = policy
        self.groups = {name: ManagedGroup(group, policy) for name, group in groups.items()}
        self._categories = {UNSURE, *(name for group in self.groups.values() for name in group.categories)}

    def know(self, deployments: Iterable[ManagedDeployment]) -> None:
        """Takes the deployments that LiteLLM's router holds now."""
        deployments = list(deployments)
        self.group_of = {deployment.facts.deployment_id: deployment.group for deployment in deployments}
        self.facts = {deployment.facts.deployment_id: deployment.facts for deployment in deployments}
        self.live.forget(self.facts)

    def read_request(self, group: str, trace: Trace, inputs: SloInputs) -> None:
        """Reads what the request asks for into its trace. Raises RequestSloError (HTTP 400) naming field and value."""
        asked = read_asked(inputs)
        known = self.groups[group].categories
        if asked.category is not None and asked.category not in known:
            raise RequestSloError(CATEGORY_HEADER, asked.category, f"one of {', '.join(known)}")
        trace.asked = asked

    def choose(
        self,
        group: str,
        request: Mapping[str, object],
        pool: Iterable[str],
        trace: Trace,
        *,
        full: Collection[str] = (),
        holder: str | None = None,
    ) -> str | None:
        """Decides, and leaves the decision in the trace. Returns a deployment id of `pool`.

        `None` where no deployment of the pool is one that the configuration knows: LiteLLM then chooses. Those that are
        `full` come last; `holder` has the response that this request goes on with.
        """
        managed = self.groups[group]
        known = self.facts
        candidates = [known[name] for name in pool if name in known]
        if not candidates:
            trace.decision, trace.note = None, "no candidate is known to the configuration"
            return None
        features = extract(request, managed.categorizer, trace.asked.category, self.answers.learned)
        trace.slo, trace.clamped = resolve(trace.asked, managed.default_slo(features.category))
        now_s = self._clock()
        view = View(self.store.snapshot, now_s, self._rng, self.live.states)  # empty where nothing live counts
        cached = NOTHING_CACHED
        messages = request.get("messages") or request.get("input")
        has_signed = is_signed(messages)
        trace.is_signed = has_signed or may_be_signed(request)
        if managed.settings.stickiness or trace.is_signed:
            trace.beginnings = fingerprints(messages)
            found = self.conversations.find(trace.beginnings)
            if managed.settings.stickiness and found.counts(now_s):
                cached = found
            if has_signed and found.deployment_id in known:
                holder = found.deployment_id
        tried = frozenset(trace.tried).difference(full)  # what is full was picked a moment ago, and not tried
        lengths = self.answers.lengths(features.category, candidates, now_s)
        readers, ceiling = _readers(holder, candidates), cost_ceiling(trace.asked)
        ask = Ask(features, trace.slo, tried, ceiling, cached, frozenset(full), readers, lengths)
        decision = decide(ask, candidates, view, managed.policy)
        trace.decision = decision
        if not trace.is_shadow:
            self._begin(trace, decision.deployment_id, now_s)
        return decision.deployment_id

    def affordable(self, offered: Sequence[Facts], request: Mapping[str, object], ceiling_usd: float) -> frozenset[str]:
        """Of deployments among which LiteLLM picks, those that keep a key's ceiling (USD per 1,000 tokens).

        Where none does, the cheapest; all of them where no price is known.
        """
        features = extract(request, default_rules(), None, self.answers.learned)
        view = View(self.store.snapshot, self._clock(), self._rng, self.live.states)
        costs = {one.deployment_id: predict(one, features, view).cost_per_1k_usd for one in offered}
        known = {name: usd for name, usd in costs.items() if usd is not None}
        limit_usd = max(ceiling_usd, min(known.values(), default=math.inf))
        return frozenset(name for name, usd in known.items() if usd <= limit_usd) or frozenset(costs)

    def draw_lot(self) -> float:
        """For a new request: 0 to below 1. The proxy's own randomness is not touched."""
        return self._rng.random()

    def sent(self, trace: Trace, deployment_id: str) -> bool:
        """LiteLLM sends the request to `deployment_id`, whoever picked it. False where it says so again."""
        attempt = trace.attempt
        if attempt is None or attempt.deployment_id != deployment_id:  # LiteLLM's own pick
            attempt = self._begin(trace, deployment_id, self._clock())
        if attempt.is_sent:
            return False
        attempt.is_sent = True
        if self._is_live and trace.decision is not None:
            self._lessons.see_scarcity(trace.decision, self._clock())
        if trace.stream:
            self._lessons.await_token(attempt, trace)
        return True

    def supersede(self, trace: Trace) -> None:
        """LiteLLM picks again: the attempt under way is over."""
        if trace.attempt is not None:
            self.finish(trace, trace.attempt.superseded())

    def _begin(self, trace: Trace, deployment_id: str, now_s: float) -> Attempt:
        self.supersede(trace)
        attempt = Attempt(deployment_id)
        if self._is_live and deployment_id in self.facts:
            attempt.flight = self.live.dispatched(deployment_id, now_s, expected_s(trace, deployment_id))
        trace.begin(attempt)
        return attempt

    def is_overdue(self, trace: Trace) -> bool:
        """Whether the attempt under way has waited for longer than was expected of it."""
        flight = None if trace.attempt is None else trace.attempt.flight
        return flight is not None and flight.is_overdue(self._clock())

    def finish(self, trace: Trace, ending: Ending) -> Landing | None:
        """The attempt under way is over: what `learn` needs of it, `None` where it teaches nothing."""
        attempt = trace.attempt
        return None if attempt is None else self._lessons.end(attempt, trace, ending, self._clock())

    def learn(
        self, trace: Trace, landing: Landing | None, record: RequestRecord, *, is_whole: bool | None = None
    ) -> None:
        """Learns from a request that is over; `landing` is that of its last attempt.

        `is_whole`: its answer ended by itself; `None` where nobody can tell.
        """
        if landing is not None and is_whole is not None and trace.decision is not None:
            category = trace.decision.features.category
            self.live.prove(landing.flight.deployment_id, ANSWERS, category, is_good=is_whole)
        if record.outcome == "success" and trace.decision is not None and trace.sent_to:
            features = trace.decision.features
            served = self.facts.get(trace.sent_to[-1])
            self.answers.see(features, "" if served is None else served.model, record)
            if record.slo_met is False and not trace.is_signed:
                self.conversations.release(trace.beginnings)
            else:
                cached = Cached(trace.sent_to[-1], features.prompt_tokens, record.ts)
                self.conversations.remember(trace.beginnings, cached)
        if landing is not None:
            self._lessons.learn(landing, trace, record)

    def left_to_litellm(self, off: Collection[str]) -> frozenset[str]:
        """The deployments that this plugin sends no request to: their groups are switched off, or in shadow."""
        groups = {group for group, managed in self.groups.items() if managed.settings.mode == "shadow"}.union(off)
        return frozenset(name for name, group in self.group_of.items() if group in groups)

    def watch(self) -> None:
        """Looks at what is under way, some times a second: first tokens that came, deployments that answer nothing."""
        self._lessons.see_first_tokens()
        self.live.watch(self._clock())

    def export(self) -> Generator[None, None, bytes]:
        """What this worker saw, for the others, as JSON; step by step, for there may be many deployments."""
        self._lessons.see_first_tokens()
        said: dict[str, object] = {}
        for name, text in picture.export(self.live, self._clock()):
            said[name] = text
            yield
        more = {CONVERSATIONS: self.conversations.export(), LENGTHS: self.answers.export()}
        return msgspec.json.encode({**said, **more})

    def hear(self, exports: Iterable[Export]) -> Generator[None, None, None]:
        """Takes in what the other workers see, step by step."""
        exports, models = list(exports), {one.model for one in self.facts.values()}
        for export in exports:
            self.conversations.absorb(_decoded(export.get(CONVERSATIONS)), self._clock())
            self.answers.hear(_decoded(export.get(LENGTHS)), models, self._categories, self._clock())
            yield
        for name in list(self.facts):
            self.live.find(name, self._findings(name))
            yield
        yield from picture.hear(self.live, exports, self.facts, self._clock())

    def _findings(self, name: str) -> Findings:
        """What the benchmark found against a deployment, in the categories of its group."""
        group = self.groups.get(self.group_of.get(name, ""))
        if group is None:
            return {}
        return findings(name, (*group.categories, UNSURE), self.store.snapshot, group.settings.max_error_rate)

    def refit(self) -> Generator[None, None, None]:
        """Works out what to expect, from what all workers saw and the benchmark last measured, step by step."""
        self._lessons.see_first_tokens()
        measured, facts = self.store.snapshot.measured, self.facts
        if self._priors[0] is not measured or self._priors[1].keys() != facts.keys():
            priors = {}
            for name in facts:
                priors[name] = prior(list(measured.get(name, {}).values()))
                yield
            self._priors = measured, priors
        yield from self.live.refit(self._priors[1], self._clock())

    def absorb(self, exports: Iterable[Export]) -> None:
        """Hears the others and works out what to expect, all at once."""
        for _ in chain(self.hear(exports), self.refit()):
            pass


def _decoded(text: msgspec.Raw | None) -> object:
    """What another worker wrote; `None` where it wrote nothing, or nothing that can be read."""
    try:
        return None if text is None else msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _readers(holder: str | None, candidates: Sequence[Facts]) -> frozenset[str] | None:
    """Who can read what `holder` holds: it and every other deployment of its model; everybody where it is away."""
    if holder is None:
        return None
    model = next((one.model for one in candidates if one.deployment_id == holder), None)
    return None if model is None else frozenset(one.deployment_id for one in candidates if one.model == model)
