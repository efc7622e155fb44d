"""The estimate's tables as text, for the terminal and the HTML page. `>` before a column's name: it holds numbers."""

from __future__ import annotations

from collections.abc import Sequence

from slo_router.contract.intervals import Interval
from slo_router.operator.commands.terminal import UNKNOWN, between, number, percent, usd
from slo_router.operator.estimate.estimate import CandidateLine, Estimate, Move, Part, Saving
from slo_router.operator.reporting.tables import Table

SCENARIOS = {
    "shown": "only where graded answers show that it is good enough",
    "stated": "also where the YAML states so",
    "open": "also where nobody knows: the most that it could be",
}
_PARTS = (">requests", ">spent", ">saved: shown", ">+ stated", ">+ open")
_MOVE = ("group", "task", "from", "to", ">requests", ">spent", ">instead", ">saved")


def tables(made: Estimate) -> list[Table]:
    """All tables that have rows."""
    what = ("who may take over", ">moves", ">saves", ">of the spend", ">95 % of such traffic", ">as assumed", ">both")
    found = [Table("What routing would have saved", what, [_saving(one) for one in made.savings])]
    parts = {"group": made.groups, "task": made.tasks, "key": made.keys}
    found += [Table(f"By {name}", (name, *_PARTS), [_part(one) for one in rows]) for name, rows in parts.items()]
    moves = [(*_move(one), f"{one.verdict}: {one.why}") for one in made.moves]
    found.append(Table("What would move, as far as something is known", (*_MOVE, "quality"), moves))
    questions = [(*_move(one), one.why, number(one.needed)) for one in made.questions]
    found.append(
        Table("What graded answers would settle, each by itself", (*_MOVE, "what is open", ">answers"), questions)
    )
    names = (
        "candidate",
        ">prompt",
        ">answer",
        ">cached, USD per million",
        ">answers as long",
        ">from",
        ">to",
        "told by",
    )
    found.append(Table("Candidates", names, [_candidate(one) for one in made.candidates]))
    left: list[tuple[str, ...]] = [(one.why, f"{one.requests:,}", usd(one.usd)) for one in made.unmoved]
    found.append(Table("In no comparison", ("requests that were", ">requests", ">spent"), left))
    return [one for one in found if one.rows]


def settles(made: Estimate) -> str:
    """In one sentence: how much is open, and what would settle it."""
    known = [one.needed for one in made.questions if one.needed is not None]
    if not made.questions:
        return "Nothing that would save is open."
    first = made.questions[0]
    worth = usd(first.spent_usd - first.routed_usd)
    what = f"{first.to} for {first.served} in {first.group}" + (f", {first.task}" if first.task else "")
    if first.needed is None:
        return f"{len(made.questions)} questions are open; the first, {what}, is worth {worth}: {first.why}."
    return (
        f"{len(made.questions)} questions are open. {first.needed:,} graded answers would settle the first ({what}, "
        f"worth {worth}), {sum(known):,} all of those that a number would."
    )


def _saving(one: Saving) -> tuple[str, ...]:
    return (
        SCENARIOS[one.scenario],
        f"{one.moved:,}",
        usd(one.saved_usd),
        percent(one.saved_share),
        *(between(each) for each in (one.interval, one.assumed, one.whole)),
    )


def _part(one: Part) -> tuple[str, ...]:
    saved = (one.shown_usd, one.stated_usd, one.open_usd)
    return one.name, f"{one.requests:,}", usd(one.spent_usd), *(usd(value) for value in saved)


def _move(one: Move) -> tuple[str, ...]:
    saved = one.spent_usd - one.routed_usd
    money = (usd(one.spent_usd), usd(one.routed_usd), f"{usd(saved)}, {percent(saved / one.spent_usd, 0)}")
    return one.group, one.task, one.served, one.to, f"{one.requests:,}", *money


def _candidate(one: CandidateLine) -> tuple[str, ...]:
    prices = (UNKNOWN if price is None else f"{price:.4g}" for price in (one.input_usd, one.output_usd, one.cached_usd))
    told = f"{one.length_source}, {one.length_answers:,} answers" if one.length_answers else one.length_source
    return one.name, *prices, f"{one.times_as_long:.2f}", *_ends(one.times_interval), told


def _ends(interval: Interval) -> Sequence[str]:
    return [f"{end:.2f}" for end in interval]
