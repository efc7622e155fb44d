"""Least squares from sums finds the coefficients. None is below zero."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_router.contract.least_squares import non_negative

Row = tuple[float, float, float]


def sums(rows: list[Row], ys: list[float]) -> tuple[list[list[float]], list[float]]:
    xx = [[sum(row[i] * row[j] for row in rows) for j in range(3)] for i in range(3)]
    return xx, [sum(row[i] * y for row, y in zip(rows, ys, strict=True)) for i in range(3)]


def test_an_exact_relation_is_found() -> None:
    rows: list[Row] = [(1, 100, 0), (1, 2_000, 3), (1, 50, 7), (1, 900, 1)]

    found = non_negative(*sums(rows, [0.05 + 1e-4 * tokens + 0.02 * load for _, tokens, load in rows]))

    assert found == pytest.approx([0.05, 1e-4, 0.02], rel=1e-4)


def test_what_would_be_negative_is_zero_and_the_rest_is_the_best_without_it() -> None:
    rows: list[Row] = [(1, 0, 0), (1, 1, 0), (1, 2, 0)]  # falls with the second: 3, 2, 1; nothing in the third

    assert non_negative(*sums(rows, [3, 2, 1])) == pytest.approx([2, 0, 0])  # the mean


def test_nothing_seen_is_nothing_found() -> None:
    assert non_negative([[0.0, 0.0], [0.0, 0.0]], [0.0, 0.0]) == [0.0, 0.0]


@given(st.lists(st.tuples(*[st.floats(0, 1e6)] * 3), max_size=8), st.lists(st.floats(0, 1e4), min_size=8, max_size=8))
def test_no_coefficient_is_negative_or_infinite(rows: list[Row], ys: list[float]) -> None:
    found = non_negative(*sums(rows, ys[: len(rows)]))

    assert all(math.isfinite(value) and value >= 0 for value in found)
