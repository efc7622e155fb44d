"""Finds what is wrong with answers, by the calls that the endpoints saw. Pure.

An answer's text must be the beginning of what one endpoint writes for the request's mark. So the check notices a piece
from another request or endpoint, and a piece that came twice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from evaluation.emulator.answers import words
from evaluation.emulator.record import Seen
from evaluation.robustness.stalls.asking import Answer

LONGEST = 100  # tokens of an answer
AT_ONCE_S = 0.5  # within this time after the winner's first token, the loser's connection must be closed
Calls = Mapping[str, Sequence[tuple[str, Seen]]]  # mark → the endpoints that were called, and what each saw


# All count requests, except `calls`, which counts the calls that the endpoints got. rescued: the headers say so.
# lost: the client stayed and got no text. broken: the client stayed and got only the beginning. mixed: the text is not
# one endpoint's text for this request. slow_to_close: a call that was no longer needed stayed open.
COUNTED = ("requests", "calls", "rescued", "lost", "broken", "mixed", "wrong_headers", "slow_to_close")


class Findings(NamedTuple):
    """The counts of COUNTED, and some examples of what is wrong."""

    counts: Mapping[str, int]
    examples: tuple[str, ...] = ()

    @property
    def extra(self) -> float:
        """Calls beyond one for each request, as a share of the requests."""
        return self.counts["calls"] / self.counts["requests"] - 1 if self.counts["requests"] else 0.0


def summed(found: Iterable[Findings]) -> Findings:
    """The sum of several findings."""
    rows = list(found)
    examples = tuple(example for row in rows for example in row.examples)
    return Findings({name: sum(row.counts[name] for row in rows) for name in COUNTED}, examples[:20])


def calls_of(seen: Mapping[str, Iterable[Seen]]) -> Calls:
    """All calls, by the mark of their request."""
    found: dict[str, list[tuple[str, Seen]]] = defaultdict(list)
    for endpoint, row in seen.items():
        for one in row:
            if one.mark is not None:
                found[one.mark].append((endpoint, one))
    return found


def examine(answers: Iterable[Answer], calls: Calls) -> Findings:
    """Examines all answers, and counts what is wrong."""
    counts: Counter[str] = Counter()
    examples: list[str] = []
    for answer in answers:
        own = calls.get(answer.question.mark, ())
        found = set(_faults(answer, own))
        counts.update(found)
        counts["requests"] += 1
        counts["calls"] += len(own)
        counts["rescued"] += "x-slo-rescued" in answer.headers
        if found:
            examples.append(f"{', '.join(sorted(found))}: {_gist(answer, own)}")
    return Findings({name: counts[name] for name in COUNTED}, tuple(examples[:20]))


def _faults(answer: Answer, calls: Sequence[tuple[str, Seen]]) -> Iterable[str]:
    has_left = answer.question.leaves_s is not None
    if not answer.text and not has_left:
        yield "lost"
    if answer.text and not has_left and (answer.error or not answer.is_finished):
        yield "broken"
    writer = answer.text[1:].partition("]")[0]
    whole = "".join(words(writer, answer.question.mark, LONGEST))
    if not whole.startswith(answer.text) or len(answer.ids) > 1:
        yield "mixed"
    rescued = answer.headers.get("x-slo-rescued")
    is_wrong = rescued not in (None, "deadline", "hedge") or (rescued is not None and len(calls) < 2)
    if answer.text and (is_wrong or answer.model != writer):
        yield "wrong_headers"
    winner = next((one for name, one in calls if name == writer and one.completed), None)
    if winner is not None and any(_stays(one, winner) for _, one in calls if one is not winner):
        yield "slow_to_close"


def _stays(loser: Seen, winner: Seen) -> bool:
    """Whether a call stayed open for more than AT_ONCE_S after another had won, or after its own start if later."""
    if loser.status is not None and loser.status != 200:  # the call ended by itself
        return False
    if loser.fault in ("drop", "cut", "error500"):
        return False
    won_s = max(winner.content_s or winner.headers_s or winner.at_s, loser.at_s)
    over_s = loser.closed_s or loser.ended_s
    return over_s is None or over_s > won_s + AT_ONCE_S


def _gist(answer: Answer, calls: Sequence[tuple[str, Seen]]) -> str:
    sent = ", ".join(
        f"{name} {one.fault} at {one.at_s % 1000:.2f} status {one.status} pieces {one.pieces}"
        f"{' completed' if one.completed else ''}{f' closed {one.closed_s % 1000:.2f}' if one.closed_s else ''}"
        for name, one in calls
    )
    headers = {name: answer.headers.get(name) for name in ("x-slo-selected-model", "x-slo-rescued")}
    question = answer.question
    return (
        f"{question.route} {'streamed' if question.stream else 'whole'} {question.mark} {answer.error or ''} "
        f"{answer.text[:60]!r} ids {sorted(answer.ids)} {headers} calls: {sent}"
    )
