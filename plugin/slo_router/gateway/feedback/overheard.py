"""Reads weak signals off requests that ended, for groups with `implicit_feedback`, after their answers went out.

A success event puts what LiteLLM logs into a short queue, and a background job reads it. So no request waits for it.
The job leaves out private requests, requests of a key or team that opted out, and requests whose text LiteLLM redacts.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

from slo_router.gateway.pairing.offers import REDACTED, is_private
from slo_router.request.conditions import answer_form, schema_of
from slo_router.request.conversations import fingerprints
from slo_router.request.signals import breaks_schema, refused_from
from slo_router.worker.learning.implicit import Ended
from slo_router.worker.records import ended_by_itself
from slo_router.worker.strategy import Strategy
from slo_router.worker.trace import Trace

MOST_WAITING = 200
LONGEST = 100_000  # characters; a longer answer is not checked against its schema
_SECRET = secrets.token_bytes(32)  # makes a prompt's hash meaningless outside this worker


class _Waiting(NamedTuple):
    params: Mapping[str, object]  # LiteLLM's
    trace: Trace
    payload: Mapping[str, object]
    signals: Sequence[str]
    ended_s: float


class Overheard:
    """One worker's queue of requests that ended."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self._waiting: deque[_Waiting] = deque(maxlen=MOST_WAITING)

    def offer(self, event: Mapping[str, object], trace: Trace, payload: Mapping[str, object]) -> None:
        """A request succeeded: queues it if its group wants weak signals."""
        group, params = self._strategy.groups.get(trace.group), event.get("litellm_params")
        signals = () if group is None else group.settings.implicit_feedback
        if signals and not trace.recorded and isinstance(params, Mapping):
            self._waiting.append(_Waiting(params, trace, payload, signals, time.time()))

    def settling(self) -> Generator[None, None, None]:
        """Reads the requests in the queue, one per step."""
        while self._waiting:
            waiting = self._waiting.popleft()
            name = str(waiting.payload.get("model_id"))
            ended = ended_of(*waiting) if self._strategy.group_of.get(name) == waiting.trace.group else None
            if ended is not None:
                self._strategy.implicit.see(ended)
            yield


def ended_of(
    params: Mapping[str, object],
    trace: Trace,
    payload: Mapping[str, object],
    signals: Sequence[str],
    ended_s: float,
) -> Ended | None:
    """What an answer shows; `None` where the plugin made no decision, or the answer is private, redacted or not whole.

    `None` also where the answer tells nothing of a deployment (`tells_nothing`).
    """
    sent = params.get("proxy_server_request")
    body = sent.get("body") if isinstance(sent, Mapping) else None
    if trace.decision is None or trace.tells_nothing or not isinstance(body, Mapping) or is_private(params, body):
        return None
    if ended_by_itself(payload) is not True or _is_redacted(payload.get("messages")):
        return None
    messages = body.get("messages") or body.get("input") or body.get("prompt")
    system = body.get("system") or body.get("instructions")
    refused = refused_from(messages, body.get("tools")) if "tool_call_refused" in signals else None
    before = messages[:refused] if isinstance(messages, list) else None
    return Ended(
        str(payload.get("model_id")),
        trace.decision.features.category,
        trace.arrived_s,
        ended_s,
        turn=None if trace.goes_on else _turn(payload, messages, system),
        refused=None if refused is None else _turn(payload, before, system),
        is_broken="schema_violated" in signals and _is_broken(body, payload.get("response")),
        may_repeat="asked_again" in signals,
    )


def _turn(payload: Mapping[str, object], messages: object, system: object) -> int | None:
    """A hash of a prompt, with its key and its end user; `None` where the prompt has no fingerprint."""
    prints = fingerprints(messages, system)
    if not prints:
        return None
    metadata = payload.get("metadata")
    key = metadata.get("user_api_key_hash") if isinstance(metadata, Mapping) else None
    text = f"{key}|{payload.get('end_user')}|{prints[0]}".encode("utf-8", "replace")
    return int.from_bytes(blake2b(text, digest_size=8, key=_SECRET).digest(), "big")


def _is_broken(body: Mapping[str, object], response: object) -> bool:
    """Whether an answer breaks the schema of its request."""
    form = answer_form(body)
    if form is None:
        return False
    text = _text_of(response)
    return text is not None and len(text) <= LONGEST and breaks_schema(text, schema_of(form))


def _text_of(response: object) -> str | None:
    """The text of an answer that is one text alone; `None` where it has a tool call or a refusal."""
    if not isinstance(response, Mapping):
        return None
    choices, output = response.get("choices"), response.get("output")
    if isinstance(choices, list):
        said = choices[0] if len(choices) == 1 and isinstance(choices[0], Mapping) else {}
        message = said.get("message")
        if not isinstance(message, Mapping) or message.get("tool_calls") or message.get("refusal"):
            return None
        texts = [message.get("content")]
    else:
        items = [one for one in output if isinstance(one, Mapping)] if isinstance(output, list) else []
        written = [one for one in items if one.get("type") != "reasoning"]
        parts = written[0].get("content") if len(written) == 1 else None
        parts = parts if isinstance(parts, list) else []
        texts = [part.get("text") if isinstance(part, Mapping) else None for part in parts]
    whole = [text for text in texts if isinstance(text, str) and text != REDACTED]
    return "".join(whole) if whole and len(whole) == len(texts) else None


def _is_redacted(messages: object) -> bool:
    last = messages[-1] if isinstance(messages, list) and messages else messages
    return (last.get("content") if isinstance(last, Mapping) else last) == REDACTED
