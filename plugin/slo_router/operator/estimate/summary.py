"""Adds the estimate up: three scenarios with their intervals, by group, task and key, and what is still open."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from slo_router.contract.ages import DAY_S
from slo_router.contract.intervals import Interval
from slo_router.contract.prices import rates
from slo_router.operator.estimate.candidates import Pool
from slo_router.operator.estimate.estimate import CandidateLine, Day, Estimate, Move, Part, Saving, Unmoved
from slo_router.operator.estimate.evidence import Verdict
from slo_router.operator.estimate.lengths import ASSUMED, widest
from slo_router.operator.estimate.notes import Asked, assumptions, unmoved
from slo_router.operator.estimate.resampling import FEWEST, Block, saved_interval
from slo_router.operator.estimate.totals import Stratum, Sums, Totals
from slo_router.operator.estimate.what_if import SCENARIOS, End, Option, Picks, WhatIf, routed_usd

PER_MILLION = 1e6
FEWEST_USD = 1e-9


class Source(NamedTuple):
    """What was read, and how many of its rows were broken."""

    name: str
    broken: int


class Summary:
    """Computes the estimate from the totals."""

    def __init__(self, totals: Totals, what_if: WhatIf, pool: Pool) -> None:
        self._totals, self._what_if, self._pool = totals, what_if, pool
        self._strata = totals.strata()
        self._picks = {(scenario, end): what_if.picks(scenario, end) for scenario in SCENARIOS for end in End}
        self._spent_usd = sum(sums.usd for sums in self._strata.values())

    def estimate(self, source: Source, asked: Asked) -> Estimate:
        """The whole estimate."""
        totals = self._totals
        days = list(totals.by_day())
        shares = list(totals.by_share())
        is_daily = len({day for _, day, _ in days}) >= FEWEST
        blocks = [shares, days] if is_daily else [shares]
        left = unmoved(totals, self._pool, self._strata)
        basis = "whole sessions drawn anew" + (", and whole days; the wider of the two" if is_daily else "")
        return Estimate(
            source.name,
            totals.first_s,
            totals.last_s,
            totals.rows,
            source.broken,
            sum(sums.requests for sums in self._strata.values()),
            self._spent_usd,
            tuple(self._saving(scenario, blocks) for scenario in SCENARIOS),
            basis,
            self._parts((stratum.group, stratum, sums) for stratum, sums in self._strata.items()),
            self._parts((stratum.task, stratum, sums) for stratum, sums in self._strata.items()),
            self._parts((key, stratum, sums) for stratum, key, sums in totals.by_key()),
            self._moves(),
            self._questions(),
            tuple(self._candidates()),
            tuple(Unmoved(*line) for line in left),
            assumptions(asked, self._pool, self._what_if),
            self._days(days),
        )

    def _saving(self, scenario: Verdict, blockings: Iterable[list[tuple[Stratum, int, Sums]]]) -> Saving:
        picks = {end: self._picks[scenario, end] for end in End}
        routed = {end: sum(routed_usd(one, sums, picks[end], end) for one, sums in self._strata.items()) for end in End}
        spent = self._spent_usd
        intervals = {end: _widest(self._interval(each, picks[end], end) for each in blockings) for end in End}
        share = {end: 1 - routed[end] / spent if spent else None for end in End}
        least, middle, most = (share[end] for end in End)
        low, high = intervals[End.LEAST], intervals[End.MOST]
        return Saving(
            scenario.name.lower(),
            sum(self._strata[stratum].requests for stratum in picks[End.MIDDLE]),
            routed[End.MIDDLE],
            spent - routed[End.MIDDLE],
            middle,
            intervals[End.MIDDLE],
            None if least is None or most is None else Interval(least, most),
            None if low is None or high is None else Interval(low.low, high.high),
        )

    def _interval(self, cells: Iterable[tuple[Stratum, int, Sums]], picks: Picks, end: End) -> Interval | None:
        found: defaultdict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for stratum, block, sums in cells:
            found[block][0] += sums.usd
            found[block][1] += routed_usd(stratum, sums, picks, end)
        blocks = [Block(*usd) for _, usd in sorted(found.items())]
        return saved_interval(blocks) if len(blocks) >= FEWEST else None

    def _parts(self, cells: Iterable[tuple[str, Stratum, Sums]]) -> tuple[Part, ...]:
        found: defaultdict[str, list[float]] = defaultdict(lambda: [0, 0.0, 0.0, 0.0, 0.0])
        for name, stratum, sums in cells:
            line = found[name]
            line[0] += sums.requests
            line[1] += sums.usd
            for place, scenario in enumerate(SCENARIOS, 2):
                line[place] += sums.usd - routed_usd(stratum, sums, self._picks[scenario, End.MIDDLE], End.MIDDLE)
        parts = [Part(name, int(line[0]), *line[1:]) for name, line in found.items()]
        return tuple(sorted(parts, key=lambda part: -part.spent_usd))

    def _moves(self) -> tuple[Move, ...]:
        """The moves of the scenario `stated`."""
        picks = self._picks[Verdict.STATED, End.MIDDLE]
        return self._lines(picks.items(), lambda _, __: True)

    def _questions(self) -> tuple[Move, ...]:
        """The moves that are open or merely stated, and would save."""
        options = ((stratum, one) for stratum, found in self._what_if.options.items() for one in found)
        return self._lines(options, _is_question)

    def _lines(
        self, cells: Iterable[tuple[Stratum, Option]], counts: Callable[[Option, float], bool]
    ) -> tuple[Move, ...]:
        found: dict[tuple[str, str, str, str], tuple[list[float], Option]] = {}
        for stratum, option in cells:
            sums = self._strata[stratum]
            usd = option.usd(sums, End.MIDDLE)
            if counts(option, sums.usd - usd):
                name = stratum.group, stratum.task, self._shown(stratum.served), option.facts.name
                line, _ = found.setdefault(name, ([0, 0.0, 0.0], option))
                for place, value in enumerate((sums.requests, sums.usd, usd)):
                    line[place] += value
        moves = [
            Move(*name, int(line[0]), line[1], line[2], one.judgement.verdict.name.lower(), *one.judgement[1:])
            for name, (line, one) in found.items()
        ]
        return tuple(sorted(moves, key=lambda move: move.routed_usd - move.spent_usd))

    def _shown(self, served: str) -> str:
        facts = self._pool.deployments.get(served)
        return facts.name if facts is not None else self._totals.models.get(served) or served

    def _candidates(self) -> Iterable[CandidateLine]:
        for one in self._pool.candidates:
            options = (option for found in self._what_if.options.values() for option in found)
            factor = widest(option.factor for option in options if option.facts is one.facts) or ASSUMED
            prompt, answer, cached = (None if usd is None else usd * PER_MILLION for usd in rates(one.facts, 0))
            between = Interval(factor.low, factor.high)
            yield CandidateLine(one.name, prompt, answer, cached, factor.middle, between, factor.source, factor.answers)

    def _days(self, cells: Iterable[tuple[Stratum, int, Sums]]) -> tuple[Day, ...]:
        found: defaultdict[int, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
        for stratum, day, sums in cells:
            line = found[day]
            line[0] += sums.usd
            for place, scenario in enumerate((Verdict.STATED, Verdict.OPEN), 1):
                line[place] += routed_usd(stratum, sums, self._picks[scenario, End.MIDDLE], End.MIDDLE)
        return tuple(Day(int(day * DAY_S), *line) for day, line in sorted(found.items()))


def _is_question(option: Option, saved_usd: float) -> bool:
    return option.judgement.verdict in (Verdict.OPEN, Verdict.STATED) and saved_usd > FEWEST_USD


def _widest(found: Iterable[Interval | None]) -> Interval | None:
    known = [one for one in found if one is not None]
    return max(known, key=lambda one: one.high - one.low, default=None)
