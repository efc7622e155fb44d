"""What a deployment's other categories, and a category's other deployments, say of one cell. Pure.

    graded − typed  =  the deployment's part + the category's part + the cell's own + chance

A category may be hard for all models: the category's part is what they have in common there. The mean of each part is
0. The deployment's part has half the variance of typed numbers. How far a deployment's cells lie apart is estimated
over all deployments by the method of moments, together with `ASSUMED` assumed cells. The category's share of it shows
in how far deployments go up and down together. Means and variances are the best linear unbiased ones (Henderson, 1975).
What a cell's own answers add to what its neighbours say is subtracted exactly, so that no answer counts twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from slo_router.contract.least_squares import inverse
from slo_router.quality.evidence import Cell

Label = tuple[str, ...]
_Seen = dict[int, tuple[float, float]]  # of a row, by column: weight, and weight times excess

ASSUMED = 20.0  # cells whose spread is assumed, beside those measured; with 6, bounds of 20 answers were too high
UNALIKE = 2.0  # categories in which deployments have nothing in common, assumed beside those measured
LEAST = 1e-5  # of a variance


class Point(NamedTuple):
    """The mean of a cell's graded answers less the typed number, and the variance of that by chance."""

    excess: float
    chance: float


class Said(NamedTuple):
    """How far a cell lies above the typed number, by its neighbours alone."""

    mean: float
    variance: float


class _Row(NamedTuple):
    """The part of one deployment, or of one category."""

    mean: float
    variance: float
    shares: dict[int, float]  # of what it rests on, by column


class Neighbours:
    """See the module. `uncertain` has the variance of each cell's typed number, `points` the cells with answers.

    In the categories of `apart` deployments say nothing of each other. Run `solve` to its end before `say`.
    """

    def __init__(
        self, points: Mapping[Cell, Point], uncertain: Mapping[Cell, float], apart: Collection[str] = ()
    ) -> None:
        spread = {cell: variance / 2 for cell, variance in uncertain.items()}
        self._points, self._apart = points, apart
        common, self._own = _variances(points, sum(spread.values()) / max(len(spread), 1), apart)
        deployments: dict[Label, list[float]] = {}
        categories: dict[Label, float] = {}
        for cell, variance in spread.items():
            deployment, category = self._labels(cell)
            deployments.setdefault(deployment, []).append(variance)
            categories[category] = 1 / common
        means = {label: len(found) / sum(found) for label, found in deployments.items()}
        self._side = 0 if len(means) > len(categories) else 1  # rows: the more of deployments (0), categories (1)
        self._given, columns = (means, categories) if self._side == 0 else (categories, means)  # 1 ÷ variance
        self._columns = {label: number for number, label in enumerate(columns)}
        self._right = [0.0] * len(columns)
        self._matrix = [[given if label == other else 0.0 for other in columns] for label, given in columns.items()]

    def solve(self) -> Iterator[None]:
        """Works out the columns' parts, with the rows eliminated, and then the rows' parts. Yields between steps."""
        seen = self._by_row()
        for label, found in seen.items():
            self._eliminate(self._given[label], found)
            yield
        self._covariance = inverse(self._matrix)
        self._parts = [sum(a * b for a, b in zip(line, self._right, strict=True)) for line in self._covariance]
        self._rows: dict[Label, _Row] = {}
        for label, found in seen.items():
            self._rows[label] = self._row(self._given[label], found)
            yield

    def say(self, cell: Cell) -> Said:
        """What the neighbours say of a cell, with answers of its own or without."""
        labels = self._labels(cell)
        row, column = self._rows[labels[self._side]], self._columns[labels[1 - self._side]]
        mean = row.mean + self._parts[column]
        covariance = self._covariance[column]
        variance = row.variance + covariance[column] - 2 * sum(it * covariance[i] for i, it in row.shares.items())
        point = self._points.get(cell)
        if point is not None:  # without its own answers
            part = variance / (self._own + point.chance)
            mean, variance = (mean - part * point.excess) / (1 - part), variance / (1 - part)
        return Said(mean, variance + self._own)

    def _labels(self, cell: Cell) -> tuple[Label, Label]:
        deployment, category = cell
        return (deployment,), (cell if category in self._apart else (category,))

    def _by_row(self) -> dict[Label, _Seen]:
        found: dict[Label, _Seen] = {label: {} for label in self._given}
        for cell, point in self._points.items():
            labels, weight = self._labels(cell), 1 / (self._own + point.chance)
            found[labels[self._side]][self._columns[labels[1 - self._side]]] = weight, weight * point.excess
        return found

    def _eliminate(self, given: float, seen: _Seen) -> None:
        precision = given + sum(weight for weight, _ in seen.values())
        told = sum(excess for _, excess in seen.values()) / precision
        for i, (weight, excess) in seen.items():
            line, part = self._matrix[i], weight / precision
            line[i] += weight
            self._right[i] += excess - weight * told
            for j, (other, _) in seen.items():
                line[j] -= part * other

    def _row(self, given: float, seen: _Seen) -> _Row:
        precision = given + sum(weight for weight, _ in seen.values())
        mean = sum(excess - weight * self._parts[i] for i, (weight, excess) in seen.items()) / precision
        shares = {i: weight / precision for i, (weight, _) in seen.items()}
        rest = sum(one * other * self._covariance[i][j] for i, one in shares.items() for j, other in shares.items())
        return _Row(mean, 1 / precision + rest, shares)


def _variances(points: Mapping[Cell, Point], usual: float, apart: Collection[str]) -> tuple[float, float]:
    """The variances of a category's part and of a cell's own.

    A cell counts by the share of its variance that is its own, and not chance.
    """
    by_deployment: dict[str, list[tuple[str, float, Point]]] = {}
    for (deployment, category), point in points.items():
        by_deployment.setdefault(deployment, []).append((category, usual / (usual + point.chance), point))
    total = freedom = 0.0
    together: dict[str, list[tuple[float, float]]] = {}
    for found in by_deployment.values():
        lost = (len(found) - 1) / len(found)
        if not lost:
            continue
        middle = sum(share * point.excess for _, share, point in found) / sum(share for _, share, _ in found)
        for category, share, point in found:
            above = point.excess - middle
            total += share * (above**2 - lost * point.chance)
            freedom += share * lost
            together.setdefault(category, []).append((share, share * above / lost**0.5))
    alike, counted = 0.0, UNALIKE
    for category, shares in together.items():
        all_of_it, squares = sum(share for share, _ in shares) ** 2, sum(share**2 for share, _ in shares)
        if category in apart or all_of_it - squares <= 0:
            continue
        pairs = sum(above for _, above in shares) ** 2 - sum(above**2 for _, above in shares)
        alike += pairs / all_of_it
        counted += (all_of_it - squares) / all_of_it
    whole = max((ASSUMED * usual + total) / (ASSUMED + freedom), LEAST)
    share = min(max(alike / counted * freedom / total, 0.0), 1.0) if total > 0 else 0.0
    return max(share * whole, LEAST), max((1 - share) * whole, LEAST)
