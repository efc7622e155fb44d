"""An artefact tells a category by the words of the windows, from any text. `None`: it is unsure."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_router.contract.settings.group import GroupSettings
from slo_router.contract.settings.tasks.classifier import FORMAT, Classifier
from slo_router.decision.groups import ManagedGroup
from slo_router.request.categories import EDGE_CHARS, SHORT_CHARS, Instruction, instruction_windows
from slo_router.request.trained import trained, words_of
from slo_router.request.usage import Learned

WORDS = {"refund": [0, 300], "invoice": [200, 0], "the": [10, 10], "漢": [0, 100], "{": [60, 0]}


def classifier(margin: float = 0.0, bias: tuple[float, float] = (0.0, 0.0)) -> Classifier:
    return Classifier(FORMAT, ["bills", "money-back"], bias, 0.01, margin, WORDS)


def told(text: str, made: Classifier) -> str | None:
    return trained(made)(instruction_windows(text))


@pytest.mark.parametrize(
    ("text", "lead", "category"),
    [
        ("The invoice!", 2.0 / 2**0.5, "bills"),  # two known words, 0.01 × 200 ÷ √2
        ("invoice, refund the", 1.0 / 3**0.5, "money-back"),  # (300 − 200) × 0.01 ÷ √3
        ("refund refund refund", 3.0, "money-back"),  # a word counts once
        ("{invoice}: a,b", 2.6 / 2**0.5, "bills"),  # a sign is a word, and parts words
        ("“Refund”…", 3.0, "money-back"),
        ("請退漢字", 1.0, "money-back"),  # a script without spaces
    ],
)
def test_the_words_vote_and_the_lead_is_the_formulas(text: str, lead: float, category: str) -> None:
    assert told(text, classifier(margin=lead * 0.999)) == category
    assert told(text, classifier(margin=lead * 1.001)) is None


def test_the_bias_counts_once_and_without_a_known_word_nothing_is_told() -> None:
    assert told("the", classifier(bias=(0.0, 0.5))) == "money-back"
    assert told("nothing of it", classifier(bias=(0.0, 0.5))) is None
    assert told("", classifier()) is None


def test_unsure_may_be_learned() -> None:
    made = Classifier(FORMAT, ["bills", "unsure"], [0.0, 0.0], 0.01, 0.0, WORDS)
    assert (told("refund", made), told("invoice", made)) == (None, "bills")
    assert made.names == ("bills",)


def test_only_the_windows_are_looked_at() -> None:
    hidden = "x " * SHORT_CHARS + "invoice" + " x" * EDGE_CHARS
    assert told(hidden, classifier()) is None
    assert trained(classifier())(Instruction("an invoice", "hello", "hello")) == "bills"  # the system prompt


@given(st.text(), st.text(), st.text())
def test_the_words_of_any_text_hold_no_space_and_no_capital(system: str, opening: str, closing: str) -> None:
    found = words_of(Instruction(system, opening, closing))
    assert all(word and not any(character.isspace() for character in word) for word in found)
    assert trained(classifier())(Instruction(system, opening, closing)) in (None, "bills", "money-back")


def test_a_group_tells_by_its_artefact(tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    path.write_bytes(msgspec.json.encode(classifier()))
    group = ManagedGroup(GroupSettings.model_validate({"categorizer": {"trained": str(path)}}), "policy")
    found = group.features({"messages": [{"role": "user", "content": "A refund, please."}]}, None, Learned())
    assert (found.category, found.category_source) == ("money-back", "categorizer")
    assert group.categories[-2:] == ("bills", "money-back")
