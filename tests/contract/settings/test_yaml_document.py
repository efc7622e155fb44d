"""A configuration file is read as LiteLLM reads it. The plugin says which parts of the file got lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slo_router.contract.settings.environment import FromBlock, FromEnvironment
from slo_router.contract.settings.yaml_document import read_document, read_raw
from slo_router.errors import SettingsError

ENTRY = "{model_name: smart, litellm_params: {model: openai/%s}, model_info: {id: %s}}"


def write(folder: Path, **texts: str) -> Path:
    """Writes files `name.yaml`. Returns the first one, the configuration."""
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder / f"{next(iter(texts))}.yaml"


def names_in(fields: object) -> list[str]:
    assert isinstance(fields, dict)
    return [entry["model_info"]["id"] for entry in fields["model_list"]]


INCLUDES = {
    "main": f"include: [more.yaml, sub/deep.yaml]\nmodel_list: [{ENTRY % ('a', 'a')}]\nlitellm_settings: {{a: 1}}",
    "more": f"include: [nested.yaml]\nmodel_list: [{ENTRY % ('b', 'b')}]\nlitellm_settings: {{b: 2}}",
    "nested": f"model_list: [{ENTRY % ('c', 'c')}]",
}


def test_included_files_are_merged_and_what_they_replace_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, **INCLUDES)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "deep.yaml").write_text(f"model_list: [{ENTRY % ('d', 'd')}]")
    fields, remarks = read_document(path)
    assert sorted(names_in(fields)) == ["a", "b", "c", "d"]
    assert fields["litellm_settings"] == {"b": 2}
    assert remarks == ("litellm_settings: include more.yaml replaces all of it, so what was said before is lost",)


def test_a_key_that_stands_twice_is_named_with_both_lines(tmp_path: Path) -> None:
    text = """
litellm_settings: {callbacks: [slo_router.proxy.callback]}
model_list:
  - &one
    model_name: smart
    litellm_params: {model: openai/a, model: openai/b}
  - {<<: *one, model_name: other}
litellm_settings: {drop_params: true}
"""
    fields, remarks = read_document(write(tmp_path, c=text))
    assert fields["litellm_settings"] == {"drop_params": True}
    assert remarks == (
        "c.yaml: model_list[0].litellm_params.model stands twice, in lines 6 and 6: only the last counts",
        "c.yaml: litellm_settings stands twice, in lines 2 and 8: only the last counts",
    )


def test_variables_are_resolved_where_litellm_does_and_the_block_counts_after_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLO_TEST_SET", "32768")
    text = """
environment_variables: {SLO_TEST_SET: "1", SLO_TEST_BLOCK: http://h/v1, SLO_TEST_ALIAS: os.environ/SLO_TEST_SET}
a: os.environ/SLO_TEST_SET
b: [{c: os.environ/SLO_TEST_BLOCK}, os.environ/SLO_TEST_SET]
d: os.environ/SLO_TEST_UNSET
e: os.environ/SLO_TEST_ALIAS
"""
    fields = read_document(write(tmp_path, c=text)).fields
    assert (fields["a"], fields["d"], fields["e"]) == ("32768", "os.environ/SLO_TEST_UNSET", "32768")
    assert fields["b"] == [{"c": "http://h/v1"}, "os.environ/SLO_TEST_SET"]
    assert type(fields["a"]) is FromEnvironment
    assert type(fields["e"]) is FromBlock
    assert read_raw(tmp_path / "c.yaml").fields["a"] == "os.environ/SLO_TEST_SET"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("include: more.yaml", "include: 'more.yaml', expected a list of file names"),
        (
            "include: [no.yaml]",
            r"no\.yaml: No such file or directory, expected a file, for it stands under include: in",
        ),
        ("include: [c.yaml]\na: [", "not valid YAML"),
    ],
)
def test_a_wrong_include_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read_document(write(tmp_path, c=text))


def test_an_empty_variable_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "SLO_TEST_EMPTY", "")
    assert read_document(write(tmp_path, c="a: os.environ/SLO_TEST_EMPTY")).fields == {"a": ""}
