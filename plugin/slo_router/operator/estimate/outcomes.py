"""A table of graded answers: each row a prompt, with `category`, and for a model M `score::M` (0..1) and `outtok::M`.

Two models are compared prompt by prompt, so the difficulty of the prompts cancels out.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from slo_router.contract.intervals import Interval, PairSums, ratio, student
from slo_router.errors import SettingsError
from slo_router.operator.estimate.lengths import FEWEST, Factor

SCORE, TOKENS, CATEGORY = "score::", "outtok::", "category"
_EXPECTED = "a table (CSV or Parquet) with columns category, score::MODEL and, for lengths, outtok::MODEL"

Column = Sequence[float | None]


class Outcomes:
    """`columns` by name; `categories` of the rows, empty where the table has none."""

    def __init__(self, columns: Mapping[str, Column], categories: Sequence[str]) -> None:
        self._columns = columns
        self._categories = categories

    def name_of(self, names: Iterable[str]) -> str | None:
        """The first of these names under which the table has scores; `None` if there is none."""
        return next((name for name in names if SCORE + name in self._columns), None)

    def tasks(self) -> frozenset[str]:
        """The categories."""
        return frozenset(self._categories)

    def differences(self, candidate: str, served: str, keep: float, task: str | None) -> list[float]:
        """For each prompt that both answered: the score − `keep` × that of `served`. `task` `None`: all tasks."""
        pairs = self._pairs(SCORE + served, SCORE + candidate, task)
        return [theirs - keep * own for own, theirs in pairs]

    def scores(self, model: str, task: str | None) -> list[float]:
        """The scores of one model. `task` `None`: all tasks."""
        return [score for score, _ in self._pairs(SCORE + model, SCORE + model, task)]

    def factor(self, candidate: str, served: str) -> Factor | None:
        """How many times as long the candidate's answers are; `None` with too few answers."""
        pairs = self._pairs(TOKENS + served, TOKENS + candidate, None)
        sums = PairSums.of([(theirs, own) for own, theirs in pairs])
        between = ratio(sums) if len(pairs) >= FEWEST else None
        if between is None:
            return None
        return Factor(sums.c / sums.b, max(between.low, 0.0), between.high, "outcomes", len(pairs))

    def _pairs(self, first: str, second: str, task: str | None) -> list[tuple[float, float]]:
        one, other = self._columns.get(first, ()), self._columns.get(second, ())
        categories = self._categories or [""] * len(one)
        return [
            (a, b)
            for a, b, category in zip(one, other, categories, strict=False)
            if a is not None and b is not None and (task is None or category == task)
        ]


def mean_of(differences: Sequence[float], confidence: float) -> tuple[float, Interval]:
    """The mean of at least two differences, and its interval."""
    return sum(differences) / len(differences), student(differences, confidence)


def read_outcomes(path: Path) -> Outcomes:
    """Reads a table of outcomes. Raises SettingsError."""
    try:
        columns = _parquet(path) if path.read_bytes()[:4] == b"PAR1" else _csv(path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        said = error.strerror if isinstance(error, OSError) else type(error).__name__
        raise SettingsError(f"{path}: {said}, expected {_EXPECTED}") from error
    numbers = {
        name: _numbers(name, values, path) for name, values in columns.items() if name.startswith((SCORE, TOKENS))
    }
    if not any(name.startswith(SCORE) for name in numbers):
        raise SettingsError(f"{path}: no column {SCORE}MODEL, expected {_EXPECTED}")
    return Outcomes(numbers, [str(value) for value in columns.get(CATEGORY, ())])


def _csv(path: Path) -> Mapping[str, Sequence[object]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def _parquet(path: Path) -> Mapping[str, Sequence[object]]:
    try:
        from pyarrow import parquet  # noqa: PLC0415  # an extra
    except ImportError:
        raise SettingsError(f"{path}: Parquet takes litellm-slo-router[parquet], or export it as CSV") from None
    names = parquet.read_schema(path).names
    wanted = [name for name in names if name == CATEGORY or name.startswith((SCORE, TOKENS))]
    table: dict[str, list[object]] = parquet.read_table(path, columns=wanted).to_pydict()
    return table


def _numbers(name: str, values: Sequence[object], path: Path) -> list[float | None]:
    found: list[float | None] = []
    for value in values:
        try:
            number = None if value in (None, "") else float(str(value))
        except ValueError:
            raise SettingsError(f"{path}: {name}: {str(value)[:40]!r}, expected a number or nothing") from None
        found.append(None if number is None or math.isnan(number) else number)
    if name.startswith(SCORE) and any(score is not None and not 0 <= score <= 1 for score in found):
        raise SettingsError(f"{path}: {name}: a score outside 0..1")
    return found
