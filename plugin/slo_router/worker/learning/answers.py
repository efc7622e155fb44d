"""What past answers tell of the next one: how many tokens a prompt takes, and how long an answer gets.

A worker tells the others a sample of its answers' lengths, and learns from theirs. The lengths to expect are worked out
in the background (`refit`); a decision looks them up.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Generator, Mapping
from typing import NamedTuple

from slo_router.contract.ages import LENGTH_HALF_LIFE_S
from slo_router.contract.model import Facts, Features, Metrics
from slo_router.contract.record import RequestRecord
from slo_router.request.lengths import Length, Seen, assumed, shown_part
from slo_router.request.usage import Learned, learn
from slo_router.request.verbosity import NOTHING_MEASURED, Added, Kind, Measured, added_by, assuming, is_effort, times

MOST_LENGTHS = 8  # lengths of answers that a worker tells the others at a time: a sample is enough
SAME = 0.01  # of a length: a smaller change is not worth a new computation
AGED = 0.05  # of the half-life: after less time a new computation is not worth it

Lengths = Mapping[str, Length]  # by deployment id


class Told(NamedTuple):
    """What a worker tells the others of one answer."""

    category: str
    writer: str
    tokens: int
    is_cut: bool  # it would have been longer
    effort: str = ""
    hidden: int = 0  # how many of the tokens the client did not see


class _Made(NamedTuple):
    """The expected length of a kind, with the mean and shown part that it was made from, and when (Unix seconds)."""

    length: Length
    mean: float
    shown: float
    at_s: float


class Answers:
    """What this worker's answers showed, and what the others told. `learned` is replaced with each, never changed."""

    def __init__(self) -> None:
        self.learned = Learned()
        self._own: deque[Told] = deque(maxlen=MOST_LENGTHS)  # not yet told to the others
        self._seen: dict[Kind, Seen] = {}
        self._fresh: set[Kind] = set()  # kinds of which an answer was seen since the last refit
        self._added: Added = {}  # what the relatives of each kind add to its expected length, as the traffic shows
        self._assumed = NOTHING_MEASURED
        self._of: tuple[object, object] = None, None  # the measurements and deployments that `_assumed` was made of
        self._writers: dict[str, str] = {}  # by deployment id
        self._shown: Mapping[str, float] = {}  # by writer: the part of its tokens that the client sees
        self._made: dict[Kind, _Made] = {}
        self._tables: dict[tuple[str, str], dict[str, Length]] = {}  # by category and effort, then by deployment id

    def lengths(self, features: Features) -> Lengths:
        """The expected length of each deployment's answer to a request with these features.

        The result is replaced by `refit`, and never changed.
        """
        asked = features.category, features.effort
        table = self._tables.get(asked)
        return self._table(*asked) if table is None else table

    def know(self, facts: Mapping[str, Facts]) -> None:
        """Takes the current deployments, and forgets what is known of others."""
        before, self._writers = self._writers, {name: one.writer for name, one in facts.items()}
        if self._writers == before:
            return
        writers = set(self._writers.values())
        self._seen = {kind: seen for kind, seen in self._seen.items() if kind.writer in writers}
        self._made = {kind: made for kind, made in self._made.items() if kind.writer in writers}
        self._tables = {}

    def see(self, features: Features, served: Facts | None, record: RequestRecord, *, is_whole: bool | None) -> None:
        """Learns from an answer of this worker. `is_whole`: it ended by itself; `None` where that is unknown."""
        is_over = record.outcome == "success"
        if is_over:
            self.learned = learn(self.learned, features, record.prompt_tokens)
        if record.completion_tokens and served is not None:
            tokens, limit = max(round(record.completion_tokens / features.choices), 1), features.limit_tokens
            is_cut = limit is not None and (is_whole is False or (tokens >= limit and is_whole is None))
            hidden = min(round((record.hidden_tokens or 0) / features.choices), tokens)
            told = Told(features.category, served.writer, tokens, is_cut or not is_over, features.effort, hidden)
            self._own.append(told)
            self._add(told, record.ts)

    def export(self) -> list[Told]:
        """The answers of this worker that the others have not heard of."""
        told = list(self._own)
        self._own.clear()
        return told

    def hear(self, said: object, categories: Collection[str], now_s: float) -> None:
        """Learns from what another worker exported. Ignores malformed entries."""
        writers = set(self._writers.values())
        for entry in said[:MOST_LENGTHS] if isinstance(said, list) else ():
            match entry:
                case [str(category), str(writer), int(tokens), bool(is_cut), str(effort), int(hidden)] if (
                    category in categories and writer in writers and 0 <= hidden <= tokens > 0 and is_effort(effort)
                ):
                    self._add(Told(category, writer, tokens, is_cut, effort, hidden), now_s)

    def _add(self, told: Told, at_s: float) -> None:
        kind = Kind(told.writer, told.category, told.effort)
        seen = self._seen.get(kind)
        if seen is None:
            seen = self._seen[kind] = Seen()
        seen.add(told.tokens, at_s, is_cut=told.is_cut, hidden=told.hidden)
        self._fresh.add(kind)

    def refit(
        self, facts: Mapping[str, Facts], measured: Mapping[str, Mapping[str, Metrics]], now_s: float
    ) -> Generator[None, None, None]:
        """Works out the expected lengths in steps, from new answers and what the benchmark last measured."""
        if self._of[0] is not measured or self._of[1] is not facts:
            known, thinkers = measured_lengths(facts, measured), [one.writer for one in facts.values() if one.thinks]
            self._assumed = yield from assuming(known, thinkers)
            self._of = measured, facts
            self._fresh |= self._seen.keys()
        self._shown = shown_parts(facts, measured, self._seen, now_s)
        fresh, self._fresh = self._fresh, set()
        fresh |= {kind for kind in self._seen if kind in self._made and self._is_old(kind, now_s)}
        for kind in fresh:
            if kind in self._seen:  # its deployment may be gone
                self._make(kind, now_s)
            yield
        if fresh:
            found = {
                kind: (math.log(self._made[kind].length.mean / self._assumed.tokens(kind)), seen.answers(now_s))
                for kind, seen in self._seen.items()
                if kind in self._made
            }
            yield
            self._added = yield from added_by(found)
        for kind, made in list(self._made.items()):
            is_other = abs(self._shown_by(kind) - made.shown) > SAME
            if is_other or abs(self._expected(kind) / made.mean - 1) > SAME:
                self._make(kind, now_s)
            yield
        for asked in list(self._tables):
            self._tables[asked] = self._collect(*asked)
            yield

    def _is_old(self, kind: Kind, now_s: float) -> bool:
        return now_s - self._made[kind].at_s > AGED * LENGTH_HALF_LIFE_S

    def _make(self, kind: Kind, now_s: float) -> None:
        mean, shown, seen = self._expected(kind), self._shown_by(kind), self._seen.get(kind)
        length = assumed(mean, shown) if seen is None else seen.posterior(mean, now_s, shown=shown)
        self._made[kind] = _Made(length, mean, shown, now_s)

    def _shown_by(self, kind: Kind) -> float:
        return self._shown.get(kind.writer, 1.0)

    def _expected(self, kind: Kind) -> float:
        """The mean length that the benchmark and the relatives of a kind let expect."""
        return self._assumed.tokens(kind) * times(kind, self._added)

    def _table(self, category: str, effort: str) -> dict[str, Length]:
        """The table of a category and an effort, made when it is first asked for. Later `refit` replaces it."""
        for writer in set(self._writers.values()):
            kind = Kind(writer, category, effort)
            if kind not in self._made:
                self._make(kind, 0.0)
        made = self._tables[category, effort] = self._collect(category, effort)
        return made

    def _collect(self, category: str, effort: str) -> dict[str, Length]:
        made = {writer: self._made[Kind(writer, category, effort)].length for writer in set(self._writers.values())}
        return {name: made[writer] for name, writer in self._writers.items()}


def measured_lengths(facts: Mapping[str, Facts], measured: Mapping[str, Mapping[str, Metrics]]) -> Measured:
    """The lengths that the benchmark found; deployments of one writer are pooled."""
    sums: dict[tuple[str, str], tuple[float, float]] = {}
    for name, one in facts.items():
        for category, row in measured.get(name, {}).items():
            mean, answers = row.output_tokens_mean, float(row.samples or 0)
            if mean and answers:
                total, before = sums.get((one.writer, category), (0.0, 0.0))
                sums[one.writer, category] = total + answers * mean, before + answers
    return {key: (total / answers, answers) for key, (total, answers) in sums.items()}


def shown_parts(
    facts: Mapping[str, Facts], measured: Mapping[str, Mapping[str, Metrics]], seen: Mapping[Kind, Seen], now_s: float
) -> Mapping[str, float]:
    """By writer, the part of its tokens that a client sees, from the benchmark and from its answers of all kinds."""
    sums: dict[str, tuple[float, float]] = {}
    for name, one in facts.items():
        for row in measured.get(name, {}).values():
            answers, mean, hidden = (
                float(row.samples or 0),
                row.output_tokens_mean or 0.0,
                row.hidden_tokens_mean or 0.0,
            )
            _count(sums, one.writer, answers * mean, answers * min(hidden, mean))
    for kind, one_seen in seen.items():
        _count(sums, kind.writer, *one_seen.tokens(now_s))
    return {writer: shown_part(tokens, hidden) for writer, (tokens, hidden) in sums.items()}


def _count(sums: dict[str, tuple[float, float]], writer: str, tokens: float, hidden: float) -> None:
    before = sums.get(writer, (0.0, 0.0))
    sums[writer] = before[0] + tokens, before[1] + hidden
