"""`python -m evaluation.unchanged`: the same seed makes the same worlds with all kinds of decisions; changes show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evaluation.unchanged import surface
from evaluation.unchanged.__main__ import PARTS, app
from evaluation.unchanged.decisions import decisions


def test_the_same_seed_decides_alike_and_meets_every_filter() -> None:
    lines = list(decisions(400))
    assert lines == list(decisions(400))
    made = [one for line in lines for one in json.loads(line)["decisions"] if one is not None]
    filters = {rejection["filter"] for one in made for rejection in one["rejections"]}
    assert filters >= {"quality", "error_rate", "context_window", "answer_limit", "cost_ceiling", "capability"}
    assert filters >= {"quota", "circuit", "already_tried", "answers"}
    assert {one["kind"] for one in made} == {"met", "fallback"}
    assert any(one["probability"] is not None for one in made)


def test_what_users_see_is_found() -> None:
    assert "slo-bench quality" in surface.helps()
    assert "x-slo-ttft-ms\n" in surface.names()
    assert "slo_router:live:\n" in surface.names()
    assert "model_routing_decisions counter group,deployment,category,decision\n" in surface.metrics()


@pytest.mark.parametrize("change", ["", "10"])
def test_it_compares_digit_for_digit(tmp_path: Path, change: str) -> None:
    for folder, digits in (("before", "1"), ("after", change or "1")):
        (tmp_path / folder).mkdir()
        for name in PARTS:
            (tmp_path / folder / name).write_text(f"{name}\n{digits if name == 'record.json' else ''}\n")
    said = CliRunner().invoke(app, ["compare", str(tmp_path / "before"), str(tmp_path / "after")])
    assert said.exit_code == bool(change)
    assert ("record.json differ" in said.output) == bool(change)
