"""From LiteLLM's request and pool of deployments to a Decision: the last step before the pure core.

Holds what a worker knows (policy, facts of the deployments, snapshot, learned usage) and reads nothing else: no I/O, no
lock. LiteLLM is not imported here.
"""

from __future__ import annotations

import functools
import random
import time
import zlib
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from itertools import chain

import msgspec

from slo_router.attempt import Attempt
from slo_router.categories import Categorizer, article, rules
from slo_router.config import GroupSettings, PluginSettings
from slo_router.contract import RequestRecord
from slo_router.conversations import NOTHING_CACHED, Cached, Conversations, fingerprints
from slo_router.deployments import ManagedDeployment
from slo_router.domain import Facts, Slo
from slo_router.errors import RequestSloError
from slo_router.evidence import Prior
from slo_router.features import UNSURE, Learned, extract
from slo_router.history import is_signed, may_be_signed
from slo_router.live import Ending, Flight, Landing, Live
from slo_router.metrics_store import MetricsStore
from slo_router.prediction import View, prior
from slo_router.routing import NO_LENGTHS, Ask, Policy, decide
from slo_router.slo import CATEGORY_HEADER, MS, SloInputs, cost_ceiling, read_asked, resolve
from slo_router.trace import Trace
from slo_router.usage import learn

CONVERSATIONS = ".conversations"  # beside the deployments' names in what a worker publishes
FirstToken = Callable[[], float | None]  # Unix seconds of an attempt's first token, `None` before
ROUTED_CALL_TYPES = frozenset(
    {
        "completion",
        "acompletion",
        "text_completion",
        "atext_completion",
        "responses",
        "aresponses",
        "anthropic_messages",
    }
)


class ManagedGroup:
    """One group's settings, worked out once: policy, categorizer, categories, default SLO."""

    def __init__(self, settings: GroupSettings, fingerprint: str) -> None:
        self.settings = settings
        self.policy = Policy(settings, fingerprint)
        self.categories = settings.known_categories
        self.categorizer = _categorizer(settings)
        self._default_slos = {category: self._make_slo(category) for category in (*self.categories, UNSURE)}

    def default_slo(self, category: str) -> Slo:
        """What applies to a request of this category that asks for nothing."""
        return self._default_slos.get(category, self._default_slos[UNSURE])  # a fallback group may not know it

    def _make_slo(self, category: str) -> Slo:
        slo = self.settings.slo
        floor = self.settings.quality_floor(category)
        return Slo(_seconds(slo.ttft_ms), _seconds(slo.tpot_ms), _seconds(slo.e2e_ms), slo.cost_per_1k, floor)


class Strategy:
    """Everything a worker needs to decide."""

    def __init__(self, settings: PluginSettings, store: MetricsStore) -> None:
        self.policy = ""
        self.groups: Mapping[str, ManagedGroup] = {}
        self.adopt(settings.groups, settings.policy)
        self.store = store
        self.facts: Mapping[str, Facts] = {}
        self.group_of: Mapping[str, str] = {}  # deployment id → group
        self.learned = Learned()
        self.live = Live()
        self.conversations = Conversations()
        self._priors: tuple[object, dict[str, Prior]] = None, {}  # of which measurements, and by deployment id
        self._awaited: dict[int, tuple[Flight, Trace, FirstToken]] = {}  # streams whose first token was not seen
        self._is_live = settings.live_measurements
        self._is_warm = False
        self._rng = random.Random()  # noqa: S311  # spreads load among equals; nothing secret hangs on it

    def adopt(self, groups: Mapping[str, GroupSettings], policy: str) -> None:
        """Routes by these settings from now on; `policy` is their fingerprint."""
        self.policy = policy
        self.groups = {name: ManagedGroup(group, policy) for name, group in groups.items()}

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
        features = extract(request, managed.categorizer, trace.asked.category, self.learned)
        trace.slo, trace.clamped = resolve(trace.asked, managed.default_slo(features.category))
        now_s = time.time()
        view = View(self.store.snapshot, now_s, self._rng, self.live.states)  # empty where nothing live counts
        cached = NOTHING_CACHED
        messages = request.get("messages") or request.get("input")
        has_signed = is_signed(messages)
        trace.is_signed = has_signed or may_be_signed(request)
        if managed.settings.stickiness or trace.is_signed:
            trace.beginnings = fingerprints(messages)
            found = self.conversations.find(trace.beginnings)
            if managed.settings.stickiness:
                cached = found
            if has_signed and found.deployment_id in known:
                holder = found.deployment_id
        tried = frozenset(trace.tried).difference(full)  # what is full was picked a moment ago, and not tried
        lengths = self._lengths(features.category, candidates)
        readers, ceiling = _readers(holder, candidates), cost_ceiling(trace.asked)
        ask = Ask(features, trace.slo, tried, ceiling, cached, frozenset(full), readers, lengths)
        decision = decide(ask, candidates, view, managed.policy)
        trace.decision = decision
        if not trace.is_shadow:
            self._begin(trace, decision.deployment_id, now_s)
        return decision.deployment_id

    def _lengths(self, category: str, candidates: Sequence[Facts]) -> Mapping[str, float]:
        """The expected answer of each candidate: that of its model."""
        known = self.learned.lengths.get(category)
        if not known:
            return NO_LENGTHS
        unknown = self.learned.unknown_length(category)
        return {one.deployment_id: known.get(one.model, unknown) for one in candidates}

    @staticmethod
    def has_ceiling(trace: Trace) -> bool:
        """Whether the request's key or team has a cost limit that must hold."""
        return cost_ceiling(trace.asked) is not None

    def draw_lot(self) -> float:
        """For a new request: 0 to below 1. The proxy's own randomness is not touched."""
        return self._rng.random()

    def routes(self, group: str, key_hash: str, lot: float) -> bool:
        """Whether the decision counts; else it is recorded alone, for the group is in shadow or not in the canary."""
        mode = self.groups[group].settings.mode
        if isinstance(mode, str):
            return mode == "route"
        if mode.by == "key":
            return zlib.crc32(key_hash.encode()) / 2**32 < mode.canary
        return lot < mode.canary

    def sent(self, trace: Trace, deployment_id: str, first_token: FirstToken) -> bool:
        """LiteLLM sends the request to `deployment_id`, whoever picked it. False where it says so again."""
        attempt = trace.attempt
        if attempt is None or attempt.deployment_id != deployment_id:  # LiteLLM's own pick
            attempt = self._begin(trace, deployment_id, time.time())
        if attempt.is_sent:
            return False
        attempt.is_sent = True
        if attempt.flight is not None and trace.shows_first_token:
            self._awaited[id(attempt.flight)] = attempt.flight, trace, first_token
        return True

    def supersede(self, trace: Trace) -> None:
        """LiteLLM picks again: the attempt under way is over."""
        if trace.attempt is not None:
            self.finish(trace, trace.attempt.superseded())

    def _begin(self, trace: Trace, deployment_id: str, now_s: float) -> Attempt:
        self.supersede(trace)
        attempt = Attempt(deployment_id)
        if self._is_live and deployment_id in self.facts:
            attempt.flight = self.live.dispatched(deployment_id, now_s, _expected_s(trace, deployment_id))
        trace.attempts.append(attempt)
        return attempt

    def finish(self, trace: Trace, ending: Ending) -> Landing | None:
        """The attempt under way is over: what `learn` needs of it, `None` where it teaches nothing."""
        attempt = trace.attempt
        if attempt is None:
            return None
        attempt.ending, flight = ending, attempt.flight
        if flight is None:
            return None
        self._awaited.pop(id(flight), None)
        is_warm, self._is_warm = self._is_warm, True
        if not is_warm and ending != "error":  # a worker's first request is slower for reasons of its own
            ending = "released"
        return self.live.ended(flight, ending, time.time())

    def learn(self, trace: Trace, landing: Landing | None, record: RequestRecord) -> None:
        """Learns from a request that is over; `landing` is that of its last attempt."""
        if record.outcome == "success" and trace.decision is not None and trace.sent_to:
            features = trace.decision.features
            served = self.facts.get(trace.sent_to[-1])
            model = "" if served is None else served.model
            self.learned = learn(self.learned, features, model, record.prompt_tokens, record.completion_tokens)
            if record.slo_met is False and not trace.is_signed:
                self.conversations.release(trace.beginnings)
            else:
                cached = Cached(trace.sent_to[-1], features.prompt_tokens)
                self.conversations.remember(trace.beginnings, cached)
        if landing is None:
            return
        waited_s = landing.flight.at_s - trace.arrived_s  # in the proxy, and for attempts that failed
        self.live.learn(
            landing,
            prompt_tokens=None if record.prompt_tokens is None else _estimated_tokens(trace),
            output_tokens=record.completion_tokens,
            ttft_s=None if record.ttft_ms is None else record.ttft_ms * MS - waited_s,
            e2e_s=None if record.e2e_ms is None else record.e2e_ms * MS - waited_s,
        )

    def left_to_litellm(self, off: Collection[str]) -> frozenset[str]:
        """The deployments that this plugin sends no request to: their groups are switched off, or in shadow."""
        groups = {group for group, managed in self.groups.items() if managed.settings.mode == "shadow"}.union(off)
        return frozenset(name for name, group in self.group_of.items() if group in groups)

    def watch(self) -> None:
        """Looks at what is under way, some times a second: first tokens that came, deployments that answer nothing."""
        self._see_first_tokens()
        self.live.watch(time.time())

    def export(self) -> Generator[None, None, bytes]:
        """What this worker saw, for the others, as JSON; step by step, for there may be many deployments."""
        self._see_first_tokens()
        said: dict[str, object] = {}
        for name, text in self.live.export_raw(time.time()):
            said[name] = text
            yield
        return msgspec.json.encode({**said, CONVERSATIONS: self.conversations.export()})

    def hear(self, exports: Iterable[Mapping[str, object]]) -> Generator[None, None, None]:
        """Takes in what the other workers see, step by step."""
        exports = list(exports)
        for export in exports:
            self.conversations.absorb(export.get(CONVERSATIONS))
            yield
        yield from self.live.hear(exports, self.facts, time.time())

    def refit(self) -> Generator[None, None, None]:
        """Works out what to expect, from what all workers saw and the benchmark last measured, step by step."""
        self._see_first_tokens()
        measured, facts = self.store.snapshot.measured, self.facts
        if self._priors[0] is not measured or self._priors[1].keys() != facts.keys():
            priors = {}
            for name in facts:
                priors[name] = prior(list(measured.get(name, {}).values()))
                yield
            self._priors = measured, priors
        yield from self.live.refit(self._priors[1], time.time())

    def absorb(self, exports: Iterable[Mapping[str, object]]) -> None:
        """Hears the others and works out what to expect, all at once."""
        for _ in chain(self.hear(exports), self.refit()):
            pass

    def _see_first_tokens(self) -> None:
        for key, (flight, trace, first_token) in list(self._awaited.items()):
            tokens = _estimated_tokens(trace)
            if tokens is None or not self.live.is_under_way(flight):
                del self._awaited[key]
                continue
            at_s = first_token()
            if at_s is not None:
                del self._awaited[key]
                if self._is_warm and at_s > flight.at_s:
                    self.live.first_token(flight, at_s, prompt_tokens=tokens, ttft_s=at_s - flight.at_s)


def _readers(holder: str | None, candidates: Sequence[Facts]) -> frozenset[str] | None:
    """Who can read what `holder` holds: it and every other deployment of its model; everybody where it is away."""
    if holder is None:
        return None
    model = next((one.model for one in candidates if one.deployment_id == holder), None)
    return None if model is None else frozenset(one.deployment_id for one in candidates if one.model == model)


def _expected_s(trace: Trace, deployment_id: str) -> float | None:
    """The predicted time to the first token. Where that can't be seen, to the end of the longest answer that may come.

    An answer that takes long is not one that hangs; where the client sets no limit to it, nothing is expected.
    """
    decision = trace.decision
    assessments = () if decision is None else decision.assessments
    found = next((one.prediction for one in assessments if one.deployment_id == deployment_id), None)
    if found is None or decision is None:
        return None
    if trace.shows_first_token:
        return found.ttft_s
    limit = decision.features.limit_tokens
    if limit is None or found.ttft_s is None or found.tpot_s is None:
        return None
    return found.ttft_s + found.tpot_s * limit


def _estimated_tokens(trace: Trace) -> int | None:
    """What the decision took the prompt's part that is in no cache for: a prediction knows no more either."""
    decision = trace.decision
    return None if decision is None else max(decision.features.prompt_tokens - decision.cached_tokens, 0)


def _categorizer(settings: GroupSettings) -> Categorizer:
    if settings.categorizer == "article":
        return article
    return rules(settings.categories) if settings.categories else _default_rules()


@functools.cache
def _default_rules() -> Categorizer:
    return rules()  # its vocabulary takes some megabytes: one serves all groups that add nothing


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds * MS
