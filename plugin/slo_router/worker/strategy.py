"""From LiteLLM's request and pool of deployments to a Decision: the last step before the pure core.

It holds what a worker knows (policy, facts of the deployments, snapshot, learned usage) and reads nothing else: no I/O,
no lock. LiteLLM is not imported here.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from itertools import chain

import msgspec

from slo_router.contract.model import Facts
from slo_router.contract.record import RequestRecord
from slo_router.contract.settings.config import PluginSettings
from slo_router.contract.settings.deployments import ManagedDeployment, same_accounts, same_servers
from slo_router.contract.settings.group import GroupSettings
from slo_router.contract.settings.tasks.own import UNSURE
from slo_router.decision.decide import decide
from slo_router.decision.foresight import Ask, affordable
from slo_router.decision.groups import ManagedGroup, default_rules
from slo_router.decision.known import findings
from slo_router.decision.prediction import View
from slo_router.live import picture
from slo_router.live.live import Live
from slo_router.live.picture import Export
from slo_router.live.state import ANSWERS, Ending, Findings, Landing
from slo_router.quality.judging import Judged
from slo_router.request.conversations import NO_SESSION, NOTHING_CACHED, fingerprints
from slo_router.request.features import extract
from slo_router.request.history import goes_on, is_signed, kept_by_provider, may_be_signed, providers_tools
from slo_router.request.service_tiers import in_tier
from slo_router.request.slo import CATEGORY_HEADER, SloInputs, cost_ceiling, read_asked, resolve
from slo_router.rescue.rescues import Rescues
from slo_router.worker.attempt import Attempt
from slo_router.worker.learning.answers import Answers
from slo_router.worker.learning.feedback import Feedback
from slo_router.worker.learning.homes import Homes
from slo_router.worker.learning.implicit import Implicit
from slo_router.worker.learning.knowledge import Knowledge, Told
from slo_router.worker.learning.lessons import Lessons, expected_s
from slo_router.worker.learning.worths import Worths
from slo_router.worker.pairing.comparisons import Comparisons
from slo_router.worker.sharing import CACHING, CONVERSATIONS, LENGTHS, RESCUES, WORTHS, decoded
from slo_router.worker.snapshot import MetricsStore
from slo_router.worker.trace import Trace


class Strategy:
    """Everything a worker needs to decide. `clock` gives Unix seconds; a study brings its own clock and randomness."""

    def __init__(
        self,
        settings: PluginSettings,
        store: MetricsStore,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        self.policy, self.worths = "", Worths(settings.key_prefix)
        self.groups: Mapping[str, ManagedGroup] = {}
        self.adopt(settings.groups, settings.policy)
        self.store = store
        self.facts: Mapping[str, Facts] = {}
        self.group_of: Mapping[str, str] = {}  # deployment id → group
        self.answers, self.live, self.homes = Answers(), Live(), Homes()
        self.rescues = Rescues(self.live, self.watch)
        self.feedback, self.comparisons = Feedback(settings.key_prefix), Comparisons(settings.key_prefix)
        self.implicit, self._knowledge = Implicit(settings.key_prefix), Knowledge()
        self._lessons = Lessons(self.live)
        self._is_live, self._clock = settings.live_measurements, clock
        self._rng = rng or random.Random()  # noqa: S311  # spreads load among equals; no secret depends on it

    def adopt(self, groups: Mapping[str, GroupSettings], policy: str) -> None:
        """Routes by these settings from now on; `policy` is their fingerprint."""
        self.policy = policy
        self.groups = {name: ManagedGroup(group, policy) for name, group in groups.items()}
        self.worths.adopt(groups)
        self._categories = {UNSURE, *(name for group in self.groups.values() for name in group.categories)}

    def know(self, deployments: Iterable[ManagedDeployment]) -> None:
        """Takes the deployments that LiteLLM's router holds now."""
        deployments = list(deployments)
        self.group_of = {deployment.facts.deployment_id: deployment.group for deployment in deployments}
        self.facts = {deployment.facts.deployment_id: deployment.facts for deployment in deployments}
        self.live.forget(self.facts)
        if self._is_live:
            accounts, self.rescues.same_server = same_accounts(deployments), same_servers(deployments)
            for name, facts in self.facts.items():
                self.live.allow(name, facts.limits, accounts.get(name, frozenset()))
        self.answers.know(self.facts)
        self._knowledge.forget()

    def read_request(self, group: str, trace: Trace, inputs: SloInputs) -> None:
        """Reads what the request asks for into its trace. Raises RequestSloError (HTTP 400) naming field and value."""
        asked = read_asked(inputs)
        trace.asked = self.groups[group].admitted(asked)
        if trace.asked is not asked:
            trace.ignored = (*trace.ignored, CATEGORY_HEADER)

    def choose(
        self,
        group: str,
        request: Mapping[str, object],
        pool: Iterable[str],
        trace: Trace,
        *,
        full: Collection[str] = (),
        holder: str | None = None,
        session: int = NO_SESSION,
    ) -> str | None:
        """Decides, and leaves the decision in the trace. Returns a deployment id of `pool`.

        `None` where the configuration knows no deployment of the pool: LiteLLM then chooses. Deployments in `full` come
        last. `holder` holds the response that this request continues. `session` is the hash of the request's session.
        """
        managed = self.groups[group]
        candidates, having = in_tier(request, [self.facts[name] for name in pool if name in self.facts])
        if not candidates:
            trace.decision, trace.note = None, "no candidate is known to the configuration"
            return None
        features = managed.features(request, trace.asked.category, self.answers.learned)
        trace.slo, trace.clamped = resolve(trace.asked, managed.default_slo(features.category))
        now_s, cached = self._clock(), NOTHING_CACHED
        messages = request.get("messages") or request.get("input")
        has_signed = is_signed(messages)
        trace.is_signed = has_signed or may_be_signed(request)
        trace.kept = kept_by_provider(request)
        trace.may_run_tools, trace.searches = providers_tools(request)
        trace.goes_on = holder is not None or goes_on(request, trace.kept)
        if managed.settings.stickiness or trace.is_signed:
            trace.beginnings = fingerprints(messages, request.get("system") or request.get("instructions"))
            if managed.settings.stickiness:
                cached = self.homes.expected(trace, session, now_s)
        readers = self.homes.readers(trace, candidates, self.live.states, holder=holder, has_signed=has_signed)
        is_full = frozenset(full)
        tried = frozenset(trace.tried) - is_full  # a full deployment was picked a moment ago, and not tried
        lengths = self.answers.lengths(features)
        ceiling, hits, worth = cost_ceiling(trace.asked), self.homes.new_shares, self.worths.of(group, self._rng)
        beside = self.rescues.beside(one.deployment_id for one in trace.attempts if one.is_given_up)
        ask = Ask(features, trace.slo, tried, ceiling, cached, is_full, readers, lengths, having, hits, worth, beside)
        decision = trace.decision = decide(ask, candidates, self._view(now_s), managed.policy)
        if not trace.is_shadow:
            self._begin(trace, decision.deployment_id, now_s)
        return decision.deployment_id

    def affordable(self, offered: Sequence[Facts], request: Mapping[str, object], ceiling_usd: float) -> frozenset[str]:
        """The deployments of `offered` that keep a key's cost ceiling, see `foresight.affordable`."""
        features = extract(request, default_rules(), None, self.answers.learned)
        lengths, view = self.answers.lengths(features), self._view(self._clock())
        return affordable(features, in_tier(request, offered)[0], view, lengths, ceiling_usd)

    def _view(self, now_s: float) -> View:
        snapshot, knowledge = self.store.snapshot, self._knowledge
        return View(snapshot, now_s, self._rng, self.live.states, knowledge.known(snapshot), knowledge.judged)

    @property
    def judged(self) -> Judged:
        """What is believed of each deployment's quality, where answers were graded."""
        return self._knowledge.judged

    def draw_lot(self) -> float:
        """A random number for a new request, 0 to below 1. The proxy's own randomness is not touched."""
        return self._rng.random()

    def sent(self, trace: Trace, deployment_id: str) -> bool:
        """LiteLLM sends the request to `deployment_id`, its own pick or ours. False if it reports the same again."""
        attempt = trace.attempt
        if attempt is None or attempt.deployment_id != deployment_id:  # LiteLLM's own pick
            attempt = self._begin(trace, deployment_id, self._clock())
        if attempt.is_sent:
            return False
        attempt.is_sent, attempt.sent_s = True, self._clock()
        if trace.decision is not None and len(trace.attempts) == 1:
            self.worths.see(trace.group, trace.decision)
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
        if self._is_live and deployment_id in self.facts and not trace.tells_nothing:
            features = None if trace.decision is None else trace.decision.features
            tokens = 0 if features is None else features.prompt_tokens + features.output_tokens
            length = None if features is None else self.answers.lengths(features).get(deployment_id)
            expected = expected_s(trace, deployment_id, length)
            hidden = 0.0 if length is None or features is None else length.hidden(features.limit_tokens)
            attempt.flight = self.live.dispatched(deployment_id, now_s, expected, tokens, hidden)
        trace.begin(attempt)
        return attempt

    def is_overdue(self, trace: Trace) -> bool:
        """Whether the attempt under way has waited for longer than was expected of it."""
        flight = None if trace.attempt is None else trace.attempt.flight
        return flight is not None and flight.is_overdue(self._clock())

    def finish(self, trace: Trace, ending: Ending, wait_s: float | None = None) -> Landing | None:
        """The attempt under way is over. Returns what `learn` needs of it, `None` where it teaches nothing.

        `wait_s` is for how many seconds a `full` deployment says that it stays full.
        """
        attempt = trace.attempt
        return None if attempt is None else self._lessons.end(attempt, trace, ending, self._clock(), wait_s)

    def too_large(self, trace: Trace, share: float) -> None:
        """The attempt under way was refused for its size, see `Lessons`."""
        self._lessons.too_large(trace, share, self._clock())

    def learn(
        self, trace: Trace, landing: Landing | None, record: RequestRecord, *, is_whole: bool | None = None
    ) -> None:
        """Learns from a request that is over. `landing` is what `finish` returned for its last attempt.

        `is_whole` says whether its answer ended by itself; `None` where that is unknown.
        """
        if landing is not None and is_whole is not None and trace.decision is not None:
            self.live.prove(landing.flight.deployment_id, ANSWERS, trace.decision.features.category, is_good=is_whole)
        is_told = record.outcome in ("success", "disconnected") and not trace.tells_nothing
        if trace.decision is not None and trace.sent_to and is_told:
            features = trace.decision.features
            told = record.model_copy(update={"prompt_tokens": None}) if trace.goes_on or trace.ran_tools else record
            self.answers.see(features, self.facts.get(trace.sent_to[-1]), told, is_whole=is_whole)
            self.homes.learn(trace, features, record)
        self.worths.spent(trace.group, record.cost_usd, record.ts)
        if landing is not None:
            self._lessons.learn(landing, trace, record)

    def left_to_litellm(self, off: Collection[str]) -> frozenset[str]:
        """The deployments that this plugin sends no request to: their groups are switched off, or in shadow."""
        groups = {group for group, managed in self.groups.items() if managed.settings.mode == "shadow"}.union(off)
        return frozenset(name for name, group in self.group_of.items() if group in groups)

    def watch(self) -> None:
        """Looks for first tokens that came, and for deployments that answer nothing. Call it several times a second."""
        self._lessons.see_first_tokens()
        self.live.watch(self._clock())

    def export(self) -> Generator[None, None, bytes]:
        """What this worker saw, as JSON for the other workers. In steps, for there may be many deployments."""
        self._lessons.see_first_tokens()
        said: dict[str, object] = {}
        for name, text in picture.export(self.live, self._clock()):
            said[name] = text
            yield
        conversations, caching = self.homes.export(self._clock())
        more = {LENGTHS: self.answers.export(), RESCUES: self.rescues.budget.export(), WORTHS: self.worths.export()}
        return msgspec.json.encode({**said, CONVERSATIONS: conversations, CACHING: caching, **more})

    def hear(self, exports: Iterable[Export], rank: int = 0) -> Generator[None, None, None]:
        """Takes in what the other workers see, in steps. `rank` is this worker's rank among all workers."""
        exports, told = list(exports), []
        for export in exports:
            told.append(decoded(export.get(CACHING)))
            self.homes.hear(decoded(export.get(CONVERSATIONS)), self._clock())
            self.answers.hear(decoded(export.get(LENGTHS)), self._categories, self._clock())
            yield
        self.homes.hear_caching(told, self.facts, self._clock())
        self.rescues.budget.hear((decoded(export.get(RESCUES)) for export in exports), rank)
        self.worths.hear(decoded(export.get(WORTHS)) for export in exports)
        for name in list(self.facts):
            self.live.find(name, self._findings(name))
            yield
        yield from picture.hear(self.live, exports, self.facts, self._clock(), rank)

    def _findings(self, name: str) -> Findings:
        """What the benchmark found against a deployment, in the categories of its group."""
        group = self.groups.get(self.group_of.get(name, ""))
        if group is None:
            return {}
        return findings(name, (*group.categories, UNSURE), self.store.snapshot, group.settings.max_error_rate)

    def refit(self) -> Generator[None, None, None]:
        """Works out what to expect, from what all workers saw and the benchmark last measured, in steps."""
        snapshot, facts = self.store.snapshot, self.facts
        yield from self.answers.refit(facts, snapshot.measured, self._clock())
        told = Told(facts, self.group_of, self.groups, snapshot, self.feedback.sums, self.comparisons.rows)
        yield from self._knowledge.refit(told, self._categories, self._clock())
        yield from self.worths.refit(self._clock())
        if not self._is_live:
            return
        self._lessons.see_first_tokens()
        self.homes.fit(facts, self._clock())
        yield
        yield from self.live.refit(self._knowledge.priors, self._clock())

    def absorb(self, exports: Iterable[Export]) -> None:
        """Hears the other workers and works out what to expect, without a pause."""
        for _ in chain(self.hear(exports), self.refit()):
            pass
