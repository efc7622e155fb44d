"""Where conversations are, how much of them is expected in a prefix cache there, and what the usage says was."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from slo_router.contract.model import Facts, Features
from slo_router.contract.record import RequestRecord
from slo_router.live.state import LiveState
from slo_router.request.conversations import NO_SESSION, NOTHING_CACHED, Cached, Conversations
from slo_router.request.history import NOTHING_KEPT
from slo_router.worker.learning.caching import Caching, kind_of
from slo_router.worker.trace import Trace


class Homes:
    """Those of one worker, and what the others told. Times are Unix seconds."""

    def __init__(self) -> None:
        self._conversations = Conversations()
        self._caching = Caching()

    @property
    def new_shares(self) -> Mapping[str, float]:
        """What part of any prompt a deployment is expected to read from its cache, where that has a price."""
        return self._caching.new_shares

    def of(self, beginnings: Sequence[int]) -> Cached:
        """Where a conversation was last answered, however long ago."""
        return self._conversations.find(beginnings)

    def readers(
        self,
        trace: Trace,
        candidates: Sequence[Facts],
        states: Mapping[str, LiveState],
        *,
        holder: str | None,
        has_signed: bool,
    ) -> frozenset[str] | None:
        """Who can read the conversation's history; `None`: everybody.

        `holder` has the response that it goes on with. What a provider keeps is read by all with its account.
        """
        if holder is None and not trace.kept and not has_signed:
            return None
        names = frozenset(one.deployment_id for one in candidates)
        at = self.of(trace.kept).deployment_id
        account = states[at].same_account if at in states else ()
        for known in ({holder}, {at, *account}):
            if known & names:
                return names & known
        return readers_of(self.of(trace.beginnings).deployment_id, candidates) if has_signed else None

    def expected(self, trace: Trace, session: int, now_s: float) -> Cached:
        """What is in the cache of the deployment that the conversation is at, else its session; left in the trace."""
        known = self._conversations.find(trace.beginnings)
        trace.session, trace.is_by_session = session, not known.counts(now_s)
        if trace.is_by_session:
            known = self._conversations.find((session,)) if session else NOTHING_CACHED
        trace.known = known if known.counts(now_s) else NOTHING_CACHED
        if not trace.known.tokens:
            return trace.known
        share = self._caching.share((known.deployment_id,), kind_of(known.at_s, now_s), now_s)
        return known._replace(tokens=round(known.tokens * share))

    def learn(self, trace: Trace, features: Features, record: RequestRecord) -> None:
        """A request was answered."""
        name, known, scale = trace.sent_to[-1], trace.known, _scale(features, record)
        if record.cached_tokens is not None and record.prompt_tokens and scale:
            if known.deployment_id != name:
                self._caching.see(name, "new", record.prompt_tokens, record.cached_tokens, record.ts)
            elif not trace.is_by_session:
                asked = min(known.tokens / scale, record.prompt_tokens)
                self._caching.see(name, kind_of(known.at_s, trace.arrived_s), asked, record.cached_tokens, record.ts)
        for kept in (*trace.kept, trace.made):
            if kept != NOTHING_KEPT:
                self._conversations.remember((kept,), Cached(name, 0, record.ts))
        if record.slo_met is False and not trace.is_signed:
            self._conversations.release((*trace.beginnings, trace.session))
            return
        kept = features.prompt_tokens
        if record.written_tokens is not None:  # it says what it keeps, and that costs
            kept = round((record.written_tokens + (record.cached_tokens or 0)) * scale)
        self._conversations.remember(trace.beginnings, Cached(name, kept, record.ts))
        if trace.session != NO_SESSION:
            read = round((record.cached_tokens or 0) * scale)
            before = self._conversations.find((trace.session,))
            tokens = read if trace.is_by_session else before.tokens  # a known beginning says nothing of other turns
            self._conversations.remember((trace.session,), Cached(name, tokens, record.ts))

    def fit(self, facts: Mapping[str, Facts], now_s: float) -> None:
        """Works out what to expect of the deployments."""
        self._caching.fit(facts, now_s)

    def export(self, now_s: float) -> tuple[object, object]:
        """For the other workers: the news of conversations, and the sums of what was cached. JSON values."""
        return self._conversations.export(), self._caching.export(now_s)

    def hear(self, conversations: object, now_s: float) -> None:
        """Takes in what another worker told of conversations."""
        self._conversations.absorb(conversations, now_s)

    def hear_caching(self, told: Iterable[object], names: Collection[str], now_s: float) -> None:
        """Takes in what all the others last told of caches."""
        self._caching.hear(told, names, now_s)


def _scale(features: Features, record: RequestRecord) -> float:
    """Estimated tokens for each that the usage counts."""
    return features.prompt_tokens / record.prompt_tokens if record.prompt_tokens else 0.0


def readers_of(holder: str, candidates: Sequence[Facts]) -> frozenset[str] | None:
    """Who can read what `holder` holds: it and every other deployment of its model; everybody where it is away."""
    model = next((one.model for one in candidates if one.deployment_id == holder), None)
    return None if model is None else frozenset(one.deployment_id for one in candidates if one.model == model)
