"""Least squares without negative coefficients, for a few features, and the search for the knee of a line."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

Matrix = list[list[float]]
Knee = TypeVar("Knee")

SURPRISE = 4.0  # squared standard errors; a smaller difference counts as noise


def non_negative(xx: Matrix, xy: Sequence[float]) -> list[float]:
    """The θ ≥ 0 that minimises θᵀ·xx·θ − 2·θᵀ·xy. A negative coefficient is set to 0 and the rest solved again."""
    free = [i for i in range(len(xy)) if xx[i][i] > 0]
    while free:
        solution = _solve([[xx[i][j] for j in free] for i in free], [xy[i] for i in free])
        worst = min(range(len(free)), key=lambda i: solution[i] * math.sqrt(xx[free[i]][free[i]]))
        if solution[worst] >= 0:
            found = dict(zip(free, solution, strict=True))
            return [found.get(i, 0.0) for i in range(len(xy))]
        del free[worst]
    return [0.0] * len(xy)


def find_knee(loss: float, tried: Iterable[tuple[Knee, float]], count: float) -> Knee | None:
    """The knee whose fit has the least loss; `None` where no knee lowers the loss by more than noise would.

    `loss` is the loss of `count` observations without a new knee. `tried` has each knee with its loss.
    """
    found, least = None, loss - SURPRISE * loss / max(count, 1.0)
    for knee, with_knee in tried:
        if with_knee < least:
            found, least = knee, with_knee
    return found


def inverse(matrix: Sequence[Sequence[float]]) -> Matrix:
    """The inverse of a small, positive definite matrix."""
    size = len(matrix)
    rows = [[*row, *(float(i == j) for j in range(size))] for i, row in enumerate(matrix)]
    for i in range(size):
        pivot = rows[i][i]
        rows[i] = [value / pivot for value in rows[i]]
        for j in range(size):
            if j != i and rows[j][i]:
                factor = rows[j][i]
                rows[j] = [a - factor * b for a, b in zip(rows[j], rows[i], strict=True)]
    return [row[size:] for row in rows]


def _solve(matrix: Matrix, right: list[float]) -> list[float]:
    """Gaussian elimination on the correlation matrix, its diagonal raised by 1e-9 to avoid a division by 0."""
    size = len(right)
    root = [math.sqrt(matrix[i][i]) for i in range(size)]
    rows = [[matrix[i][j] / root[i] / root[j] for j in range(size)] + [right[i] / root[i]] for i in range(size)]
    for i in range(size):
        rows[i][i] += 1e-9
    for i in range(size):
        pivot = max(range(i, size), key=lambda k: abs(rows[k][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        if rows[i][i] == 0:
            return [0.0] * size
        for k in range(i + 1, size):
            factor = rows[k][i] / rows[i][i]
            rows[k] = [value - factor * above for value, above in zip(rows[k], rows[i], strict=True)]
    solution = [0.0] * size
    for i in reversed(range(size)):
        known = sum(rows[i][j] * solution[j] for j in range(i + 1, size))
        solution[i] = (rows[i][size] - known) / rows[i][i]
    found = [value / scale for value, scale in zip(solution, root, strict=True)]
    return found if all(map(math.isfinite, found)) else [0.0] * size
