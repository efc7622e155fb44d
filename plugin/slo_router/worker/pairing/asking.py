"""What is asked of deployments to compare two answers, and the most that it can cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from slo_router.contract.judge.verdicts import question
from slo_router.contract.model import Facts, Metrics
from slo_router.contract.prices import tokens_usd

MOST_OUTPUT = 4_096  # tokens of a second answer
MOST_VERDICT = 1_024  # tokens of a verdict
FRAME_BYTES = 1_000  # what a provider adds around the messages, as bytes of text
CRITERIA = "correct, complete and helpful"
LIMITS = ("max_completion_tokens", "max_tokens")  # the parameters that bound an answer

Messages = Sequence[Mapping[str, str]]


class Call(NamedTuple):
    """What a deployment is asked."""

    messages: Messages
    parameters: Mapping[str, object]

    @property
    def limit(self) -> int:
        """Tokens of the answer, at most."""
        return next((limit for name in LIMITS if isinstance(limit := self.parameters.get(name), int)), MOST_OUTPUT)


class Reply(NamedTuple):
    """An answer. `usd` is `None` where its bill is unknown; `is_whole` says whether it ended by itself."""

    text: str
    usd: float | None
    is_whole: bool


class Asking(Protocol):
    """How the proxy's deployments are asked, on no key's account."""

    def facts(self, name: str) -> Facts | None:
        """The facts of a deployment."""
        ...

    def deployments(self, group: str) -> Sequence[str]:
        """The ids of a model group's deployments."""
        ...

    async def ask(self, name: str, call: Call) -> Reply:
        """Asks one deployment, once. Raises whatever a provider's code raises."""
        ...


def again(messages: Messages, parameters: Mapping[str, object]) -> Call:
    """The same request once more, with a limit on its answer."""
    name = next((name for name in LIMITS if parameters.get(name) is not None), LIMITS[-1])
    said = parameters.get(name)
    limit = min(said, MOST_OUTPUT) if isinstance(said, int) else MOST_OUTPUT
    return Call(messages, {**{key: value for key, value in parameters.items() if key not in LIMITS}, name: limit})


def to_judge(messages: Messages, a: str, b: str) -> Call:
    """The question to a judge: which of two answers is better."""
    request = "\n\n".join(f"{message['role']}: {message['content']}" for message in messages)
    text = question(CRITERIA, request, a, b)
    return Call([{"role": "user", "content": text}], {"temperature": 0, LIMITS[-1]: MOST_VERDICT})


def most_usd(facts: Facts | None, measured: Metrics | None, call: Call) -> float | None:
    """USD that a call costs at most, for no text has more tokens than bytes; `None` where no price is known."""
    if facts is None:
        return None
    size = sum(len(text.encode("utf-8", "replace")) for message in call.messages for text in message.values())
    per_1k_usd = None if measured is None else measured.cost_per_1k_usd
    return tokens_usd(facts, size + FRAME_BYTES, call.limit, per_1k_usd)
