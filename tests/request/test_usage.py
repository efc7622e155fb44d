"""Estimates follow the servers' usage reports in small steps. No single report can move them far."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_router.contract.model import Features
from slo_router.request.usage import FACTOR_BOUNDS, Learned, learn, scale
from tests.shared.builders import REQUEST

UNLIMITED = REQUEST._replace(  # no max_tokens
    prompt_tokens=1_000, text_tokens=1_000, output_tokens=120, reserved_tokens=120
)


def test_the_prompt_factor_moves_a_twentieth_towards_reported_over_estimated() -> None:
    learned = learn(Learned(), UNLIMITED, 1_400)
    assert learned.prompt_factor == pytest.approx({"ner": 1.02})  # 1 + 0.05 × (1.4 − 1)


def test_categories_learn_apart_and_from_their_own_prior() -> None:
    before = Learned({"chat": 1.5})
    after = learn(before, UNLIMITED._replace(category="reasoning"), 1_000)
    assert after.prompt_factor == {"chat": 1.5, "reasoning": 1.0}
    assert before == Learned({"chat": 1.5})


def test_tools_and_images_are_learned_apart_and_leave_the_text_alone() -> None:
    """30 tools of 40 tokens each made 267 tokens count as 1,318 when tools were learned as text."""
    learned = Learned()

    def sized(tool_tokens: int, images: int) -> Features:
        tools, pictures = round(tool_tokens * learned.tool_factor), round(images * learned.image_tokens)
        made = UNLIMITED._replace(prompt_tokens=67 + tools + pictures, text_tokens=67, tool_tokens=tools, images=images)
        return made._replace(learned=scale(learned, made.category, tools=tool_tokens, images=images))

    for _ in range(300):
        learned = learn(learned, sized(30 * 100, 0), 67 + 30 * 40)
        learned = learn(learned, sized(0, 2), 67 + 2 * 255)
        learned = learn(learned, sized(100, 1), 10**6)
        learned = learn(learned, sized(100, 0)._replace(files=1, needs=frozenset({"pdf"})), 10**6)
    assert learned.tool_factor == pytest.approx(0.4, rel=0.01)
    assert learned.image_tokens == pytest.approx(255, rel=0.01)
    assert learned.prompt_factor == {}


def test_beside_a_long_text_an_image_is_told_little_of() -> None:
    """A text whose estimate was a tenth too short says nothing about the one image beside it."""
    features = UNLIMITED._replace(prompt_tokens=11_000, text_tokens=10_000, images=1, learned=1_000)
    assert learn(Learned(), features, 12_000).image_tokens == pytest.approx(1_004.5, abs=0.1)  # not 1,050


def test_repeated_reports_converge_to_the_truth() -> None:
    learned = Learned()
    for _ in range(200):  # what is left of the distance: 0.95^200 = 0.00004
        factor = learned.prompt_factor.get("ner", 1.0)
        estimate = UNLIMITED._replace(prompt_tokens=round(1_000 * factor), text_tokens=round(1_000 * factor))
        estimate = estimate._replace(learned=factor)
        learned = learn(learned, estimate, 1_600)
    assert learned.prompt_factor["ner"] == pytest.approx(1.6, rel=0.01)


@pytest.mark.parametrize("kind", ["text", "tools", "images"])
def test_requests_that_were_estimated_at_once_do_not_add_up_their_error(kind: str) -> None:
    """Clients send batches: of 24 at once each told 69 % more, and the next was expected to be 130 % longer."""
    learned, tools, images = Learned(), 1_000 * (kind == "tools"), 1 * (kind == "images")
    then = scale(learned, "ner", tools=tools, images=images)
    text = 1_000 if kind == "text" else 1
    estimated = UNLIMITED._replace(text_tokens=text, tool_tokens=tools, images=images, learned=then)
    for _ in range(200):
        learned = learn(learned, estimated, 1_690)
    found = {"text": learned.prompt_factor.get("ner", 1.0), "tools": learned.tool_factor}
    assert found.get(kind, learned.image_tokens / 1_000) == pytest.approx(1.69, rel=0.01)


def test_one_report_of_far_more_than_was_sent_moves_no_estimate_far() -> None:
    """A server that searches the web counts the pages that it found."""
    assert learn(Learned(), UNLIMITED, 40_000).prompt_factor == {"ner": 1.05}
    searching = UNLIMITED._replace(tool_tokens=20)
    assert learn(Learned(), searching, 40_000).tool_factor == pytest.approx(1.05)


@pytest.mark.parametrize("need", ["audio", "video", "pdf"])
def test_what_lasts_or_has_pages_says_nothing_of_text(need: str) -> None:
    assert learn(Learned(), UNLIMITED._replace(needs=frozenset({need})), 1_500) == Learned()


def test_a_request_of_unknown_size_teaches_no_factor() -> None:
    assert learn(Learned(), UNLIMITED._replace(text_tokens=0), 100) == Learned()
    assert learn(Learned(), UNLIMITED, None) == Learned()


@given(st.lists(st.integers(-(10**12), 10**12), max_size=20))
def test_nonsense_keeps_the_estimates_within_bounds(reports: list[int]) -> None:
    learned = Learned()
    for prompt_tokens in reports:
        learned = learn(learned, UNLIMITED, prompt_tokens)
    assert all(FACTOR_BOUNDS[0] <= factor <= FACTOR_BOUNDS[1] for factor in learned.prompt_factor.values())
