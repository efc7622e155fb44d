"""How many judged pairs it takes to find the better of two models that differ by 5 points, by how the pairs are chosen.

    python -m evaluation.quality.paired_choice [--repeats 90] [--seed 0] [--save]

A group has a large model, which a suite graded, and two cheaper models, of which nothing is known. In one category, the
hard one, the two differ by 5 points: one lies 4 points above the floor, the other 1 below. Chance decides which of them
is cheaper. In the other categories their qualities are drawn at random. All categories get equally many requests. The
better model is found when its bound reaches the floor and the worse one's does not: then a decision takes the better
one. There are three ways to choose pairs:

    by worth        `quality.choosing`, as the workers do: the deployment that a decision takes answers a request, and
                    another is asked where that is worth most; none is asked where it is worth little
    with largest    a random category and one of the two at random, always compared with the large model
    all pairs       a random category and a random pair

The judge is asked twice. It calls a tie in six of ten pairs that are both good or both bad, and one verdict in twenty
is reversed. Beliefs are updated every hundred pairs. The figure is the median number of pairs, with a 95 % interval by
the bootstrap over groups. A way that finds nothing in MOST pairs counts as MOST. Worlds without an aim are played a
third as often.
"""

from __future__ import annotations

import random
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from evaluation.shared.results import Aim, Save, conclude
from slo_router.contract.model import Facts, Metrics
from slo_router.quality.choosing import Demand, Standing, choose, weighing
from slo_router.quality.comparing import Outcomes, Pair, together
from slo_router.quality.evidence import Cell
from slo_router.quality.judging import Graded, standing
from slo_router.quality.posterior import Rules
from slo_router.worker.tasks.turns import at_once

LARGE, FIRST, SECOND = "large", "first", "second"
USD = {FIRST: 1.0, SECOND: 2.0, LARGE: 10.0}
EVERY_PAIR = list(combinations(USD, 2))
FLOOR, ABOVE, BELOW, HARD = 0.8, 0.04, 0.01, "c0"
MOST, EVERY = 10_000, 100
TIES, TURNED, ALIKE = 0.6, 0.05, 0.5  # ALIKE: share of answers that the prompt's own difficulty decides
LIMIT, RESAMPLES = 0.5, 1_000
RULES = Rules()


class World(NamedTuple):
    """The number of categories, the large model's graded answers in each, and the standard deviation of the cheaper
    models' qualities in the other categories."""

    name: str
    categories: int = 6
    graded: int = 1_000
    scatter: float = 0.1


WORLDS = (
    World("six categories"),
    World("two categories", categories=2),
    World("one category", categories=1),
    World("six categories, all near the floor", scatter=0.03),
    World("six categories, the large model graded on 200", graded=200),
)
BARRED = WORLDS[:1]


class Found(NamedTuple):
    """After how many pairs a model was found, and whether it was the better one; `None` if none was found."""

    pairs: int
    is_right: bool | None


class Stage:
    """One group with its true qualities, and the comparisons so far."""

    def __init__(self, seed: str, world: World) -> None:
        self.rng = random.Random(seed)
        self.categories = [f"c{i}" for i in range(world.categories)]
        self.better = self.rng.choice((FIRST, SECOND))
        self.truth: dict[Cell, float] = {}
        for name in USD:
            for category in self.categories:
                mean, scatter = (0.9, 0.03) if name == LARGE else (FLOOR - 0.05, world.scatter)
                self.truth[name, category] = min(max(self.rng.gauss(mean, scatter), 0.05), 0.98)
            if name != LARGE:
                self.truth[name, HARD] = FLOOR + (ABOVE if name == self.better else -BELOW)
        self.facts = [Facts(name, name) for name in USD]
        self.measured = {LARGE: {category: self._graded(category, world.graded) for category in self.categories}}
        self.counts: dict[Pair, Counter[int]] = {}
        self.pairs = 0
        self.stands: dict[Cell, Standing] = {}
        self.look()

    def _graded(self, category: str, answers: int) -> Metrics:
        good = sum(self.rng.random() < self.truth[LARGE, category] for _ in range(answers))
        return Metrics(0.0, quality_score=good / answers, quality_n=answers, quality_at_s=0.0)

    def compare(self, one: str, other: str, category: str) -> None:
        """Adds one more judged pair."""
        rng, names = self.rng, sorted((one, other))
        hard = rng.random()
        first, second = (
            (hard if rng.random() < ALIKE else rng.random()) < self.truth[name, category] for name in names
        )
        says = first - second if first != second or rng.random() < TIES else rng.choice((-1, 1))
        verdicts = {-says if rng.random() < TURNED else says for _ in range(2)}
        counts = self.counts.setdefault((names[0], names[1], category), Counter())
        counts[verdicts.pop() if len(verdicts) == 1 else 0] += 1
        self.pairs += 1

    @property
    def rows(self) -> list[Outcomes]:
        """The outcomes of the comparisons so far."""
        return [Outcomes(*pair, got[1], got[0], got[-1], 0.0) for pair, got in self.counts.items()]

    def look(self) -> Found | None:
        """Updates the beliefs. Returns what is found, `None` if nothing is."""
        graded = Graded(self.measured, {}, self.rows)
        self.stands = dict(filter(None, standing(self.facts, graded, self.categories, 0.0, RULES)))
        passing = [name for name in (FIRST, SECOND) if self.passes(name, HARD)]
        return Found(self.pairs, passing == [self.better]) if passing else None

    def passes(self, name: str, category: str) -> bool:
        """Whether the model's bound reaches the floor in this category."""
        return (self.stands[name, category].bound or 0.0) >= FLOOR


def by_worth(stage: Stage) -> Found:
    """Chooses pairs as the workers do."""
    share = 1 / len(stage.categories)
    while stage.pairs < MOST:
        served = {c: next((name for name in USD if stage.passes(name, c)), LARGE) for c in stage.categories}
        demands = {c: Demand(FLOOR, RULES.confidence, share, frozenset({name})) for c, name in served.items()}
        usd = dict.fromkeys(stage.categories, USD)
        worth = at_once(weighing(usd, stage.stands, demands, together(stage.rows, RULES.half_life_s)))
        asked = {c: partner for c in stage.categories if (partner := choose(served[c], c, worth)) is not None}
        if not asked:
            break
        for category in stage.rng.choices(list(asked), k=EVERY):
            stage.compare(served[category], asked[category], category)
        found = stage.look()
        if found is not None:
            return found
    return Found(MOST, None)


def by_chance(pairs: Sequence[tuple[str, str]], stage: Stage) -> Found:
    """Chooses each pair and category with the same chance."""
    while stage.pairs < MOST:
        for _ in range(EVERY):
            stage.compare(*stage.rng.choice(pairs), stage.rng.choice(stage.categories))
        found = stage.look()
        if found is not None:
            return found
    return Found(MOST, None)


WAYS: Mapping[str, Callable[[Stage], Found]] = {
    "by worth": by_worth,
    "with largest": partial(by_chance, [pair for pair in EVERY_PAIR if LARGE in pair]),
    "all pairs": partial(by_chance, EVERY_PAIR),
}


def study(world: World, repeats: int, seed: int) -> dict[str, list[Found]]:
    """Plays each way on the same groups."""
    return {name: [way(Stage(f"{seed} {world.name} {i}", world)) for i in range(repeats)] for name, way in WAYS.items()}


class Figure(NamedTuple):
    """A median or a ratio of medians, with the ends of its interval."""

    value: float
    low: float
    high: float

    @staticmethod
    def of(rng: random.Random, *ways: Sequence[Found]) -> Figure:
        """The median pairs of one way, or the ratio of two ways' medians. The interval is bootstrapped over groups."""

        def figure(groups: Sequence[int]) -> float:
            medians = [statistics.median(runs[i].pairs for i in groups) for runs in ways]
            return medians[0] / medians[-1] if len(medians) > 1 else medians[0]

        every = range(len(ways[0]))
        drawn = sorted(figure(rng.choices(every, k=len(every))) for _ in range(RESAMPLES))
        return Figure(figure(every), drawn[round(0.025 * RESAMPLES)], drawn[round(0.975 * RESAMPLES) - 1])

    def text(self, digits: int = 0) -> str:
        """`1,450 (1,100–2,750)`."""
        return f"{self.value:,.{digits}f} ({self.low:,.{digits}f}–{self.high:,.{digits}f})"


class Row(NamedTuple):
    """A way to choose: its pairs, by worth's pairs ÷ its own, and the percentages of groups found right and wrong."""

    pairs: Figure
    ratio: Figure
    found: float
    wrong: float


def summary(found: Mapping[str, Sequence[Found]], rng: random.Random) -> dict[str, Row]:
    """The row of each way."""
    return {
        name: Row(
            Figure.of(rng, runs),
            Figure.of(rng, found["by worth"], runs),
            100 * statistics.mean(run.is_right is True for run in runs),
            100 * statistics.mean(run.is_right is False for run in runs),
        )
        for name, runs in found.items()
    }


def as_json(figures: Mapping[str, Mapping[str, Row]]) -> dict[str, object]:
    """The figures as nested dictionaries, with the names of the fields."""
    return {
        world: {
            way: {**row._asdict(), "pairs": row.pairs._asdict(), "ratio": row.ratio._asdict()}
            for way, row in rows.items()
        }
        for world, rows in figures.items()
    }


def main(repeats: Annotated[int, typer.Option(min=6)] = 90, seed: int = 0, *, is_saved: Save = False) -> None:
    """How many judged pairs the better of two models takes to be found."""
    figures, aims = {}, []
    for world in WORLDS:
        times = repeats if world in BARRED else repeats // 3
        rows = figures[world.name] = summary(study(world, times, seed), random.Random(seed))
        table = Table("chosen", "judged pairs", "by worth ÷ this", "found, %", "the worse one, %", title=world.name)
        for name, row in rows.items():
            table.add_row(name, row.pairs.text(), row.ratio.text(2), f"{row.found:.0f}", f"{row.wrong:.0f}")
            if world in BARRED and name != "by worth":
                aims.append(Aim.at_most(LIMIT, f"{world.name}: by worth ÷ {name}", row.ratio.value, 2, " ×"))
        Console(width=120).print(table)
    conclude({"repeats": repeats, "most": MOST, "worlds": as_json(figures)}, aims, is_saved=is_saved)


if __name__ == "__main__":
    typer.run(main)
