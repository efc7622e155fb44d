"""Which requests that ended may be compared, and what is kept of them until they are.

A request stays out if the request, its key or its team says that it is private. It also stays out if its answer would
mean little to a judge: it is no chat of plain text, has tools, continues something that a server holds, was cut or came
from a cache.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from slo_router.gateway.followed import FollowedRouter
from slo_router.gateway.pairing.asked import ProxyAsking
from slo_router.request.conditions import answer_form
from slo_router.telemetry.telemetry import Telemetry
from slo_router.worker.pairing.asking import LIMITS, Messages
from slo_router.worker.pairing.paired import Finished, ShadowEvaluation
from slo_router.worker.records import ended_by_itself, outcome_of
from slo_router.worker.strategy import Strategy
from slo_router.worker.trace import METADATA_KEYS, Trace

PRIVATE_HEADER, PRIVATE_FIELD = "x-slo-private", "slo_private"  # the field is the request's own `metadata`
OPT_OUT = "slo_shadow_evaluation"  # in the metadata of a key or team
NO = ("false", "0", "off", "no", "")  # any other value makes a request private
YES = ("true", "1", "on", "yes", "")  # any other value opts out

SENT_AGAIN = (
    *(*LIMITS, "temperature", "top_p", "stop", "seed"),
    *("presence_penalty", "frequency_penalty", "reasoning_effort", "verbosity", "response_format"),
)
UNFIT = (
    *("tools", "tool_choice", "functions", "function_call", "web_search_options"),
    *("modalities", "audio", "prediction", "logprobs", "top_logprobs", "logit_bias"),
    *("thinking", "top_k", "extra_body"),
)
CHATS = ("acompletion", "completion")
# A deployment that only these filters reject could answer all the same.
ABLE = ("quality", "error_rate", "cost_ceiling")

log = logging.getLogger("slo_router")
LONGEST = 100_000  # characters of prompt and answer
REDACTED = "redacted-by-litellm"


def shadow_evaluation(
    prefix: str, strategy: Strategy, followed: FollowedRouter, telemetry: Telemetry
) -> ShadowEvaluation:
    """This worker's shadow evaluation."""
    return ShadowEvaluation(prefix, strategy, ProxyAsking(followed), telemetry.compared)


def offer_if_drawn(
    paired: ShadowEvaluation, event: Mapping[str, object], trace: Trace, payload: Mapping[str, object]
) -> None:
    """A request ended: if it is drawn and may be compared, queues it for its comparison."""
    if trace.recorded or not paired.wants(trace.group):
        return
    try:
        finished = finished_of(event, trace, payload, time.time())
    except Exception:
        log.exception("shadow evaluation: a request could not be read")
        return
    if finished is not None:
        paired.offer(finished)


def finished_of(
    event: Mapping[str, object], trace: Trace, payload: Mapping[str, object], ended_s: float
) -> Finished | None:
    """A request that may be compared; `event` and `payload` are what LiteLLM logs of it. `ended_s` is Unix seconds."""
    params = event.get("litellm_params")
    if trace.decision is None or not isinstance(params, Mapping) or not _may_be_told(trace, payload):
        return None
    sent = params.get("proxy_server_request")
    body = sent.get("body") if isinstance(sent, Mapping) else None
    if not isinstance(body, Mapping) or is_private(params, body):
        return None
    messages, answer = _plain(payload.get("messages")), _text_of(payload.get("response"))
    form = answer_form(body)
    if any(body.get(name) for name in UNFIT) or messages is None or answer is None:
        return None
    if form is None and body.get("response_format"):  # no check tells whether an answer keeps it
        return None
    if sum(len(message["content"]) for message in messages) + len(answer) > LONGEST:
        return None
    unable = {one.deployment_id for one in trace.decision.rejections if one.filter not in ABLE}
    found = {one.deployment_id: one.prediction.cost_usd for one in trace.decision.assessments}
    usd = {name: cost for name, cost in found.items() if cost is not None and name not in unable}
    parameters = {name: body[name] for name in SENT_AGAIN if body.get(name) is not None}
    category, floor = trace.decision.features.category, trace.slo.min_quality
    return Finished(
        trace.group, category, floor, str(payload.get("model_id")), usd, messages, parameters, answer, ended_s, form
    )


def is_private(params: Mapping[str, object], body: Mapping[str, object]) -> bool:
    """Whether a request, its key or its team says that its text is private. `params` are LiteLLM's."""
    sent = params.get("proxy_server_request")
    headers = sent.get("headers") if isinstance(sent, Mapping) else None
    own = [one for key in METADATA_KEYS if isinstance(one := body.get(key), Mapping)]
    own += [one for part in own if isinstance(one := part.get("requester_metadata"), Mapping)]  # LiteLLM's copy
    said = [one.get(PRIVATE_FIELD) for one in own]
    said.append(headers.get(PRIVATE_HEADER) if isinstance(headers, Mapping) else None)
    if any(one is not None and _word(one) not in NO for one in said):
        return True
    metadata = next((found for key in METADATA_KEYS if isinstance(found := params.get(key), Mapping)), {})
    opted = [metadata.get(f"user_api_key_{whose}metadata") for whose in ("", "team_")]
    allowed = [one.get(OPT_OUT) for one in opted if isinstance(one, Mapping)]
    return any(one is not None and _word(one) not in YES for one in allowed)


def _word(value: object) -> str:
    return str(value).strip().lower()


def _may_be_told(trace: Trace, payload: Mapping[str, object]) -> bool:
    """Whether the answer is a chat's, whole and its deployment's own, and another deployment could read the prompt."""
    if trace.call_type not in CHATS or trace.tells_nothing or trace.goes_on or trace.is_signed:
        return False
    return outcome_of(payload) == "success" and ended_by_itself(payload) is True


def _plain(messages: object) -> Messages | None:
    """The messages as plain text; `None` where there is anything else in them."""
    found: list[Mapping[str, str]] = []
    for message in messages if isinstance(messages, list) else ():
        if not isinstance(message, Mapping) or message.get("role") not in ("system", "developer", "user", "assistant"):
            return None
        content = message.get("content")
        if isinstance(content, list):
            texts = [
                text for part in content if isinstance(part, Mapping) and isinstance(text := part.get("text"), str)
            ]
            content = "\n".join(texts) if len(texts) == len(content) else None
        if not isinstance(content, str) or message.get("tool_calls") or content == REDACTED:
            return None
        found.append({"role": str(message["role"]), "content": content})
    return found or None


def _text_of(response: object) -> str | None:
    """The text of a chat's answer; `None` where there are several answers, or a tool call."""
    choices = response.get("choices") if isinstance(response, Mapping) else None
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], Mapping):
        return None
    message = choices[0].get("message")
    content = message.get("content") if isinstance(message, Mapping) and not message.get("tool_calls") else None
    return content if isinstance(content, str) and content and content != REDACTED else None
