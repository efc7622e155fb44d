"""A comparison is worth its money if a decision could change."""

from __future__ import annotations

import pytest

from slo_router.quality.choosing import Demand, Standing, choose, those_that_matter, weighing
from slo_router.quality.comparing import Level, Outcomes, Pair
from slo_router.quality.evidence import Cell
from slo_router.worker.tasks.turns import at_once

USD = {"cheap": 1.0, "middle": 2.0, "large": 10.0}
ASKED = Demand(0.8, 0.9, 1.0, frozenset(USD))
LARGE = Standing(Level(0.92, 0.01), 0.907, Level(0.92, 0.01))
UNKNOWN = Standing(Level(0.5, 0.289), None, None)


def around(mean: float, deviation: float = 0.04) -> Standing:
    return Standing(Level(mean, deviation), mean - 1.28 * deviation, Level(mean, 0.1))


def stands(cheap: Standing, middle: Standing, category: str = "ner") -> dict[Cell, Standing]:
    return {("cheap", category): cheap, ("middle", category): middle, ("large", category): LARGE}


def worth(standings: dict[Cell, Standing], *seen: Outcomes, **asked: Demand) -> dict[Pair, float]:
    demands = asked or {"ner": ASKED}
    return at_once(weighing(dict.fromkeys(demands, USD), standings, demands, {row[:3]: row for row in seen}))


@pytest.mark.parametrize(
    ("cheap", "middle", "matter"),
    [
        (around(0.9), around(0.8), ["cheap"]),
        (around(0.5), around(0.9), ["cheap", "middle"]),
        (UNKNOWN, around(0.5), ["cheap", "middle", "large"]),
    ],
)
def test_those_matter_that_are_no_dearer_than_the_cheapest_that_passes(
    cheap: Standing, middle: Standing, matter: list[str]
) -> None:
    assert those_that_matter("ner", USD, stands(cheap, middle), ASKED.floor) == matter


def test_who_lies_near_the_floor_is_worth_more_than_who_lies_far_from_it() -> None:
    found = worth(stands(around(0.82), around(0.5, 0.02)))
    assert found["cheap", "large", "ner"] > 10 * found.get(("large", "middle", "ner"), 0.0)


def test_of_two_alike_the_category_that_is_asked_more_is_worth_more() -> None:
    standings = stands(around(0.82), UNKNOWN) | stands(around(0.82), UNKNOWN, "often")
    found = worth(standings, ner=ASKED._replace(share=0.1), often=ASKED._replace(share=0.9))
    assert found["cheap", "large", "often"] == pytest.approx(9 * found["cheap", "large", "ner"])


def test_the_one_of_whom_most_is_known_is_the_best_partner() -> None:
    found = worth(stands(around(0.82), around(0.82)))
    assert found["cheap", "large", "ner"] > found["cheap", "middle", "ner"]
    assert choose("cheap", "ner", found) == "large"


def test_what_was_compared_often_is_worth_less() -> None:
    often = Outcomes("cheap", "large", "ner", 500, 1_000, 600, 0.0)
    standings = stands(around(0.82), around(0.5, 0.02))
    assert worth(standings, often)["cheap", "large", "ner"] < worth(standings)["cheap", "large", "ner"] / 2


def test_who_passes_and_could_fail_matters_as_well() -> None:
    assert worth(stands(around(0.86, 0.04), UNKNOWN))["cheap", "large", "ner"] > 0
    assert not worth(stands(around(0.95, 0.01), UNKNOWN))


def test_without_anybody_known_nothing_is_worth_anything() -> None:
    standings = dict.fromkeys(stands(UNKNOWN, UNKNOWN), UNKNOWN)
    assert not worth(standings)


def test_pairs_of_which_none_answers_count_for_nothing() -> None:
    """Pairs that cannot be asked must not make all other pairs look worthless."""
    found = worth(stands(around(0.82), around(0.82)), ner=ASKED._replace(served=frozenset({"middle"})))
    assert found
    assert all("middle" in pair for pair in found)


def test_what_was_compared_in_another_group_changes_nothing() -> None:
    elsewhere = Outcomes("alien", "stranger", "ner", 0, 0, 500, 0.0)
    assert worth(stands(around(0.82), UNKNOWN), elsewhere) == worth(stands(around(0.82), UNKNOWN))


def test_a_request_is_used_only_where_little_else_is_worth_more() -> None:
    value = {("cheap", "large", "ner"): 1.0, ("large", "middle", "ner"): 0.6, ("cheap", "large", "code"): 0.09}
    assert choose("large", "ner", value) == "cheap"
    assert choose("middle", "ner", value) == "large"
    assert choose("large", "code", value) is None
    assert choose("cheap", "summarization", value) is None
    assert choose("cheap", "ner", {}) is None
