"""Categories are worth what they save at equal quality. They are worth nothing if they do not separate the models."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from slo_router.operator.evaluating.study import CONSTANT
from slo_router.operator.evaluating.table import Table
from slo_router.operator.training.fitting import fit
from slo_router.operator.training.reading import Prompt
from slo_router.operator.training.worth import RULES, TRAINED, Worth, verdict, worth
from slo_router.request.categories import instruction_windows

NAMES = ("Ada", "Bo", "Cy", "Di", "Ed", "Flo", "Gus", "Hal", "Ida", "Jo", "Kim", "Lu", "Mo", "Nan")
KINDS = {"wash": "Wash the car of {} and {}.", "feed": "Feed the goat of {} and {}."}
CHEAP_USD, DEAR_USD = 0.001, 0.01  # per prompt


def found(*, is_told_apart: bool) -> list[Worth]:
    """The worths if the cheap model can wash but not feed, or else gets every second prompt of both right."""
    pairs = list(itertools.product(NAMES, NAMES))
    texts = [(kind, text.format(*pair)) for kind, text in KINDS.items() for pair in pairs]
    prompts = [Prompt(instruction_windows(text), kind) for kind, text in texts]
    right = [kind == "wash" if is_told_apart else place % 2 == 0 for place, (kind, _) in enumerate(texts)]
    score = np.column_stack([np.array(right, dtype=float), np.ones(len(texts))])
    cost = np.tile([CHEAP_USD, DEAR_USD], (len(texts), 1))
    table = Table(["cheap", "dear"], [text for _, text in texts], None, score, cost, [])
    fitted = fit(prompts, sure=0.7, seed=0)
    seen = dict(zip((one.windows for one in prompts), fitted.told, strict=True))
    return worth(table, fitted, seen, [0.99], seeds=5)


def test_what_they_save_is_said_in_usd_for_a_thousand_prompts() -> None:
    (one,) = found(is_told_apart=True)
    assert one.usd[TRAINED].mean == pytest.approx(
        5.5, rel=0.05
    )  # half for 0.001, half for 0.01; 99 % need a little less
    assert one.usd[CONSTANT].mean == pytest.approx(10.0)
    assert one.usd[RULES].mean == pytest.approx(10.0, rel=0.05)  # they know neither kind
    (line,) = verdict([one])
    assert line.startswith("at 99% of the strongest model's quality 1,000 prompts cost $5.")
    assert "less than by the built-in rules and $4." in line
    assert line.endswith("less than by the best constant model")


def test_where_they_save_nothing_that_is_said() -> None:
    (line,) = verdict(found(is_told_apart=False))
    assert "they are worth nothing: " in line


def test_a_quality_that_is_missed_is_no_saving() -> None:
    (one,) = found(is_told_apart=True)
    below = one._replace(quality={**one.quality, TRAINED: one.quality[TRAINED]._replace(mean=0.9, high=0.91)})
    assert verdict([below]) == [
        "at 99% of the strongest model's quality they are worth nothing: they reach 90.0%, less by more than noise"
    ]
