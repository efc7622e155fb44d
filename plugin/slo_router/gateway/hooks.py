"""The plugin as LiteLLM sees it: one callback with these hooks.

    arrival      async_pre_call_hook                      read the SLO, answer 400 where it is malformed
    pick         async_filter_deployments                 decide, or leave the list to LiteLLM's own strategy
    sent         async_pre_call_deployment_hook           an attempt is under way, whoever picked
    failed       async_post_call_failure_deployment_hook  the attempt is over, and whose fault it was
    answer       async_post_call_response_headers_hook    say what was decided
    stream       async_post_call_streaming_iterator_hook  see the first token pass, and that the client leaves
    end          async_log_success_event                  one record, learn from the usage
                 async_post_call_failure_hook             one record

Background jobs follow the proxy's router, and keep snapshot, deployments and request log moving. If anything of ours
fails on the way to a pick, the request goes on as LiteLLM alone would have routed it; that is the one broad `except`
on a request's way.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Collection, Container, Generator, Iterable, Mapping, Sequence
from dataclasses import replace

from fastapi import HTTPException
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy._types import UserAPIKeyAuth
from prometheus_client import CollectorRegistry

from slo_router.contract.first_token import Look
from slo_router.contract.model import Facts
from slo_router.contract.settings.config import Settings
from slo_router.contract.settings.deployment_ids import group_of
from slo_router.contract.settings.deployments import ManagedDeployment, read_deployment
from slo_router.decision.explain import header_text, headers, span_attributes, summary
from slo_router.errors import RequestSloError, SettingsError
from slo_router.gateway import adapter
from slo_router.live.probes import Health
from slo_router.live.state import LEASE_S, Ending, Landing
from slo_router.request.slo import SloInputs, cost_ceiling, limits_alone
from slo_router.telemetry.telemetry import Telemetry
from slo_router.worker.attempt import ENDINGS, Fault
from slo_router.worker.background import Background, Hooks
from slo_router.worker.records import answer_began, build_record, ended_by_itself, outcome_of
from slo_router.worker.request_log import RequestLog
from slo_router.worker.rollout import Rollout
from slo_router.worker.snapshot import MetricsStore
from slo_router.worker.strategy import ROUTED_CALL_TYPES, Strategy
from slo_router.worker.trace import TRACE_KEY, Trace, find_trace, find_waiting, is_mirror, own_metadata

Request = dict[str, object]

BROKEN_S = 2.0  # after which a stream that broke is over, if LiteLLM has not gone on with it elsewhere
CLIENT_LEFT = 499  # LiteLLM's status for a client that left, where `cancel_on_disconnect` is on
MOST_ENDED = 200  # requests whose payloads are held until they are recorded
MOST_BROKEN = 1_000  # streams that are held likewise

log = logging.getLogger("slo_router")


class Plugin(CustomLogger):  # type: ignore[misc]  # LiteLLM is not followed by mypy
    """LiteLLM's hooks, wired to the strategy. `fail_open_count` counts decisions that failed since start."""

    def __init__(self, settings: Settings, registry: CollectorRegistry | None = None) -> None:
        super().__init__()
        self._settings = settings
        self.strategy = Strategy(settings.plugin, MetricsStore(settings.plugin.key_prefix))
        self.strategy.know(settings.deployments)
        self.request_log = RequestLog(settings.plugin.log, settings.plugin.key_prefix)
        self.fail_open_count = 0
        self.unasked_count = 0  # attempts that LiteLLM sent without asking
        labels = settings.plugin.metrics
        self.telemetry = Telemetry(
            settings.plugin.groups,
            registry or CollectorRegistry(),
            time.time(),
            label_teams=labels.teams,
            label_keys=labels.keys,
        )
        self.lacking: list[str] = []  # what this LiteLLM does not offer; then LiteLLM routes everything
        self._router: object = None
        self._entries: Sequence[adapter.Deployment] = ()
        self._is_listed: bool | None = None  # among LiteLLM's callbacks; `None` until it was
        self._narrows_all = True
        self._checks_each = True
        self._narrowed_groups: frozenset[str] = frozenset()
        self._limited_groups: frozenset[str] = frozenset()
        self._ended: deque[tuple[Mapping[str, object], Trace, Landing | None]] = deque()
        self._broken: list[tuple[float, Mapping[str, object], Trace]] = []  # streams that LiteLLM may go on with
        self.rollout = Rollout(settings.plugin)
        self._background = Background(
            settings.plugin,
            self.strategy,
            self.request_log,
            self.rollout,
            Hooks(self._tick, self._settling, adapter.redis_url, _ask_health),
        )
        self._background.ensure_running()

    def take_over(self) -> bool:
        """Follows the proxy's router: what it offers, its settings and its deployments. False while there is none."""
        following = self._follow()
        while True:
            try:
                next(following)
            except StopIteration as over:
                return bool(over.value)

    def _follow(self) -> Generator[None, None, bool]:
        """The same step by step, for there may be many deployments."""
        router = adapter.current_router()
        if router is None:
            return False
        if router is not self._router:
            self._router = router
            self._greet(router)
        if self.lacking:
            return True
        self._see_if_listed()
        policy = self.rollout.policy
        is_new = policy.version != self.strategy.policy
        self._narrows_all = adapter.narrows_all(router, self)
        self._checks_each = adapter.checks_each(router)
        entries = list(adapter.model_list(router))
        self._limited_groups = adapter.limited_groups(router, entries)
        if not is_new and entries == self._entries:
            return True
        yield
        copies: list[adapter.Deployment] = []
        known: list[ManagedDeployment] = []
        for index, entry in enumerate(entries):
            copies.append(copy.deepcopy(entry))
            known += _read(entry, index, policy.groups)
            yield
        if router is not self._router or policy is not self.rollout.policy:  # it goes on changing
            return True
        if is_new:
            self.strategy.adopt(policy.groups, policy.version)
            self.telemetry.configure(policy.groups)
        self._entries, self._narrowed_groups = copies, adapter.narrowed_groups(entries)
        self.strategy.know(known)
        return True

    def _see_if_listed(self) -> None:
        """Says it where somebody takes the plugin out of LiteLLM's callbacks, or puts it back."""
        is_listed = adapter.is_listed(self)
        if is_listed == self._is_listed or (self._is_listed is None and not is_listed):
            return
        if not is_listed:
            log.error("the plugin was taken out of litellm.callbacks: LiteLLM alone routes")
        elif self._is_listed is not None:
            log.info("the plugin is among litellm.callbacks again")
        self._is_listed = is_listed

    def _greet(self, router: object) -> None:
        self.lacking = adapter.lacking(router)
        groups = ", ".join(self.strategy.groups)
        if self.lacking:
            log.error(
                "LiteLLM %s lacks %s: LiteLLM alone routes %s", adapter.version(), "; ".join(self.lacking), groups
            )
            return
        log.info("routing %s on LiteLLM %s", groups, adapter.version())
        if adapter.is_newer_than_tested():
            log.warning("LiteLLM %s is newer than %s.x, the newest tested", adapter.version(), adapter.NEWEST_TESTED)

    def _tick(self) -> Generator[None, None, bool]:
        self.strategy.store.lapse(time.time())
        yield from self.telemetry.refreshing(
            self.strategy.store.snapshot,
            self.strategy.live.states,
            now_s=None if self._settings.plugin.redis_url or adapter.redis_url() else time.time(),
            fail_open=self.fail_open_count,
            unasked=self.unasked_count,
            log_dropped=self.request_log.dropped,
            is_lacking=bool(self.lacking) or self._is_listed is False,
            jobs=self._background.standings,
        )
        return (yield from self._follow())

    async def async_filter_deployments(
        self,
        model: str,
        healthy_deployments: list[adapter.Deployment],
        messages: object,
        request_kwargs: Request | None = None,
        parent_otel_span: object = None,
    ) -> list[adapter.Deployment]:
        """The pick of one attempt: one deployment, or the list as it came where LiteLLM is to choose."""
        answer = adapter.answer_to_us(healthy_deployments)
        if answer is not None:
            return answer
        if request_kwargs is None:
            return healthy_deployments
        trace = find_trace(request_kwargs) or self._wake(model, request_kwargs)
        place = (model, *adapter.place_of(request_kwargs))
        if trace is not None:
            again = _same_answer(trace, place, healthy_deployments)
            if again is not None:
                return again
            self.strategy.supersede(trace)
            trace.was_asked, trace.decision, trace.refusal, trace.answer = True, None, None, None
            trace.note = self._why_not(model, trace)
        try:
            if trace is None or trace.note:
                return self._affordable(model, healthy_deployments, {"messages": messages, **request_kwargs}, trace)
            trace.group = model
            chosen = await self._pick(healthy_deployments, messages, request_kwargs, trace)
        except Exception as error:  # noqa: BLE001  # fail open: whatever breaks here must not break the request
            if trace is not None and trace.asks_pool:  # LiteLLM's own pick is to raise the same; else `_sent` counts it
                trace.asks_pool, trace.refusal = False, error
            else:
                self._fail_open(trace, error)
            return healthy_deployments
        trace.answer = place, None if chosen is None else adapter.deployment_id(chosen)
        return healthy_deployments if chosen is None else [chosen]

    def _affordable(
        self, group: str, listed: list[adapter.Deployment], request: Request, trace: Trace | None
    ) -> list[adapter.Deployment]:
        """What LiteLLM may pick from where it picks by itself: after a fallback into a group that is not managed, and
        of models that are asked side by side, only what the key's or team's cost ceiling allows.
        """
        is_managed = group in self.strategy.groups
        if is_managed is (trace is not None) or is_mirror(request):
            return listed
        ceiling_usd = adapter.ceiling_of(request) if trace is None else cost_ceiling(trace.asked)
        if ceiling_usd is None:
            return listed
        offered = _facts_of(listed)
        kept = self.strategy.affordable([*offered.values()], request, ceiling_usd)
        return [one for one in listed if adapter.deployment_id(one) in kept]

    def _wake(self, group: str, request: Request) -> Trace | None:
        """The trace of a request that a fallback led into a managed group; what it asks for counts from here on."""
        trace = find_waiting(request) if group in self.strategy.groups else None
        if trace is None or trace.waiting is None:
            return None
        inputs, trace.waiting, trace.group = trace.waiting, None, group
        without_requests_own = SloInputs(key_metadata=inputs.key_metadata, team_metadata=inputs.team_metadata)
        for wishes in (inputs, without_requests_own, limits_alone(inputs)):
            try:
                self.strategy.read_request(group, trace, wishes)
                break
            except RequestSloError as error:  # too late to refuse the request: it is said what does not count
                trace.ignored = (*trace.ignored, error.field)
        return trace

    def _why_not(self, group: str, trace: Trace) -> str:
        """Why LiteLLM is to choose by itself; empty where it is not."""
        if self.lacking:
            return f"LiteLLM {adapter.version()} is not supported; it chose by itself"
        if group not in self.strategy.groups or trace.call_type not in ROUTED_CALL_TYPES:
            return "this kind of call is not routed by SLO"
        return "the group is switched off" if group in self.rollout.off else ""

    async def _pick(
        self, listed: Sequence[adapter.Deployment], messages: object, request: Request, trace: Trace
    ) -> adapter.Deployment | None:
        group = trace.group
        by_id = {adapter.deployment_id(deployment): deployment for deployment in listed}
        pool: Iterable[str] = by_id
        router = adapter.current_router()
        narrows = self._narrows_all or group in self._narrowed_groups or adapter.narrows(request, messages)
        if router is not None and narrows:
            pool = await self._narrowed(router, by_id, messages, request, trace)
        checking = None if narrows or not self._checks_each else router
        trace.is_shadow = not self.strategy.routes(group, adapter.key_hash(request), trace.lot)
        full: set[str] = set()
        while True:
            chosen = self._choose({"messages": messages, **request}, pool, trace, full)
            if chosen and checking and not await adapter.keeps(checking, group, request, messages, chosen):
                pool, checking = await self._narrowed(checking, by_id, messages, request, trace), None
                continue
            if chosen is None or trace.is_shadow:
                return None
            if chosen in full:  # all are: LiteLLM refuses it, or picks by itself where no ceiling must hold
                if self.strategy.has_ceiling(trace):
                    return by_id[chosen]
                trace.decision, trace.note = None, "all are over their rpm or tpm; LiteLLM chose"
                return None
            if router is None or group not in self._limited_groups:
                return by_id[chosen]
            if await adapter.has_room(router, group, request, messages, by_id[chosen]):
                return by_id[chosen]
            full.add(chosen)

    async def _narrowed(
        self, router: object, listed: Container[str], messages: object, request: Request, trace: Trace
    ) -> list[str]:
        trace.asks_pool = True
        narrowed = await adapter.healthy_pool(router, trace.group, request, messages)
        trace.asks_pool = False
        return [name for name in map(adapter.deployment_id, narrowed) if name in listed]

    def _choose(self, request: Request, pool: Iterable[str], trace: Trace, full: Collection[str]) -> str | None:
        began_s = time.perf_counter()
        holder = adapter.holder_of(request)
        chosen = self.strategy.choose(trace.group, request, pool, trace, full=full, holder=holder)
        if trace.decision is not None:
            self.telemetry.decided(trace.group, trace.decision, time.perf_counter() - began_s)
            if trace.span is not None and trace.span.is_recording():
                trace.span.set_attributes(span_attributes(trace.decision, shadow=trace.is_shadow))
        return chosen

    def _fail_open(self, trace: Trace | None, error: Exception) -> None:
        self.fail_open_count += 1
        if trace is not None:
            trace.decision, trace.note = None, "the decision failed; LiteLLM chose"
        log.error("a decision failed; LiteLLM chose (%d times so far)", self.fail_open_count, exc_info=error)

    async def async_pre_call_deployment_hook(self, kwargs: Request, call_type: object) -> Request | None:
        """LiteLLM sends an attempt to a deployment."""
        trace, name = find_trace(kwargs), adapter.sent_to(kwargs)
        if trace is not None and name is not None and self.strategy.sent(trace, name):
            self._see_who_picked(trace)
        return None

    def _see_who_picked(self, trace: Trace) -> None:
        if trace.refusal is not None:  # LiteLLM refused its pool to us, and then picked from it
            self._fail_open(trace, trace.refusal)
        if not trace.was_asked:
            trace.decision, trace.note = None, "LiteLLM picked without asking this plugin"
            if not self.unasked_count:
                log.warning("LiteLLM picked a deployment of %s without asking this plugin", trace.group)
            self.unasked_count += 1
        trace.was_asked, trace.refusal, trace.answer = False, None, None

    async def async_post_call_failure_deployment_hook(
        self, request_data: Mapping[str, object], exception: Exception, call_type: object
    ) -> None:
        """An attempt failed."""
        trace = find_trace(request_data)
        if trace is not None:
            self.strategy.finish(trace, ENDINGS[self._fault_of(exception, trace)])

    def _fault_of(self, error: object, trace: Trace, *, at_proxy: bool = False) -> Fault:
        """Whose fault a failed attempt is: also the client's, where it waits for less than an answer takes."""
        if trace.is_elsewhere:
            return "request"
        if trace.is_impatient and adapter.is_timeout(error) and not self.strategy.is_overdue(trace):
            return "request"
        return adapter.fault_of(error, at_proxy=at_proxy)

    async def async_pre_call_hook(
        self, user_api_key_dict: UserAPIKeyAuth, cache: object, data: Request, call_type: str
    ) -> Request | None:
        """A request arrives: read what it asks for. HTTP 400 where that is malformed."""
        self._background.ensure_running()
        router = adapter.current_router()
        model = data.get("model")
        metadata = own_metadata(data)
        if router is None or metadata is None or not isinstance(model, str):
            return None
        group = adapter.resolve_alias(router, model)
        if "," in model and group not in self.strategy.groups:  # several at once, which LiteLLM alone routes
            _slo_inputs(data, user_api_key_dict)  # no provider sees what is meant for us
            return data
        if group not in self.strategy.groups and call_type not in ROUTED_CALL_TYPES:
            return None
        if router is not self._router:
            self.take_over()
        is_managed, stream = group in self.strategy.groups, data.get("stream") is True
        inputs = _slo_inputs(data, user_api_key_dict)
        span = user_api_key_dict.parent_otel_span
        arrived_s = adapter.arrived_s(data, time.time())
        trace = Trace(str(call_type), arrived_s, group=group, lot=self.strategy.draw_lot(), stream=stream, span=span)
        trace.is_impatient, trace.is_elsewhere = adapter.is_impatient(data), adapter.is_elsewhere(data)
        if not is_managed:  # a fallback may lead into one that is
            trace.waiting, metadata[TRACE_KEY] = inputs, trace
            return data
        try:
            self.strategy.read_request(group, trace, inputs)
        except RequestSloError as error:
            raise HTTPException(status_code=400, detail={"error": str(error)}) from error
        metadata[TRACE_KEY] = trace
        return data

    async def async_post_call_response_headers_hook(
        self,
        data: Request,
        user_api_key_dict: UserAPIKeyAuth,
        response: object,
        request_headers: dict[str, str] | None = None,
        litellm_call_info: dict[str, object] | None = None,
    ) -> dict[str, str] | None:
        """An answer leaves: say what was decided."""
        trace = find_trace(data)
        if trace is None or response is None:  # from 1.110 on also for an error
            return None
        if trace.decision is not None and not trace.is_shadow:
            return headers(trace.decision, (*trace.clamped, *trace.ignored))
        if trace.decision is not None:
            trace.note = f"shadow: {trace.decision.deployment_id} would have been chosen"
        if not trace.note:
            return None
        named = {"x-slo-decision": "passthrough", "x-slo-reason": trace.note}
        served = trace.sent_to[-1] if trace.sent_to else (litellm_call_info or {}).get("model_id")
        return named | ({"x-slo-selected-model": header_text(str(served))} if served else {})

    def async_post_call_streaming_iterator_hook(
        self, user_api_key_dict: UserAPIKeyAuth, response: AsyncIterator[object], request_data: Request
    ) -> AsyncIterator[object]:
        """A stream goes to its client; one that is none of ours goes as it came, without a step more."""
        trace = find_trace(request_data)
        return response if trace is None else self._watch(response, trace, request_data, user_api_key_dict)

    async def _watch(
        self, response: AsyncIterator[object], trace: Trace, data: Request, key: UserAPIKeyAuth
    ) -> AsyncIterator[object]:
        """Every piece as it came. Each is looked at until one has the first token; then it costs a comparison."""
        look = Look()
        try:
            async for piece in response:
                if trace.awaits_token and look.finds_token(piece):
                    trace.saw_token(None if adapter.is_from_cache(data) else time.time())
                yield piece
        except (GeneratorExit, asyncio.CancelledError):
            self._client_left(trace, data, key)
            raise

    def _client_left(self, trace: Trace, data: Request, key: UserAPIKeyAuth) -> None:
        """The client left. LiteLLM tells so where it has chunks to bill; elsewhere the record is made here, later."""
        if trace.recorded or trace.attempt is None:
            return
        if trace.awaits_token:  # nothing is to be learned of it
            self.strategy.finish(trace, "disconnected")
        self._broken.append((time.time(), self._own_payload(data, key, trace, error=None), trace))

    async def async_logging_hook(self, kwargs: Request, result: object, call_type: str) -> tuple[Request, object]:
        """A request succeeded: put the decision where LiteLLM's other sinks find it, before they run."""
        _share_decision(kwargs)
        return kwargs, result

    async def async_log_success_event(
        self, kwargs: Request, response_obj: object, start_time: object, end_time: object
    ) -> None:
        """A request succeeded, or its client left: record it and learn from its usage."""
        trace, payload = find_trace(kwargs.get("litellm_params")), kwargs.get("standard_logging_object")
        if trace is not None and isinstance(payload, dict):
            self._record(payload, trace)

    async def async_log_failure_event(
        self, kwargs: Request, response_obj: object, start_time: object, end_time: object
    ) -> None:
        """An attempt failed. If its answer had begun the request is over, unless LiteLLM goes on with it elsewhere."""
        _share_decision(kwargs)
        trace, payload = find_trace(kwargs.get("litellm_params")), kwargs.get("standard_logging_object")
        if trace is not None and isinstance(payload, dict) and answer_began(payload, trace):
            if trace.attempt is not None and trace.attempt.deployment_id == payload.get("model_id"):
                self.strategy.finish(trace, ENDINGS[self._fault_of(kwargs.get("exception"), trace)])
            self._broken.append((time.time(), payload, trace))
            if len(self._broken) > MOST_BROKEN:
                _, oldest, of = self._broken.pop(0)
                self._record(oldest, of)

    async def async_post_call_failure_hook(
        self,
        request_data: Request,
        original_exception: Exception,
        user_api_key_dict: UserAPIKeyAuth,
        traceback_str: str | None = None,
    ) -> None:
        """A request failed for good: record it."""
        trace = find_trace(request_data)
        if trace is not None:
            error = None if getattr(original_exception, "status_code", None) == CLIENT_LEFT else original_exception
            fault = self._fault_of(original_exception, trace, at_proxy=True)
            self.strategy.finish(trace, "disconnected" if error is None else ENDINGS[fault])
            broken = next((payload for _, payload, other in self._broken if other is trace), None)
            self._record(broken or self._own_payload(request_data, user_api_key_dict, trace, error), trace)

    def _own_payload(self, data: Request, key: UserAPIKeyAuth, trace: Trace, error: Exception | None) -> Request:
        """What LiteLLM's logging payload would be of a request that failed for good, or whose client left.

        LiteLLM's own is of the first attempt that failed, or there is none. Without an error the client left.
        """
        last = trace.sent_to[-1] if trace.sent_to else None
        facts = None if last is None else self.strategy.facts.get(last)
        return {
            "id": data.get("litellm_call_id"),
            "status": "success" if error is None else "failure",
            "error_str": "Client disconnected" if error is None else None,
            "endTime": time.time(),
            "model_group": data.get("model"),
            "model_id": last,
            "model": None if facts is None else facts.model,
            "error_information": {} if error is None else {"error_class": type(error).__name__},
            "metadata": {
                "user_api_key_hash": key.token,
                "user_api_key_alias": key.key_alias,
                "user_api_key_team_id": key.team_id,
            },
            "messages": data.get("messages"),
        }

    def _record(self, payload: Mapping[str, object], trace: Trace) -> None:
        outcome = outcome_of(payload)
        ending: Ending = "released" if outcome == "cache_hit" or trace.is_elsewhere else outcome
        landing = self.strategy.finish(trace, ending)
        if trace.recorded:  # LiteLLM called once more with the same request, for a tool of its own
            return
        trace.recorded = True
        if trace.beginnings:  # the conversation's next turn may come at once
            self._settle(payload, trace, landing)
            return
        self._ended.append((payload, trace, landing))
        if len(self._ended) > MOST_ENDED:
            self._settle(*self._ended.popleft())

    def settle(self) -> None:
        """Records and learns from the requests that ended since the last call."""
        for _ in self._settling():
            pass

    def _settling(self) -> Generator[None, None, None]:
        """The same one by one.

        Four times a second, several at a time: each in between a request's other code takes more CPU.
        """
        self._give_up_broken(time.time())
        while self._ended:
            self._settle(*self._ended.popleft())
            yield

    def _settle(self, payload: Mapping[str, object], trace: Trace, landing: Landing | None) -> None:
        facts = self._facts(str(payload.get("model_id")))
        record = build_record(payload, trace, facts=facts, log_prompts=self._settings.plugin.log.log_prompts)
        self.request_log.offer(record)
        self.strategy.learn(trace, landing, record, is_whole=ended_by_itself(payload))
        effective = None if trace.is_shadow else trace.decision
        self.telemetry.observe(trace.group, record, effective, self.strategy.facts)

    def _facts(self, name: str) -> Facts | None:
        """Of a deployment that answered; a fallback may have led to one that is in no managed group."""
        known = self.strategy.facts.get(name)
        if known is not None:
            return known
        return _facts_of(entry for entry in self._entries if adapter.deployment_id(entry) == name).get(name)

    def _give_up_broken(self, now_s: float) -> None:
        broken, self._broken = self._broken, []
        for since_s, payload, trace in broken:
            if trace.recorded:
                continue
            waited_s = abs(now_s - since_s)
            goes_on = trace.attempt is not None and outcome_of(payload) != "disconnected"
            if waited_s > (LEASE_S if goes_on else BROKEN_S):
                self._record(payload, trace)
            else:
                self._broken.append((since_s, payload, trace))


def _same_answer(
    trace: Trace, place: tuple[object, ...], listed: list[adapter.Deployment]
) -> list[adapter.Deployment] | None:
    """The last answer where LiteLLM asks again and nothing was sent or failed in between: a look is no pick.

    LiteLLM looks at the pool while a request waits in its priority queue. `None` where there is none, or it is gone.
    """
    if trace.answer is None or trace.answer[0] != place:
        return None
    picked = trace.answer[1]
    if picked is None:
        return listed
    return next(([one] for one in listed if adapter.deployment_id(one) == picked), None)


async def _ask_health(name: str) -> Health:
    router = adapter.current_router()
    entries = () if router is None else adapter.model_list(router)
    found = next((entry for entry in entries if adapter.deployment_id(entry) == name), None)
    return "unclear" if found is None else await adapter.health(found)


def _slo_inputs(data: Request, key: UserAPIKeyAuth) -> SloInputs:
    """Where this request's wishes stand; what a provider must not see is taken out."""
    metadata = data.get("metadata")
    request = data.get("proxy_server_request")
    sent = request.get("headers") if isinstance(request, dict) else None
    return SloInputs(
        headers=sent if isinstance(sent, Mapping) else {},
        body_slo=metadata.pop("slo", None) if isinstance(metadata, dict) else None,
        user_slo=data.pop("user_slo", None),
        key_metadata=key.metadata or None,
        team_metadata=key.team_metadata or None,
    )


def _share_decision(event: Request) -> None:
    parameters = event.get("litellm_params")
    trace = find_trace(parameters)
    if trace is None or trace.decision is None or not isinstance(parameters, dict):
        return
    decision = {**summary(trace.decision), "shadow": trace.is_shadow}
    payload = event.get("standard_logging_object")
    shared = payload.get("metadata") if isinstance(payload, dict) else None
    for metadata in (own_metadata(parameters), shared):
        if isinstance(metadata, dict):
            own = metadata.get("spend_logs_metadata")
            metadata["spend_logs_metadata"] = {**(own if isinstance(own, dict) else {}), "slo_router": decision}


def _read(entry: adapter.Deployment, index: int, groups: Container[str]) -> Iterable[ManagedDeployment]:
    """The deployment, if it is managed; one that was added at run time with unusable facts is left out and named."""
    if group_of(entry, groups) is None:
        return ()
    try:
        return (read_deployment(entry, f"model_list[{index}]", adapter.price_map(), groups),)
    except SettingsError as error:
        log.warning("a deployment is left out: %s", error)
        return ()


def _facts_of(entries: Iterable[adapter.Deployment]) -> dict[str, Facts]:
    """By id, of deployments that may be in no managed group; those with unusable facts have an unknown price."""
    prices, found = adapter.price_map(), dict[str, Facts]()
    for index, entry in enumerate(entries):
        name = adapter.deployment_id(entry)
        try:
            facts = read_deployment(entry, f"model_list[{index}]", prices).facts
            found[name] = replace(facts, deployment_id=name)
        except SettingsError:
            found[name] = Facts(name, name)
    return found
