"""Whether a request past its deadline is given up for another deployment, and when it has a deadline at all. Pure.

    sent      earn(): one request more    deadline(): when to look again
    then      verdict():  rescue          another deployment is likely to answer sooner than this one
                          wait            that is not likely yet, or this one may just be late (`patience`)
                          slow            the others that could answer are late, too: the prediction is at fault
                          budget          enough further calls were made
                          alone           no other deployment can answer

Nobody knows how long a silent deployment stays silent. The guess is: for as long again as it has been. So the next one
is asked once the request has waited for as long as the next one typically takes. If that was never measured, it is
asked after UNKNOWN times the deadline.

If all deployments became slow at once, each seems well until a request waits there. So only one request of a group is
on its way to another deployment at a time. MOST_AT_ONCE may be, once the next deployment has proven that it is well. It
has if it gave a first token to a request that was sent after the silent one, or at most a deadline before it. Without
this proof, the verdict is "slow", too, if one of the others is late.

Deployments with the same `api_base` count as one server. Another deployment of that server is asked only if none at
another address can answer. The server must also have answered a request that was sent later: then it does not hang.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

from slo_router.contract.model import Decision
from slo_router.contract.settings.group import RescueSettings
from slo_router.decision.relaxation import BESIDE
from slo_router.latency.curve import P50, ttft_s
from slo_router.live.circuit import is_suspected
from slo_router.live.live import Live
from slo_router.live.state import Flight, LiveState
from slo_router.rescue.budget import Budget
from slo_router.rescue.deadline import Deadline, first_content, whole_answer_s
from slo_router.rescue.patience import Patience

UNKNOWN = 3.0  # × the deadline: after that a deployment of which nothing is known is asked
MOST_AT_ONCE = 3  # streams of a group that another deployment took over, without a first token yet
FOLLOWED_S = 5.0  # LiteLLM sends a request again within this time after it was given up
LOOK_S, WATCH_S = 0.05, 0.01
LATE_S = 5.0  # a deployment counts as late this long after it got a late request, unless a later one is in time

Reason = Literal["rescue", "wait", "slow", "budget", "alone"]


class Verdict(NamedTuple):
    """What becomes of a request past its deadline; `wait_s`: seconds until the next look, where that may help."""

    reason: Reason
    wait_s: float | None = None


class Rescues:
    """The rescues of one worker. Times are Unix seconds."""

    def __init__(self, live: Live, watch: Callable[[], None]) -> None:
        """`watch` looks for late and missing answers, as the background job does some times a second."""
        self.budget = Budget()
        self.same_server: Mapping[str, frozenset[str]] = {}  # by deployment: the others at its address
        self._live = live
        self._watch = watch
        self._watched_s = 0.0
        self._given_up_s: dict[str, list[float]] = {}  # by group: when streams were given up, if not sent again yet
        self._following: dict[str, list[Flight]] = {}
        self._patience = Patience()

    def beside(self, silent: Iterable[str]) -> frozenset[str]:
        """The other deployments at the addresses of the silent ones."""
        return frozenset().union(*(self.same_server.get(name, ()) for name in silent))

    def followed(self, group: str, flight: Flight) -> None:
        """A stream of the group that was given up is sent to another deployment."""
        self._following.setdefault(group, []).append(flight)
        del self._given_up_s.setdefault(group, [])[:1]

    def deadline(
        self,
        decision: Decision,
        flight: Flight,
        settings: RescueSettings,
        *,
        tried: Iterable[str],
        stream: bool,
        waited_s: float = 0.0,
    ) -> Deadline | None:
        """When another deployment is to be asked; `None`: never.

        `waited_s` is what the request spent before its dispatch.
        """
        others = self._elsewhere(flight, self._others(decision, tried))
        state = self._live.states.get(flight.deployment_id)
        if state is None or not others:
            return None
        if not stream:
            whole_s = whole_answer_s(flight, settings)
            return None if whole_s is None else Deadline(whole_s, whole_s)
        next_s = min((at for at in self._typical_s(decision, others) if at is not None), default=0.0)
        limit_s = decision.slo.ttft_s
        left_s = None if limit_s is None else limit_s - waited_s
        untaught = self._patience.untaught(flight)
        return first_content(decision, flight, state.fitted, settings, left_s=left_s, next_s=next_s, untaught=untaught)

    def verdict(
        self,
        decision: Decision,
        flight: Flight,
        now_s: float,
        *,
        deadline: Deadline,
        group: str,
        tried: Iterable[str],
    ) -> Verdict:
        """What becomes of the request now. `deadline` is the result of `deadline()`. A `rescue` has used the budget."""
        if abs(now_s - self._watched_s) > WATCH_S:  # many requests may wait and look at once
            self._watched_s = now_s
            self._watch()
        found, is_proven = self._next(decision, flight, now_s, deadline.due_s, tried)
        if found.reason != "rescue":
            return found
        waited_s, is_stream = now_s - flight.at_s, decision.features.stream
        state = self._live.state(flight.deployment_id)
        if is_stream and waited_s < deadline.longest_s and self._patience.waits(flight, state, now_s):
            return Verdict("wait", max(deadline.longest_s - waited_s, WATCH_S))
        if is_stream and self._under_way(group, now_s) >= (MOST_AT_ONCE if is_proven else 1):
            return Verdict("wait", LOOK_S)
        if not self.budget.take(group, now_s):
            return Verdict("budget", waited_s)
        if is_stream:
            self._given_up_s[group].append(now_s)
            was_waited_for = waited_s >= deadline.longest_s > deadline.due_s
            self._patience.gave_up(flight, state, now_s, was_waited_for=was_waited_for)
        self._live.tell_soon()
        return found

    def _next(
        self, decision: Decision, flight: Flight, now_s: float, due_s: float, tried: Iterable[str]
    ) -> tuple[Verdict, bool]:
        """Whether another deployment is likely to answer sooner, and whether it has shown that it is well."""
        others = self._elsewhere(flight, self._others(decision, tried))
        if not others:
            return Verdict("alone"), False
        waited_s = now_s - flight.at_s
        if others[0][0] in self._beside(flight) and not self._lives(flight):
            return Verdict("slow", waited_s), False
        in_time = [(name, state) for name, state in others if not _is_late(state, now_s)]
        found = (
            (UNKNOWN * due_s if seconds is None else seconds, state.begun_until_s > flight.at_s - due_s)
            for seconds, (_, state) in zip(self._typical_s(decision, in_time), in_time, strict=True)
        )
        next_s, is_proven = min(found, default=(math.inf, False))
        if not is_proven and (not in_time or self._is_another_late(decision, flight, now_s)):
            return Verdict("slow", waited_s), False
        if next_s > waited_s:
            return Verdict("wait", next_s - waited_s), False
        return Verdict("rescue"), is_proven

    def has_other(self, decision: Decision, tried: Iterable[str]) -> bool:
        """Whether another deployment could answer a request whose stream broke."""
        return bool(self._others(decision, tried))

    def _is_another_late(self, decision: Decision, flight: Flight, now_s: float) -> bool:
        """Whether requests wait too long on another server, too. A deployment that is known to be broken is no sign."""
        states, own = self._live.states, {flight.deployment_id, *self._beside(flight)}
        found = (states.get(one.deployment_id) for one in decision.assessments if one.deployment_id not in own)
        return any(
            _is_late(state, now_s) and (not state.circuit.is_open or is_suspected(state.circuit))
            for state in found
            if state is not None
        )

    def _under_way(self, group: str, now_s: float) -> int:
        """How many of the group's streams that were given up have no first token from another deployment yet."""
        given_up_s = [at_s for at_s in self._given_up_s.get(group, ()) if now_s - at_s < FOLLOWED_S]
        following = [one for one in self._following.get(group, ()) if self._awaits_token(one)]
        self._given_up_s[group], self._following[group] = given_up_s, following
        return len(given_up_s) + len(following)

    def _awaits_token(self, flight: Flight) -> bool:
        state = self._live.states.get(flight.deployment_id)
        return state is not None and id(flight) in state.flights and id(flight) not in state.begun

    def _others(self, decision: Decision, tried: Iterable[str]) -> list[tuple[str, LiveState]]:
        """The other deployments that could answer: not tried, not shut now, and not rejected but for their address."""
        out = {one.deployment_id for one in decision.rejections if one.value != BESIDE}.union(tried)
        states = ((one.deployment_id, self._live.states.get(one.deployment_id)) for one in decision.assessments)
        return [
            (name, state)
            for name, state in states
            if state is not None and name not in out and not state.circuit.is_open and not state.account.is_shut
        ]

    def _beside(self, flight: Flight) -> frozenset[str]:
        return self.same_server.get(flight.deployment_id, frozenset())

    def _elsewhere(self, flight: Flight, others: list[tuple[str, LiveState]]) -> list[tuple[str, LiveState]]:
        """Those of `others` that are at another address; all of them if there are none."""
        beside = self._beside(flight)
        return [one for one in others if one[0] not in beside] or others

    def _lives(self, flight: Flight) -> bool:
        """Whether a request that was sent to the flight's address after it has its first token."""
        states = (self._live.states.get(name) for name in (flight.deployment_id, *self._beside(flight)))
        return any(state is not None and state.begun_until_s > flight.at_s for state in states)

    @staticmethod
    def _typical_s(decision: Decision, others: Iterable[tuple[str, LiveState]]) -> list[float | None]:
        """Seconds that each takes for its first token at its present load, or for a whole answer; `None`: unknown."""
        tokens, answers = decision.features.prompt_tokens, decision.features.stream
        found: list[float | None] = []
        for name, state in others:
            curve = state.curve
            prediction = next(one.prediction for one in decision.assessments if one.deployment_id == name)
            if not answers:
                found.append(prediction.e2e_s)
            elif curve is not None:
                hidden_tokens = prediction.hidden_tokens or 0.0
                found.append(ttft_s(curve, tokens, state.in_flight, hidden_tokens) * curve.ttft_ratios[P50])
            else:
                found.append(prediction.ttft_s)
        return found


def _is_late(state: LiveState, now_s: float) -> bool:
    """Whether requests wait there longer than the fit explains, or the last one did, even if its queue is gone."""
    said = state.last_word
    return state.curve is not state.fitted or (said.level > 0 and now_s - said.at_s < LATE_S)
