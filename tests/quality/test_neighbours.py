"""What neighbours say about a cell: rows and columns count, its own answers do not; no best of many is overrated."""

from __future__ import annotations

import itertools
import random
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pytest

from slo_router.contract.ages import DAY_S
from slo_router.quality import neighbours
from slo_router.quality.evidence import Batch, Cell, Evidence
from slo_router.quality.neighbours import Neighbours, Point
from slo_router.quality.posterior import RULES, Belief, believe, believing
from slo_router.quality.sources import PAIRED, SUITE

MODELS, CATEGORIES = ("a", "b", "c"), ("code", "chat", "law", "maths")
ALIKE, OWN = 0.01, 0.004  # variances of a category's part and of a cell's own
TYPED = 0.006


@pytest.fixture
def _variances(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_variances", lambda *_: (ALIKE, OWN))


def some_points(seed: int = 0) -> dict[Cell, Point]:
    """Points of most cells, with more or fewer answers."""
    rng = random.Random(seed)
    cells = [cell for cell in itertools.product(MODELS, CATEGORIES) if rng.random() < 0.8]
    return {cell: Point(rng.gauss(0, 0.2), rng.uniform(0.001, 0.02)) for cell in cells}


def by_hand(points: Mapping[Cell, Point], cell: Cell) -> tuple[float, float]:
    """The normal distribution of a cell, given the points of all others: by inverting the whole covariance."""

    def shared(one: Cell, other: Cell) -> float:
        return TYPED / 2 * (one[0] == other[0]) + ALIKE * (one[1] == other[1]) + OWN * (one == other)

    others = [other for other in points if other != cell]
    between = np.array([[shared(a, b) + (a == b) * points[a].chance for b in others] for a in others])
    to_cell = np.array([shared(cell, other) for other in others])
    weights = np.linalg.solve(between, to_cell)
    return float(weights @ [points[one].excess for one in others]), float(shared(cell, cell) - weights @ to_cell)


def solved(points: Mapping[Cell, Point], cells: Sequence[Cell], apart: Collection[str] = ()) -> Neighbours:
    found = Neighbours(points, dict.fromkeys(cells, TYPED), apart)
    for _ in found.solve():
        pass
    return found


@pytest.mark.usefixtures("_variances")
@pytest.mark.parametrize("models", [MODELS, (*MODELS, "d", "e", "f")])  # more categories than models, and fewer
def test_it_is_what_the_whole_covariance_says_and_no_answer_counts_twice(models: tuple[str, ...]) -> None:
    points = {(model, category): point for (_, category), point in some_points().items() for model in models[:1]}
    points |= some_points(1)
    cells = list(itertools.product(models, CATEGORIES))
    found = solved(points, cells)
    for cell in cells:
        assert found.say(cell) == pytest.approx(by_hand(points, cell)), cell


@pytest.mark.usefixtures("_variances")
def test_in_a_category_that_is_apart_others_say_nothing() -> None:
    cells = list(itertools.product(MODELS, CATEGORIES))
    points = {("a", "law"): Point(-0.4, 0.001), ("b", "law"): Point(-0.4, 0.001)}
    together, apart = (solved(points, cells, names) for names in ((), ("law",)))
    assert together.say(("c", "law")).mean < -0.15
    assert apart.say(("c", "law")).mean == pytest.approx(0)
    assert apart.say(("c", "law")).variance == pytest.approx(TYPED / 2 + ALIKE + OWN)
    assert apart.say(("a", "chat")).mean < -0.02  # the deployment's part remains


def suite(share: float, answers: float, source: str = SUITE) -> Evidence:
    return Evidence((Batch(source, answers, share * answers, DAY_S),))


def believed(evidence: Mapping[Cell, Evidence], *, is_shared: bool = True) -> dict[Cell, Belief]:
    return dict(filter(None, believing(evidence, {}, DAY_S, RULES, is_shared=is_shared)))


def test_a_category_that_is_hard_for_all_is_hard_for_who_was_asked_little_there() -> None:
    hard = {"law": 0.4, "chat": 0.9, "code": 0.85, "maths": 0.5}
    evidence = {(model, name): suite(share, 200) for model in "abcde" for name, share in hard.items()}
    evidence["e", "law"] = suite(1.0, 1)  # one lucky answer
    shared, alone = (believed(evidence, is_shared=is_shared)["e", "law"].mean for is_shared in (True, False))
    assert shared < alone - 0.05


def test_where_answers_were_compared_nothing_else_is_shared() -> None:
    """A comparison already contains what the two have in common."""
    evidence = {(model, name): suite(0.8, 200) for model in "abcd" for name in ("chat", "code", "maths")}
    evidence |= {(model, "law"): suite(0.3, 200) for model in "abc"}
    compared = evidence | {("d", "law"): suite(0.3, 1, PAIRED)}
    judged = evidence | {("d", "law"): suite(0.3, 1)}
    assert believed(compared)["d", "law"].mean > believed(judged)["d", "law"].mean + 0.05


def test_the_best_of_many_is_hardly_taken_for_better_than_it_is() -> None:
    """Twelve models, ten categories, 70 answers each: the model that seems best in a category was also lucky."""
    optimism = {True: 0.0, False: 0.0}
    for seed in range(10):
        rng = random.Random(seed)
        models, categories = [rng.gauss(0, 0.06) for _ in range(12)], [rng.gauss(0, 0.12) for _ in range(10)]
        truth = {
            (str(m), str(c)): min(max(0.65 + models[m] + categories[c] + rng.gauss(0, 0.03), 0.02), 0.98)
            for m, c in itertools.product(range(12), range(10))
        }
        evidence = {cell: suite(sum(rng.random() < p for _ in range(70)) / 70, 70) for cell, p in truth.items()}
        for is_shared in optimism:
            found = believed(evidence, is_shared=is_shared)
            for c in range(10):
                best = max((cell for cell in truth if cell[1] == str(c)), key=lambda cell: found[cell].mean)
                optimism[is_shared] += (found[best].mean - truth[best]) / 100
    assert optimism[True] < 0.025
    assert optimism[True] < optimism[False] / 2


def test_without_answers_there_is_nothing_to_say() -> None:
    assert believe({}, {}, DAY_S) == {}
    (found,) = believe({}, {("a", "law"): 0.8}, DAY_S).values()
    assert found.mean == pytest.approx(0.8)
