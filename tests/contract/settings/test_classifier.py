"""A faulty artefact is named and stops nothing. Clients lose only the categories of this artefact."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slo_router.contract.settings.config import Settings, parse_settings
from slo_router.contract.settings.group import GroupSettings
from slo_router.contract.settings.tasks.classifier import FORMAT
from slo_router.decision.groups import ManagedGroup
from slo_router.errors import RequestSloError
from slo_router.request.slo import Asked
from tests.contract.settings.test_config import SMART, fault

GOOD: dict[str, object] = {
    "format": FORMAT,
    "categories": ["bills", "money-back"],
    "bias": [0.0, 0.0],
    "step": 0.01,
    "margin": 0.1,
    "words": {"invoice": [200, 0], "refund": [0, 300]},
}


def artefact(folder: Path, content: object = GOOD) -> str:
    path = folder / "tasks.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return str(path)


def settings(path: str, **group: object) -> Settings:
    section = {"groups": {"smart": {"categorizer": {"trained": path}, **group}}}
    document = {
        "model_list": [SMART],
        "callback_settings": {"slo_router": section},
        "litellm_settings": {"callbacks": ["slo_router.proxy.callback"]},
    }
    return parse_settings(document, {})


def test_its_categories_are_the_groups_and_may_have_a_floor(tmp_path: Path) -> None:
    found = settings(artefact(tmp_path), min_quality={"money-back": 0.9})
    assert found.broken == ()
    assert found.plugin.groups["smart"].known_categories[-2:] == ("bills", "money-back")


def test_another_artefact_under_the_same_name_is_another_policy(tmp_path: Path) -> None:
    first = settings(artefact(tmp_path)).plugin.policy
    assert settings(artefact(tmp_path)).plugin.policy == first
    assert settings(artefact(tmp_path, GOOD | {"margin": 0.2})).plugin.policy != first


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "Input data was truncated, expected what `slo-router train` writes"),
        ("[]", "Expected `object`, got `array`"),
        ({"format": FORMAT}, "Object missing required field `categories`"),
        (GOOD | {"secret": 1}, "Object contains unknown field `secret`"),
        (GOOD | {"format": "slo-router tasks 9"}, "format: 'slo-router tasks 9'"),
        (GOOD | {"categories": ["bills", "bills"]}, "categories: a name stands twice"),
        (GOOD | {"categories": ["bills", "Money back"]}, "categories: ['bills', 'Money back']"),
        (GOOD | {"categories": ["bills"]}, "categories: 1"),
        (GOOD | {"bias": [0.0]}, "bias: 1 numbers for 2 categories"),
        (GOOD | {"step": 0}, "step, margin: 0.0, 0.1"),
        (GOOD | {"margin": -1}, "step, margin: 0.01, -1.0"),
        (GOOD | {"words": {}}, "words: 0"),
        (
            GOOD | {"words": {"invoice": [1, 2], "x": [1, 5000]}},
            "words: number 2 of them has 2 numbers, for 2 categories",
        ),
        (GOOD | {"words": {"invoice": [1]}}, "words: number 1 of them has 1 numbers, for 2 categories, from 0 to 4095"),
        (GOOD | {"words": {"invoice": [-1, 0]}}, "words: number 1 of them"),
    ],
)
def test_what_is_wrong_with_it_is_said_and_the_proxy_starts(tmp_path: Path, content: object, said: str) -> None:
    path = artefact(tmp_path, content)
    found = settings(path, min_quality={"money-back": 0.9})
    (note,) = found.broken
    where = f"callback_settings.slo_router.groups.smart.categorizer.trained: {path}: {said}"
    assert note.startswith(where), note
    assert note.endswith("expected what `slo-router train` writes; until then the built-in rules tell the tasks")
    assert "invoice" not in note  # a word of a prompt


def test_a_file_that_is_not_there_is_named_with_its_whole_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (note,) = settings("nowhere.json").broken
    assert f"{tmp_path}/nowhere.json: No such file or directory" in note


def test_a_wrong_setting_stops_the_start() -> None:
    said = "groups.smart.categorizer"
    assert fault({"categorizer": "magic"}).startswith(
        f"{said}: 'magic', expected `rules`, `article` or {{trained: PATH}}"
    )
    assert fault({"categorizer": {"train": "x"}}).startswith(f"{said}.train: unknown key, expected one of trained")


def test_without_its_artefact_a_group_tells_by_the_rules_and_refuses_no_category(tmp_path: Path) -> None:
    whole, broken = (
        ManagedGroup(GroupSettings.model_validate({"categorizer": {"trained": path}}), "policy")
        for path in (artefact(tmp_path), str(tmp_path / "nowhere.json"))
    )
    asked = Asked(category="money-back")
    assert whole.admitted(asked) is asked
    assert broken.admitted(asked).category is None
    assert broken.admitted(Asked(category="chat")).category == "chat"
    with pytest.raises(RequestSloError, match="x-slo-category: 'other' is not valid, expected one of ner, "):
        whole.admitted(Asked(category="other"))
