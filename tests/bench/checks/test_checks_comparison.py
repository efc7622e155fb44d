"""Faults that show beside other deployments' answers to the same prompts. A verdict needs more than one odd answer."""

from __future__ import annotations

import pytest

from slo_bench.checks.answer import Answer
from slo_bench.checks.comparison import compared
from slo_bench.checks.likeness import Passages
from slo_bench.checks.verdict import Verdict, judge

ASK, OTHER = "Where did Ada meet Bo last week, and what did they buy there?", "When does the store by the port open?"
SENSE = "They met at the market by the river, and bought two bags of apples there."
ALSO = "Ada met Bo at the market by the river last week; they bought some apples."
SOUP = "closely wald ksville unpack andsville drawer thren struggs neighb quixv zzyp hint"


def test_a_text_is_less_like_others_the_less_it_shares_with_them_and_its_own_do_not_count() -> None:
    own, everything = Passages([SOUP]), Passages([ASK, ALSO])
    everything.add(own)
    sense, soup = everything.bits(SENSE, Passages()), everything.bits(SOUP, own)
    assert sense is not None
    assert soup is not None
    assert sense + 1 < soup
    assert everything.bits("", own) is None


def test_an_answer_unlike_every_other_to_its_prompt_is_gibberish() -> None:
    answers = {name: [Answer(text, "stop", ASK)] for name, text in {"a": SENSE, "b": ALSO, "c": SOUP}.items()}
    assert compared(answers) == {"a": [()], "b": [()], "c": [("gibberish",)]}


def test_alone_nothing_is_found() -> None:
    assert compared({"c": [Answer(SOUP, "length", ASK)]}) == {"c": [()]}
    assert compared({"b": [Answer(SENSE, "stop", OTHER)], "c": [Answer(SOUP, "length", ASK)]})["c"] == [()]
    assert compared({"a": [], "b": []}) == {"a": [], "b": []}


def test_who_never_stops_where_most_others_do_is_found_and_who_does_at_times_is_not() -> None:
    def fleet(*reasons: str, text: str = SENSE * 3) -> list[tuple[str, ...]]:
        mine = [Answer(text, reason, ask) for reason, ask in zip(reasons, (ASK, OTHER), strict=True)]
        others = {
            "a": [Answer(ALSO, "stop", ASK), Answer(ALSO, "length", OTHER)],
            "b": [Answer(SENSE, "stop", ASK), Answer(SENSE, "stop", OTHER)],
        }
        return compared(others | {"c": mine})["c"]

    assert fleet("length", "length") == [("no_stop",), ()]  # to the other prompt, only half ended
    assert fleet("length", "stop") == [(), ()]
    assert fleet("length", "length", text=SENSE) == [(), ()]  # it was given no room to end


@pytest.mark.parametrize(
    ("failed", "checked", "state"),
    [
        (0, 10, "sound"),
        (1, 10, "sound"),
        (5, 10, "sound"),  # low end of the interval 0.237
        (6, 10, "faulty"),  # 0.313
        (2, 2, "undecided"),
        (3, 3, "faulty"),  # 0.438
        (2, 4, "undecided"),
        (3, 6, "sound"),  # 0.188
        (0, 4, "undecided"),
        (0, 5, "sound"),
        (0, 0, "undecided"),
        (70, 200, "faulty"),  # 0.287
        (60, 200, "sound"),  # 0.241
    ],
)
def test_a_share_surely_above_the_allowance_is_faulty_and_too_few_answers_are_undecided(
    failed: int, checked: int, state: str
) -> None:
    verdict = judge([("looping",)] * failed + [()] * (checked - failed))
    assert (verdict.checked, verdict.failed) == (checked, failed)
    assert {"faulty": verdict.is_faulty, "sound": verdict.is_sound}.get(state, True)
    assert verdict.is_faulty + verdict.is_sound == (state != "undecided")
    assert verdict.fault == (f"looping {failed}/{checked}" if state == "faulty" else None)


def test_a_mark_that_was_found_beside_others_is_refuted_beside_others() -> None:
    alone, beside, few = judge([()] * 5), judge([()] * 5, is_compared=True), judge([()] * 4, is_compared=True)
    assert [verdict.clears("looping 9/10") for verdict in (alone, beside, few)] == [True, True, False]
    assert [verdict.clears("gibberish 9/10") for verdict in (alone, beside, few)] == [False, True, False]
    assert not judge([("looping",)] * 5).clears("looping 9/10")


def test_the_mark_names_what_is_found_most_and_how_many_failed_at_all() -> None:
    found = [("looping",), ("looping", "special_token"), ("special_token",), ("special_token",), ("empty",)]
    verdict = judge(found)
    assert verdict.faults == {"empty": 1, "looping": 2, "special_token": 3}
    assert verdict.fault == "special_token 5/5"
    assert Verdict(0, 0).interval is None


def test_who_thought_where_nobody_sees_it_had_no_room_to_stop() -> None:
    others = {"a": [Answer(ALSO, "stop", ASK)], "b": [Answer(SENSE, "stop", ASK)]}
    mine = Answer(SENSE * 3, "length", ASK)
    assert compared({"c": [mine], **others})["c"] == [("no_stop",)]
    assert compared({"c": [mine._replace(is_mostly_reasoning=True)], **others})["c"] == [()]
