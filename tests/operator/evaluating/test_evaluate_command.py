"""`slo-router evaluate` on a sample of recorded outcomes: tables, JSON and HTML, with LiteLLM's own router."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evaluation.shared.proxy_config import deployment, document
from slo_router.operator.cli import app
from slo_router.operator.evaluating import grouping

SAMPLE = Path(__file__).with_name("outcomes_sample.csv")
RUNNER = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"})
ROUTERS = [
    "ours",
    "prompt length",
    "article's heuristic",
    "LiteLLM's complexity router",
    "random mix",
    "best constant",
    "oracle",
]


def test_it_shows_every_router_and_writes_both_files(tmp_path: Path) -> None:
    files = [tmp_path / "e.json", tmp_path / "e.html"]
    done = RUNNER.invoke(app, ["evaluate", str(SAMPLE), "--json", str(files[0]), "--html", str(files[1])])
    assert done.exit_code == 0, done.output
    assert "150 prompts, 3 models; strongest claude-3-5-sonnet-20241022" in done.stdout
    assert "at 94% of the strongest model's quality" in done.stdout
    made = json.loads(files[0].read_text())
    assert [one["router"] for one in made["standings"]] == ROUTERS
    assert [at["target"] for at in made["standings"][0]["targets"]] == [0.94, 0.95, 0.99]
    assert made["standings"][0]["aiq"].keys() == {"mean", "low", "high"}
    assert {one["labels"] for one in made["curve"]} == {50, 100}
    page = files[1].read_text()
    assert all(text.replace("'", "&#39;") in page for text in (*ROUTERS, *made["verdict"]))
    assert "<script" not in page


def test_ours_are_told_as_the_groups_own_tasks_are_where_a_configuration_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "_tiers", lambda _: None)  # LiteLLM's import takes seconds
    own = {"categories": {"questions": ["what", "which", "how"], "tickets": {"when": {"tag": "ticket"}}}}
    entries = [deployment(name, f"{name}-1", usd=(1e-6, 2e-6)) for name in ("plain", "own")]
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(document(entries, {"plain": {}, "own": own})))
    notes = {}
    for group in ("plain", "own"):
        file = tmp_path / f"{group}.json"
        words = ["--config", str(config), "--group", group, "--seeds", "1", "--json", str(file)]
        done = RUNNER.invoke(app, ["evaluate", str(SAMPLE), *words])
        assert done.exit_code == 0, done.output
        notes[group] = [one for one in json.loads(file.read_text())["notes"] if one.startswith("ours are told")]
    assert "questions" not in notes["plain"][0]
    assert "questions" in notes["own"][0]
    assert "by the prompt alone, so none by a condition" in notes["own"][0]
    done = RUNNER.invoke(app, ["evaluate", str(SAMPLE), "--config", str(config)])
    assert done.exit_code == 1
    assert "--group: missing, expected one of plain, own" in done.stderr


def test_what_is_wrong_is_named() -> None:
    for arguments, said in (
        (["--targets", "0.9,high"], "--targets: '0.9,high', expected shares from 0 to 1"),
        (["--models", "gemma*"], "1 models with scores and costs are left"),
        (["--prices", "nowhere.csv"], "nowhere.csv"),
    ):
        done = RUNNER.invoke(app, ["evaluate", str(SAMPLE), *arguments])
        assert done.exit_code == 1
        assert said in done.stderr
