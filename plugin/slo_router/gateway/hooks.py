"""The plugin as LiteLLM sees it: one callback with these hooks.

    arrival      async_pre_call_hook                      read the SLO, answer 400 where it is malformed
    pick         async_filter_deployments                 decide, or leave the list to LiteLLM's own strategy
    sent         async_pre_call_deployment_hook           an attempt is under way, ours or LiteLLM's pick
    failed       async_post_call_failure_deployment_hook  the attempt is over: find whose fault it was
    answer       async_post_call_response_headers_hook    say what was decided
    stream       async_post_call_streaming_iterator_hook  see the first token pass, and that the client leaves
    end          async_log_success_event                  one record, learn from the usage
                 async_post_call_failure_hook             one record

Background jobs do the rest. If anything of ours fails during a pick, one broad `except` catches it, and the request
goes on as LiteLLM alone would have routed it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Generator, Mapping
from typing import TYPE_CHECKING

from fastapi import HTTPException
from litellm.proxy._types import UserAPIKeyAuth
from prometheus_client import CollectorRegistry

from slo_router.contract.first_token import Look
from slo_router.contract.settings.config import Settings
from slo_router.errors import RequestSloError
from slo_router.gateway import pools, requests
from slo_router.gateway.config import redis_url
from slo_router.gateway.ends import Ends, share_decision
from slo_router.gateway.feedback.route import offer
from slo_router.gateway.followed import FollowedRouter
from slo_router.gateway.pairing.offers import offer_if_drawn, shadow_evaluation
from slo_router.gateway.picker import Picker, same_answer
from slo_router.gateway.requests import ROUTED_CALL_TYPES, Request
from slo_router.gateway.rescue.ahead import LeftError, is_left
from slo_router.gateway.rescue.cooldown import forgive
from slo_router.gateway.rescue.rescuer import Rescuer, stop
from slo_router.gateway.rescue.told import late, told
from slo_router.gateway.router import Deployment, current_router, deployment_id, resolve_alias
from slo_router.telemetry.telemetry import Telemetry
from slo_router.worker.background import Background, Hooks
from slo_router.worker.request_log import RequestLog
from slo_router.worker.rollout import Rollout
from slo_router.worker.snapshot import MetricsStore
from slo_router.worker.strategy import Strategy
from slo_router.worker.trace import TRACE_KEY, Trace, find_trace, own_metadata

if TYPE_CHECKING:  # mypy does not follow LiteLLM, and takes every attribute of an unknown base class for granted

    class CustomLogger:
        """LiteLLM's."""
else:
    from litellm.integrations.custom_logger import CustomLogger


class Plugin(CustomLogger):
    """LiteLLM's hooks, wired to the strategy."""

    def __init__(self, settings: Settings, registry: CollectorRegistry | None = None) -> None:
        super().__init__()
        self._settings = settings
        self.strategy = Strategy(settings.plugin, MetricsStore(settings.plugin.key_prefix))
        self.strategy.know(settings.deployments)
        self.request_log = RequestLog(settings.plugin.log, settings.plugin.key_prefix)
        labels, registry = settings.plugin.metrics, registry or CollectorRegistry()
        self.telemetry = Telemetry(
            settings.plugin.groups, registry, time.time(), label_teams=labels.teams, label_keys=labels.keys
        )
        self.rollout = Rollout(settings.plugin)
        self.followed = FollowedRouter(self, self.strategy, self.telemetry, self.rollout)
        self.picker = Picker(self.strategy, self.telemetry, self.rollout, self.followed)
        self.rescuer = Rescuer(self, self.strategy, self.telemetry)
        prompts = settings.plugin.log.log_prompts
        self.ends = Ends(self.strategy, self.telemetry, self.request_log, self.followed, log_prompts=prompts)
        self.paired = shadow_evaluation(settings.plugin.key_prefix, self.strategy, self.followed, self.telemetry)
        self._background = Background(
            settings.plugin,
            self.strategy,
            self.request_log,
            self.rollout,
            Hooks(self._tick, self.ends.settling, redis_url, self.followed.ask_health, self.paired),
        )
        self._background.ensure_running()
        if settings.plugin.feedback:
            offer(self._background.rate)

    def take_over(self) -> bool:
        """Follows the proxy's router: what it offers, its settings, its deployments. False while there is no router."""
        following = self.followed.follow()
        while True:
            try:
                next(following)
            except StopIteration as over:
                return bool(over.value)

    def _tick(self) -> Generator[None, None, bool]:
        self.strategy.store.lapse(time.time())
        yield from self.telemetry.refreshing(
            self.strategy.store.snapshot,
            self.strategy.live.states,
            now_s=None if self._settings.plugin.redis_url or redis_url() else time.time(),
            fail_open=self.picker.fail_open_count,
            unasked=self.picker.unasked_count,
            log_dropped=self.request_log.dropped,
            is_lacking=bool(self.followed.lacking) or self.followed.is_listed is False,
            jobs=self._background.standings,
        )
        return (yield from self.followed.follow())

    def settle(self) -> None:
        """Records and learns from the requests that ended since the last call."""
        for _ in self.ends.settling():
            pass

    async def async_pre_call_hook(
        self, user_api_key_dict: UserAPIKeyAuth, cache: object, data: Request, call_type: str
    ) -> Request | None:
        """A request arrives: read what it asks for. HTTP 400 where that is malformed."""
        self._background.ensure_running()
        router, model, metadata = current_router(), data.get("model"), own_metadata(data)
        if router is None or not isinstance(model, str):
            return None
        group = resolve_alias(router, model)
        is_managed, stream = group in self.strategy.groups, data.get("stream") is True
        is_past_router = is_managed and call_type == requests.PASSED_ON
        is_several = not is_managed and "," in model  # models asked side by side: LiteLLM alone routes them
        if is_past_router or is_several:
            requests.slo_inputs(data, user_api_key_dict)  # no provider sees what is meant for us
            return data
        if metadata is None or (not is_managed and call_type not in ROUTED_CALL_TYPES):
            return None
        if router is not self.followed.held:
            self.take_over()
        inputs = requests.slo_inputs(data, user_api_key_dict)
        span = user_api_key_dict.parent_otel_span
        arrived_s = requests.arrived_s(data, time.time())
        trace = Trace(str(call_type), arrived_s, group=group, lot=self.strategy.draw_lot(), stream=stream, span=span)
        trace.is_impatient = requests.is_impatient(data)
        trace.tells_nothing = call_type not in ROUTED_CALL_TYPES or requests.is_elsewhere(data)
        if not is_managed:  # a fallback may lead into a managed group
            trace.waiting, metadata[TRACE_KEY] = inputs, trace
            return data
        try:
            self.strategy.read_request(group, trace, inputs)
        except RequestSloError as error:
            raise HTTPException(status_code=400, detail={"error": str(error)}) from error
        metadata[TRACE_KEY] = trace
        return data

    async def async_filter_deployments(
        self,
        model: str,
        healthy_deployments: list[Deployment],
        messages: object,
        request_kwargs: Request | None = None,
        parent_otel_span: object = None,
    ) -> list[Deployment]:
        """The pick of one attempt: one deployment, or the list as it came where LiteLLM is to choose."""
        answer = pools.answer_to_us(healthy_deployments)
        if answer is not None:
            return answer
        if request_kwargs is None:
            return healthy_deployments
        if is_left():
            raise LeftError
        trace = find_trace(request_kwargs) or self.picker.wake(model, request_kwargs)
        place = (model, *requests.place_of(request_kwargs))
        if trace is not None:
            again = same_answer(trace, place, healthy_deployments)
            if again is not None:
                return again
            self.strategy.supersede(trace)
            trace.was_asked, trace.decision, trace.refusal, trace.answer = True, None, None, None
            trace.note = self.picker.why_not(model, trace)
        try:
            if trace is None or trace.note:
                return self.picker.affordable(
                    model, healthy_deployments, {"messages": messages, **request_kwargs}, trace
                )
            trace.group = model
            chosen = await self.picker.pick(healthy_deployments, messages, request_kwargs, trace)
        except Exception as error:  # noqa: BLE001  # fail open: whatever breaks here must not break the request
            if (
                trace is not None and trace.asks_pool
            ):  # LiteLLM's own pick should raise the same; if not, the failure is counted when the attempt is sent
                trace.asks_pool, trace.refusal = False, error
            else:
                self.picker.fail_open(trace, error)
            return healthy_deployments
        trace.answer = place, None if chosen is None else deployment_id(chosen)
        return healthy_deployments if chosen is None else [chosen]

    async def async_pre_call_deployment_hook(self, kwargs: Request, call_type: object) -> Request | None:
        """LiteLLM sends an attempt to a deployment."""
        trace, name = find_trace(kwargs), requests.sent_to(kwargs)
        if trace is not None and name is not None and self.strategy.sent(trace, name):
            self.picker.see_who_picked(trace)
            self.rescuer.watch(trace, kwargs)
        return None

    async def async_post_call_failure_deployment_hook(
        self, request_data: Mapping[str, object], exception: Exception, call_type: object
    ) -> None:
        """An attempt failed."""
        trace = find_trace(request_data)
        if trace is not None:
            forgive(trace, request_data)
            self.ends.attempt_failed(trace, exception, request_data)

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
        if trace is None or response is None:  # LiteLLM 1.110 and later call this also for an error
            return None
        await self.rescuer.read_ahead(trace, response, data, user_api_key_dict)
        if not requests.is_from_cache(data):
            self.ends.answer_says(trace, requests.provider_headers(response))
        if trace.decision is not None and trace.is_shadow:
            trace.note = f"shadow: {trace.decision.deployment_id} would have been chosen"
        return (late if trace.stream else told)(trace, (litellm_call_info or {}).get("model_id")) or None

    def async_post_call_streaming_iterator_hook(
        self, user_api_key_dict: UserAPIKeyAuth, response: AsyncIterator[object], request_data: Request
    ) -> AsyncIterator[object]:
        """A stream goes to its client. A stream without a trace is returned as it is."""
        trace = find_trace(request_data)
        return response if trace is None else self._watch(response, trace, request_data, user_api_key_dict)

    async def _watch(
        self, response: AsyncIterator[object], trace: Trace, data: Request, key: UserAPIKeyAuth
    ) -> AsyncIterator[object]:
        """Yields every piece as it came. Looks for a token in each piece until one has it."""
        look, ahead = Look(), trace.ahead
        try:
            if ahead is not None:
                response = ahead.rest
                async for piece in ahead:
                    if ahead.first_token_s is not None and trace.awaits_token:
                        trace.saw_token(None if requests.is_from_cache(data) else ahead.first_token_s)
                    trace.last_pieces.append(piece)
                    yield piece
            async for piece in response:
                if trace.awaits_token and look.finds_token(piece):
                    trace.saw_token(None if requests.is_from_cache(data) else time.time())
                trace.last_pieces.append(piece)
                yield piece
            self.ends.stream_ended(trace, data, key)
        except (GeneratorExit, asyncio.CancelledError):
            self.ends.client_left(trace, data, key)
            if ahead is not None:
                await ahead.close()
            raise

    async def async_logging_hook(self, kwargs: Request, result: object, call_type: str) -> tuple[Request, object]:
        """A request succeeded: put the decision where LiteLLM's other sinks find it, before they run."""
        share_decision(kwargs)
        return kwargs, result

    async def async_log_success_event(
        self, kwargs: Request, response_obj: object, start_time: object, end_time: object
    ) -> None:
        """A request succeeded, or its client left: record it and learn from its usage."""
        trace, payload = find_trace(kwargs.get("litellm_params")), kwargs.get("standard_logging_object")
        if trace is not None and isinstance(payload, dict) and not self.ends.was_given_up(trace, payload):
            offer_if_drawn(self.paired, kwargs, trace, payload)
            self.ends.overheard.offer(kwargs, trace, payload)
            self.ends.record(payload, trace)

    async def async_log_failure_event(
        self, kwargs: Request, response_obj: object, start_time: object, end_time: object
    ) -> None:
        """An attempt failed. If its answer had begun the request is over, unless LiteLLM goes on with it elsewhere."""
        share_decision(kwargs)
        trace, payload = find_trace(kwargs.get("litellm_params")), kwargs.get("standard_logging_object")
        if trace is not None and isinstance(payload, dict):
            if trace.attempt is not None and trace.attempt.deployment_id == payload.get("model_id"):
                stop(trace)
            self.ends.stream_broke(trace, payload, kwargs.get("exception"))

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
            self.ends.request_failed(trace, request_data, user_api_key_dict, original_exception)
