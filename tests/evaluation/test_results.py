"""A study's saved run replaces only its own last run, and docs/evidence.md has the saved figures and no others."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from evaluation import evidence
from evaluation.shared import results
from evaluation.shared.results import FOLDER, ROOT, Aim, Spread, load

NO_FIGURES = r"""  # what has digits in the template and is a name, or is filled in from what was saved
    {[{%].*?[}%]} | p\d\d | E2E | 95[ ]% | per[ ]1,000[ ]requests | a[ ][45]00 | /v1/\w+ | SmolLM2-135M | Python\s3\.11
    | python-311 | Qwen2\.5[ ]7B,[ ]14B[ ]and[ ]72B | `…[ ]--rounds[ ]4[ ]--requests[ ]16[ ]--stream[ ]--chunks[ ]500`
"""


def test_the_page_is_what_the_studies_saved() -> None:
    command = [sys.executable, "-m", "evaluation.evidence", "--check"]
    subprocess.run(command, cwd=ROOT, check=True)
    assert evidence.PAGE.read_text(encoding="utf-8") == evidence.render(), "run: python -m evaluation.evidence"


def test_a_figure_that_was_saved_anew_is_on_the_page(tmp_path: Path) -> None:
    for path in FOLDER.glob("*.json"):
        text = path.read_text(encoding="utf-8")
        (tmp_path / path.name).write_text(text.replace('"routed": 3403', '"routed": 3404'), encoding="utf-8")
    made = evidence.render(tmp_path)
    assert "3,404 were routed" in made
    assert made != evidence.render()


def test_the_readme_says_what_the_page_says() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    phases = {phase["phase"]: phase["rows"] for phase in load(FOLDER / "face_off.json")[0]["figures"]["phases"]}
    for rows in (phases["steady"], phases["mixed"]):
        best = max(rows["least-busy"], rows["latency-based-routing"], key=lambda row: row["kept_percent"]["value"])
        shown = rows["slo-router"], best, rows["all to large"]
        ours, peer, large = (Spread(**row["kept_percent"]) for row in shown)
        spread = f"{peer.value:.0f} % ({peer.lowest:.0f} to {peer.highest:.0f})"
        assert f"| {ours.value:.0f} % | {spread} | {large.value:.0f} % |" in readme
        assert "| {:.3f} | {:.3f} | {:.3f} |".format(*(row["usd_per_1k"] for row in shown)) in readme


def test_the_template_has_words_alone() -> None:
    words = re.sub(NO_FIGURES, "", evidence.TEMPLATE.read_text(encoding="utf-8"), flags=re.VERBOSE | re.DOTALL)
    assert [line for line in words.splitlines() if re.search(r"\d", line)] == []


def test_every_run_says_where_it_is_from() -> None:
    for path in FOLDER.glob("*.json"):
        runs = load(path)
        keys = [(run["form"], run["litellm"]) for run in runs]
        assert len(set(keys)) == len(keys)
        for run in runs:
            assert run["saved_by"].partition(",")[0] in ("hand", "the study")
            assert re.fullmatch(r"\d{4}-\d\d-\d\d", run["date"])
            assert re.fullmatch(r"[0-9a-f]{7,}", run["commit"]), "save from code that is committed"
            assert run["command"] == "make demo" or run["command"].startswith(f"python -m evaluation.{path.stem}")


def test_a_run_replaces_the_one_of_its_form_and_litellm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", type("Spec", (), {"name": "evaluation.gate.gate_power"}))
    monkeypatch.setattr(sys, "argv", ["", "--runs", "5", "--save"])
    results.save({"spread": Spread.of([2.0, 1.0, 4.0])}, [Aim.at_most(1, "a pick takes", 2.0, 1, " µs")])
    results.save({"seeds": 1}, form="other")
    results.save({"third": 1 / 3})
    first, other = load(tmp_path / "gate.gate_power.json")
    assert (first["command"], first["form"]) == ("python -m evaluation.gate.gate_power --runs 5", "")
    assert (first["figures"], first["aims"], other["figures"]) == ({"third": 0.333333}, [], {"seeds": 1})


@pytest.mark.parametrize(
    ("spread", "text"),
    [
        (Spread.of([1.0, 2.04, 3.0]), "2.0 µs (1.0–3.0)"),
        (Spread(1_234.0, 1_234.0, 1_234.01), "1,234.0 µs"),
        (Spread(-7.6, -12.2, -2.1), "−7.6 µs (−12.2 to −2.1)"),
    ],
)
def test_a_spread_says_its_repeats(spread: Spread, text: str) -> None:
    assert spread.text(1, " µs") == text


def test_an_aim_says_its_figure() -> None:
    missed = Aim.at_most(60, "own part", 95.2, 0, " µs")
    assert str(missed) == "MISSED  own part 95 µs, at most 60 µs"
    assert str(Aim.at_most(60, "own part", 60.0)).startswith("kept")
    assert evidence.missed({"x": [{"aims": [{"text": "a", "is_kept": False}, {"text": "b", "is_kept": True}]}]}) == {
        "x": ["a"]
    }
