"""The expected length of answers before any was seen: from the same category's and the same model's answers."""

from __future__ import annotations

import math

import pytest

from slo_router.request.verbosity import NOTHING_MEASURED, Assumed, Kind, added_by, assuming, is_effort, times
from slo_router.worker.tasks.turns import at_once


def expected(found: dict[tuple[str, str], float], answers: float = 1_000.0) -> dict[tuple[str, str], float]:
    """The expected factor on the assumed length, for each model and category of `found` and for unseen ones."""
    added = at_once(added_by({Kind(*key): (math.log(ratio), answers) for key, ratio in found.items()}))
    writers, categories = ({key[i] for key in found} for i in (0, 1))
    return {
        (writer, category): times(Kind(writer, category), added)
        for writer in (*writers, "new")
        for category in (*categories, "other")
    }


def test_who_writes_more_in_two_categories_does_so_in_the_third() -> None:
    others = {(writer, category): 1.0 for writer in "abc" for category in ("ner", "chat", "code")}
    found = expected({**others, ("talker", "ner"): 4.0, ("talker", "chat"): 4.0})
    assert found["talker", "code"] == pytest.approx(4.0, rel=0.35)
    assert found["talker", "other"] == pytest.approx(4.0, rel=0.35)
    assert found["a", "other"] == pytest.approx(1.0, rel=0.2)


def test_a_category_in_which_all_write_more_is_expected_to_be_so_for_a_new_one() -> None:
    found = expected({(writer, "chat"): 3.0 for writer in "abcd"} | {(writer, "ner"): 1.0 for writer in "abcd"})
    assert found["new", "chat"] == pytest.approx(3.0, rel=0.2)
    assert found["new", "ner"] == pytest.approx(1.0, rel=0.2)


def test_few_answers_say_little() -> None:
    assert expected({("a", "ner"): 9.0}, answers=0.5)["new", "ner"] < 1.5
    assert at_once(added_by({Kind("a", "ner"): (9.0, 0.0)})) == {}


def test_a_benchmark_tells_of_a_model_where_it_was_not_asked() -> None:
    measured = {("talker", "ner"): (360.0, 50.0), ("terse", "ner"): (40.0, 50.0), ("terse", "chat"): (100.0, 50.0)}
    assumed = at_once(assuming(measured, ()))
    assert assumed.tokens(Kind("talker", "ner")) == pytest.approx(360, rel=0.1)
    assert assumed.tokens(Kind("talker", "chat")) > 2.5 * assumed.tokens(Kind("terse", "chat"))
    assert NOTHING_MEASURED.tokens(Kind("anybody", "ner")) == 120


def test_thinking_makes_answers_longer_only_of_who_thinks() -> None:
    assumed = Assumed({}, {}, ["thinker"])
    for effort, tokens in (("low", 150), ("medium", 300), ("high", 600), ("~1024", 812), ("", 300)):
        assert assumed.tokens(Kind("thinker", "chat", effort)) == pytest.approx(tokens)
        assert assumed.tokens(Kind("other", "chat", effort)) == 300


def test_only_what_a_request_can_ask_for_is_an_effort() -> None:
    assert all(map(is_effort, ("", "none", "xhigh", "~1", "~1048576")))
    assert not any(map(is_effort, ("~", "~-1", "~2097152", "~" + "9" * 10_000, "maximal", "~²")))
