"""The pick of one attempt: what LiteLLM's list becomes before the decision, and what becomes of the decision."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Container, Iterable, Sequence

from slo_router.decision.explain import span_attributes
from slo_router.decision.patience import Waiting, room_in_s
from slo_router.decision.relaxation import is_full
from slo_router.errors import RequestSloError
from slo_router.gateway import narrowing, pools, requests, seams
from slo_router.gateway.followed import FollowedRouter, facts_of
from slo_router.gateway.requests import ROUTED_CALL_TYPES, Request
from slo_router.gateway.router import Deployment, current_router, deployment_id
from slo_router.request.forms.gemini import as_chat
from slo_router.request.slo import SloInputs, cost_ceiling, limits_alone
from slo_router.telemetry.telemetry import Telemetry
from slo_router.worker.rollout import Rollout
from slo_router.worker.strategy import Strategy
from slo_router.worker.trace import Trace, find_waiting, is_mirror

log = logging.getLogger("slo_router")


class Picker:
    """Picks for one worker.

    Since start, `fail_open_count` counts decisions that failed, and `unasked_count` attempts that LiteLLM sent
    without asking this plugin.
    """

    def __init__(self, strategy: Strategy, telemetry: Telemetry, rollout: Rollout, followed: FollowedRouter) -> None:
        self.fail_open_count = 0
        self.unasked_count = 0
        self._strategy = strategy
        self._telemetry = telemetry
        self._rollout = rollout
        self._followed = followed

    def wake(self, group: str, request: Request) -> Trace | None:
        """The trace of a request that a fallback led into a managed group. Its SLO counts from here on."""
        trace = find_waiting(request) if group in self._strategy.groups else None
        if trace is None or trace.waiting is None:
            return None
        inputs, trace.waiting, trace.group = trace.waiting, None, group
        without_requests_own = SloInputs(key_metadata=inputs.key_metadata, team_metadata=inputs.team_metadata)
        for wishes in (inputs, without_requests_own, limits_alone(inputs)):
            try:
                self._strategy.read_request(group, trace, wishes)
                break
            except RequestSloError as error:  # too late for HTTP 400: the answer names the field that does not count
                trace.ignored = (*trace.ignored, error.field)
        return trace

    def why_not(self, group: str, trace: Trace) -> str:
        """Why LiteLLM is to choose by itself; empty where this plugin decides."""
        if self._followed.lacking:
            return f"LiteLLM {seams.version()} is not supported; it chose by itself"
        if group not in self._strategy.groups:
            return "the group that answered is not managed"
        if trace.call_type not in ROUTED_CALL_TYPES:
            return "this kind of call is not routed by SLO"
        return "the group is switched off" if group in self._rollout.off else ""

    async def pick(
        self, listed: Sequence[Deployment], messages: object, request: Request, trace: Trace
    ) -> Deployment | None:
        """The deployment of LiteLLM's list that the request goes to; `None` where LiteLLM is to choose. Raises whatever
        breaks.
        """
        group = trace.group
        by_id = {deployment_id(deployment): deployment for deployment in listed}
        pool: Iterable[str] = by_id
        router = current_router()
        followed = self._followed
        narrows = followed.narrows_all or group in followed.narrowed_groups or narrowing.narrows(request, messages)
        if router is not None and narrows:
            pool = await self._narrowed(router, by_id, messages, request, trace)
        checking = None if narrows or not followed.checks_each else router
        trace.is_shadow = not self._strategy.groups[group].routes(requests.key_hash(request), trace.lot)
        full: set[str] = set()
        while True:
            chosen = self._choose({"messages": messages, **request}, pool, trace, full)
            if chosen and checking and not await self._keeps(checking, messages, request, trace, chosen):
                pool, checking = await self._narrowed(checking, by_id, messages, request, trace), None
                continue
            if chosen is None or trace.is_shadow:
                return None
            if is_full(trace.decision):  # every deployment that could answer is full
                wait_s = self._wait_for_room(trace)
                if wait_s is not None:
                    await asyncio.sleep(wait_s)
                    full.clear()
                    continue
                if cost_ceiling(trace.asked) is not None:  # LiteLLM refuses this one, and the ceiling holds
                    return by_id[chosen]
                trace.decision, trace.note = None, "all have the requests that they may have; LiteLLM chose"
                return None
            if router is None or group not in followed.limited_groups:
                return by_id[chosen]
            may_refuse = group in followed.refusing_groups
            if await pools.has_room(router, group, request, messages, by_id[chosen], may_refuse=may_refuse):
                return by_id[chosen]
            full.add(chosen)

    def _wait_for_room(self, trace: Trace) -> float | None:
        """Every deployment that could answer is full: takes the pick back, and returns the seconds until one has room.

        `None` where that is too late for the request; the pick then stays.
        """
        if trace.decision is None or trace.attempt is None:
            return None
        request = Waiting(trace.arrived_s, trace.waited_s, trace.stream)
        wait_s = room_in_s(trace.decision, request, self._strategy.live.states, time.time())
        if wait_s is not None:
            self._strategy.supersede(trace)
            trace.attempts[:] = [one for one in trace.attempts if one.is_sent]  # what was full was not tried
            trace.waited_s += wait_s
        return wait_s

    async def _narrowed(
        self, router: object, listed: Container[str], messages: object, request: Request, trace: Trace
    ) -> list[str]:
        trace.asks_pool = True
        narrowed = await pools.healthy_pool(router, trace.group, request, messages)
        trace.asks_pool = False
        return [name for name in map(deployment_id, narrowed) if name in listed]

    async def _keeps(self, router: object, messages: object, request: Request, trace: Trace, chosen: str) -> bool:
        most_tokens = None if trace.decision is None else trace.decision.features.most_tokens
        facts = self._strategy.facts.get(chosen)
        window = None if facts is None else facts.context_tokens
        fits = most_tokens is not None and window is not None and most_tokens <= window
        return await pools.keeps(router, trace.group, request, messages, chosen, fits=fits)

    def _choose(self, request: Request, pool: Iterable[str], trace: Trace, full: Collection[str]) -> str | None:
        began_s = time.perf_counter()
        chosen = self._strategy.choose(
            trace.group,
            as_chat(request),
            pool,
            trace,
            full=full,
            holder=requests.holder_of(request),
            session=requests.session_of(request) if self._strategy.groups[trace.group].settings.stickiness else 0,
        )
        if trace.decision is not None:
            self._telemetry.decided(trace.group, trace.decision, time.perf_counter() - began_s)
            if trace.span is not None and trace.span.is_recording():
                trace.span.set_attributes(span_attributes(trace.decision, shadow=trace.is_shadow))
        return chosen

    def affordable(
        self, group: str, listed: list[Deployment], request: Request, trace: Trace | None
    ) -> list[Deployment]:
        """What LiteLLM may pick from where it picks by itself: the deployments that the cost ceiling allows.

        The key's or team's ceiling limits the list after a fallback into a group that is not managed, for models that
        are asked side by side, and for calls that write text and are not routed. Else the list stays as it came.
        """
        is_managed = group in self._strategy.groups
        relayed = requests.relayed(request) if is_managed else None
        is_bound = is_managed if trace is None else not is_managed or self._is_unrouted_text(group, request, trace)
        if not is_bound or is_mirror(request):
            return listed
        ceiling_usd = requests.ceiling_of(request) if trace is None else cost_ceiling(trace.asked)
        if ceiling_usd is None:
            return listed
        offered = facts_of(listed)
        kept = self._strategy.affordable([*offered.values()], as_chat(relayed or request), ceiling_usd)
        return [one for one in listed if deployment_id(one) in kept]

    def _is_unrouted_text(self, group: str, request: Request, trace: Trace) -> bool:
        is_left_alone = group in self._rollout.off or trace.call_type not in requests.UNROUTED_TEXT
        return not is_left_alone and self._strategy.groups[group].routes(requests.key_hash(request), trace.lot)

    def fail_open(self, trace: Trace | None, error: Exception) -> None:
        """A decision failed: LiteLLM chooses, and the failure is counted and logged."""
        self.fail_open_count += 1
        if trace is not None:
            trace.decision, trace.note = None, "the decision failed; LiteLLM chose"
        log.error("a decision failed; LiteLLM chose (%d times so far)", self.fail_open_count, exc_info=error)

    def see_who_picked(self, trace: Trace) -> None:
        """LiteLLM sends an attempt: counts it if our decision had failed, or if LiteLLM did not ask us."""
        if trace.refusal is not None:  # LiteLLM raised when we asked for its pool, and then picked from that pool
            self.fail_open(trace, trace.refusal)
        if not trace.was_asked:
            trace.decision, trace.note = None, "LiteLLM picked without asking this plugin"
            if not self.unasked_count:
                log.warning("LiteLLM picked a deployment of %s without asking this plugin", trace.group)
            self.unasked_count += 1
        trace.was_asked, trace.refusal, trace.answer = False, None, None


def same_answer(trace: Trace, place: tuple[object, ...], listed: list[Deployment]) -> list[Deployment] | None:
    """The filter's last answer, if LiteLLM asks again and nothing was sent or failed in between.

    LiteLLM also asks, without picking, while a request waits in its priority queue. `None` where there was no answer at
    this `place`, or where the deployment is no longer listed.
    """
    if trace.answer is None or trace.answer[0] != place:
        return None
    picked = trace.answer[1]
    if picked is None:
        return listed
    return next(([one] for one in listed if deployment_id(one) == picked), None)
