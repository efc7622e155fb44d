"""Faults that show only beside other deployments' answers to the same prompts. A single deployment has none of them.

- `no_stop`: every answer of the deployment ran to `max_tokens`, while most other deployments' answers to this prompt
  ended by themselves. An answer for which `max_tokens` left no room does not count.
- `gibberish`: the answer is much less like the prompts and other answers than every other answer to this prompt. This
  also finds a deployment that alone answers in another language.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from slo_bench.checks.answer import GIBBERISH, NO_STOP, Answer
from slo_bench.checks.likeness import Passages

MARGIN_BITS = 1.0  # per character; gibberish costs at least this much more than every other answer to the prompt
LEAST_BITS = 4.0  # per character; a cheaper answer is never gibberish
_LEAST_CHARS = 40  # the bits of a shorter answer are chance
_ROOM_CHARS = 160  # about 40 tokens; a smaller `max_tokens` may be too small for a sound answer

Answers = Mapping[str, Sequence[Answer]]  # of one category, by deployment
Bits = Mapping[str, Sequence[float | None]]


def compared(answers: Answers) -> dict[str, list[tuple[str, ...]]]:
    """By deployment, for each of its answers: the names of the faults that the comparison finds."""
    to_prompt: dict[str, list[tuple[str, int]]] = {}
    for name, mine in answers.items():
        for position, answer in enumerate(mine):
            to_prompt.setdefault(answer.prompt, []).append((name, position))
    endless = {name for name, mine in answers.items() if all(answer.ran_out for answer in mine)}
    bits = _bits(answers)

    def found(name: str, position: int) -> tuple[str, ...]:
        mine = answers[name][position]
        others = [one for one in to_prompt[mine.prompt] if one[0] != name]
        stopped = sum(not answers[other][i].ran_out for other, i in others)
        has_room = len(mine.text) + mine.reasoning_chars >= _ROOM_CHARS and not mine.is_mostly_reasoning
        never_stops = name in endless and has_room and 2 * stopped > len(others)
        reads_odd = _reads_odd(bits[name][position], [bits[other][i] for other, i in others])
        return (*([GIBBERISH] if reads_odd else []), *([NO_STOP] if never_stops else []))

    return {name: [found(name, position) for position in range(len(mine))] for name, mine in answers.items()}


def _bits(answers: Answers) -> Bits:
    """Bits per character of each answer, by a model of all prompts and the other deployments' answers."""
    own = {name: Passages(answer.text for answer in mine) for name, mine in answers.items()}
    everything = Passages({answer.prompt for answer in chain.from_iterable(answers.values())})
    for passages in own.values():
        everything.add(passages)
    return {
        name: [everything.bits(a.text, own[name]) if len(a.text) >= _LEAST_CHARS else None for a in mine]
        for name, mine in answers.items()
    }


def _reads_odd(bits: float | None, others: Sequence[float | None]) -> bool:
    known = [value for value in others if value is not None]
    return bits is not None and bool(known) and bits >= max(max(known) + MARGIN_BITS, LEAST_BITS)
