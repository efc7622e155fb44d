"""Where conversations were last answered, how much of them is expected in a prefix cache there, and what usage says."""

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
    """The homes of the conversations of one worker, and what the others told of theirs. Times are Unix seconds."""

    def __init__(self) -> None:
        self._conversations = Conversations()
        self._caching = Caching()

    @property
    def new_shares(self) -> Mapping[str, float]:
        """What part of a new prompt a deployment is expected to read from its cache, if cached tokens have a price."""
        return self._caching.new_shares

    def of(self, beginnings: Sequence[int]) -> Cached:
        """The deployment that last answered a conversation, however long ago."""
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
        """The deployments that can read the conversation's history; `None` means all.

        `holder` holds the response that the request continues. All deployments with the same account can read what
        their provider keeps.
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
        """What the deployment that last answered the conversation, or its session, may have in its cache.

        Notes in the trace what it found.
        """
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
        """Learns from an answer, if only a part of it: the client may have left, and goes on with what it got."""
        if record.outcome != "success" and record.ttft_ms is None:
            if trace.is_signed:
                self.may_have_signed(trace, record.ts)
            return
        name, scale = trace.sent_to[-1], _scale(features, record)
        self._see_caching(name, trace, record, scale)
        for kept in (*trace.kept, trace.made):
            if kept != NOTHING_KEPT:
                self._conversations.remember((kept,), Cached(name, 0, record.ts))
        if record.slo_met is False and not trace.is_signed:
            self._conversations.release((*trace.beginnings, trace.session))
            return
        kept = features.prompt_tokens
        if record.written_tokens is not None and scale:  # the deployment reports what it caches, and bills it
            kept = round((record.written_tokens + (record.cached_tokens or 0)) * scale)
        self._conversations.remember(trace.beginnings, Cached(name, kept, record.ts))
        if trace.session != NO_SESSION:
            read = round((record.cached_tokens or 0) * scale)
            before = self._conversations.find((trace.session,))
            tokens = read if trace.is_by_session and scale else before.tokens  # a beginning says nothing of other turns
            self._conversations.remember((trace.session,), Cached(name, tokens, record.ts))

    def _see_caching(self, name: str, trace: Trace, record: RequestRecord, scale: float) -> None:
        known = trace.known
        if record.cached_tokens is None or not record.prompt_tokens or not scale:
            return
        if known.deployment_id != name:
            self._caching.see(name, "new", record.prompt_tokens, record.cached_tokens, record.ts)
        elif not trace.is_by_session:
            asked = min(known.tokens / scale, record.prompt_tokens)
            self._caching.see(name, kind_of(known.at_s, trace.arrived_s), asked, record.cached_tokens, record.ts)

    def may_have_signed(self, trace: Trace, at_s: float) -> None:
        """A client left before it saw a word: hidden thoughts come before one. No more is known of it."""
        if self._conversations.find(trace.beginnings) == NOTHING_CACHED:
            self._conversations.remember(trace.beginnings, Cached(trace.sent_to[-1], 0, at_s))

    def fit(self, facts: Mapping[str, Facts], now_s: float) -> None:
        """Works out what share of new prompts the deployments' caches hold."""
        self._caching.fit(facts, now_s)

    def export(self, now_s: float) -> tuple[object, object]:
        """For the other workers: the news of conversations, and the sums of what was cached. JSON values."""
        return self._conversations.export(), self._caching.export(now_s)

    def hear(self, conversations: object, now_s: float) -> None:
        """Takes in what another worker exported of conversations."""
        self._conversations.absorb(conversations, now_s)

    def hear_caching(self, told: Iterable[object], names: Collection[str], now_s: float) -> None:
        """Takes in what all other workers last exported of caches."""
        self._caching.hear(told, names, now_s)


def _scale(features: Features, record: RequestRecord) -> float:
    """Estimated prompt tokens for each token of the usage; 0 without a usage, for then LiteLLM itself counts."""
    if record.outcome != "success" or not record.prompt_tokens:
        return 0.0
    return features.prompt_tokens / record.prompt_tokens


def readers_of(holder: str, candidates: Sequence[Facts]) -> frozenset[str] | None:
    """The deployments that can read what `holder` holds: all of its model. `None` (all) if it is no candidate."""
    model = next((one.model for one in candidates if one.deployment_id == holder), None)
    return None if model is None else frozenset(one.deployment_id for one in candidates if one.model == model)
