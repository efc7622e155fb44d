"""Estimates follow what servers report, in small steps, and no report can throw them off."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_router.contract.model import Features
from slo_router.request.features import Learned
from slo_router.request.usage import FACTOR_BOUNDS, LONGEST_ANSWER, learn
from tests.shared.builders import REQUEST

UNLIMITED = REQUEST._replace(  # no max_tokens
    prompt_tokens=1_000, text_tokens=1_000, output_tokens=120, reserved_tokens=120
)


def test_the_prompt_factor_moves_a_twentieth_towards_reported_over_estimated() -> None:
    learned = learn(Learned(), UNLIMITED, "a", 1_400, None)
    assert learned.prompt_factor == pytest.approx({"ner": 1.02})  # 1 + 0.05 × (1.4 − 1)
    assert learned.output_tokens == {}


def test_the_expected_answer_moves_a_twentieth_towards_the_reported_both_ways() -> None:
    assert learn(Learned(), UNLIMITED, "a", None, 60).output_tokens == pytest.approx({"ner": 117.0})  # 120 − 0.05 × 60
    assert learn(Learned(), UNLIMITED, "a", None, 320).output_tokens == pytest.approx(
        {"ner": 130.0}
    )  # 120 + 0.05 × 200


def test_an_answer_that_max_tokens_cut_is_left_out_and_a_shorter_one_is_not() -> None:
    limited = UNLIMITED._replace(output_tokens=50, reserved_tokens=50)
    assert learn(Learned(), limited, "a", None, 50).output_tokens == {}
    assert learn(Learned(), limited, "a", None, 20).output_tokens == pytest.approx({"ner": 115.0})  # 120 − 0.05 × 100


def test_categories_learn_apart_and_from_their_own_prior() -> None:
    before = Learned({"chat": 1.5}, {"chat": 10.0})
    after = learn(before, UNLIMITED._replace(category="reasoning"), "a", 1_000, 600)
    assert after.prompt_factor == {"chat": 1.5, "reasoning": 1.0}
    assert after.output_tokens == {"chat": 10.0, "reasoning": 505.0}  # 500 + 0.05 × 100
    assert before == Learned({"chat": 1.5}, {"chat": 10.0})


def test_tools_and_images_are_learned_apart_and_leave_the_text_alone() -> None:
    """30 tools of 40 tokens each took 267 tokens for 1,318 when they were learned as text."""
    learned = Learned()

    def sized(tool_tokens: int, images: int) -> Features:
        tools, pictures = round(tool_tokens * learned.tool_factor), round(images * learned.image_tokens)
        return UNLIMITED._replace(prompt_tokens=67 + tools + pictures, text_tokens=67, tool_tokens=tools, images=images)

    for _ in range(300):
        learned = learn(learned, sized(30 * 100, 0), "a", 67 + 30 * 40, None)
        learned = learn(learned, sized(0, 2), "a", 67 + 2 * 255, None)
        learned = learn(learned, sized(100, 1), "a", 10**6, None)
        learned = learn(learned, sized(100, 0)._replace(files=1), "a", 10**6, None)
    assert learned.tool_factor == pytest.approx(0.4, rel=0.01)
    assert learned.image_tokens == pytest.approx(255, rel=0.01)
    assert learned.prompt_factor == {}


def test_beside_a_long_text_an_image_is_told_little_of() -> None:
    """A text that was estimated a tenth too short says nothing of the one image that it came with."""
    features = UNLIMITED._replace(prompt_tokens=11_000, text_tokens=10_000, images=1)
    assert learn(Learned(), features, "a", 12_000, None).image_tokens == pytest.approx(1_004.5, abs=0.1)  # not 1,050


def test_each_model_has_its_own_length_which_the_first_answers_move_far() -> None:
    learned = Learned()
    for tokens in (600, 600, 600):
        learned = learn(learned, UNLIMITED, "talker", None, tokens)
    learned = learn(learned, UNLIMITED, "terse", None, 20)
    # 120 + 480 / 3 = 280, + 320 / 4 = 360, + 240 / 5 = 408; the terse one begins at the prior, not at the talker's
    assert learned.lengths["ner"] == pytest.approx({"talker": 408.0, "terse": 120 - 100 / 3})
    assert learned.unknown_length("ner") == 120.0


def test_of_several_answers_each_is_as_long_as_the_mean() -> None:
    learned = learn(Learned(), UNLIMITED._replace(choices=4), "a", None, 4 * 320)
    assert learned.output_tokens == pytest.approx({"ner": 130.0})  # 120 + 0.05 × 200


def test_an_answer_that_was_cut_says_at_least_so_long() -> None:
    limited = UNLIMITED._replace(output_tokens=300, reserved_tokens=300, limit_tokens=300)
    assert learn(Learned(), limited, "a", None, 300).lengths["ner"] == pytest.approx({"a": 180.0})  # 120 + 180 / 3
    short = limited._replace(output_tokens=50, reserved_tokens=50, limit_tokens=50)
    assert learn(Learned(), short, "a", None, 50).lengths == {}


def test_repeated_reports_converge_to_the_truth() -> None:
    learned = Learned()
    for _ in range(200):  # what is left of the distance: 0.95^200 = 0.00004
        estimated = round(1_000 * learned.prompt_factor.get("ner", 1.0))
        estimate = UNLIMITED._replace(prompt_tokens=estimated, text_tokens=estimated)
        learned = learn(learned, estimate, "a", 1_600, 900)
    assert learned.prompt_factor["ner"] == pytest.approx(1.6, rel=0.01)
    assert learned.output_tokens["ner"] == pytest.approx(900, rel=0.01)


@pytest.mark.parametrize("reported", [None, 0, -1, -(10**9)])
def test_no_tokens_reported_teaches_nothing(reported: int | None) -> None:
    assert learn(Learned(), UNLIMITED, "a", None, reported) == Learned()


def test_a_request_of_unknown_size_teaches_no_factor() -> None:
    assert learn(Learned(), UNLIMITED._replace(text_tokens=0), "a", 100, None) == Learned()


@given(st.lists(st.tuples(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12)), max_size=20))
def test_nonsense_keeps_the_estimates_within_bounds(reports: list[tuple[int, int]]) -> None:
    learned = Learned()
    for prompt_tokens, completion_tokens in reports:
        learned = learn(learned, UNLIMITED, "a", prompt_tokens, completion_tokens)
    assert all(FACTOR_BOUNDS[0] <= factor <= FACTOR_BOUNDS[1] for factor in learned.prompt_factor.values())
    assert all(0 < tokens <= LONGEST_ANSWER for tokens in learned.output_tokens.values())
