"""A deployment without a price costs `null`, never 0: in record, SLO, report, plots, savings and replay.

LiteLLM books 0 USD if it knows no price. An unknown cost is left out of every sum of money, and counted.
"""

from __future__ import annotations

import csv
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from slo_router.contract.model import Facts, Slo
from slo_router.contract.record import RequestRecord
from slo_router.contract.settings.group import GroupSettings
from slo_router.decision.explain import headers, span_attributes, summary
from slo_router.decision.prediction import predict
from slo_router.operator.cli import app
from slo_router.worker.attempt import Attempt
from slo_router.worker.records import build_record
from slo_router.worker.trace import Trace
from tests.shared.builders import NOW_S, REQUEST, decided, view
from tests.shared.record_builders import SMALL, line_of, read_back, write_config

RUNNER = CliRunner(env={"COLUMNS": "160", "TERM": "dumb"})
UNPRICED = Facts("unpriced", "openai/unpriced", 32_768, None, quality={"default": 0.9})
HALF = replace(UNPRICED, deployment_id="half", input_usd_per_token=1e-6)
TO_UNPRICED = decided([UNPRICED, SMALL], slo=Slo(min_quality=0.8), group=GroupSettings(trial_share=0))

TO_SMALL = decided([UNPRICED, SMALL], group=GroupSettings(trial_share=0))


def record(facts: Facts = UNPRICED, slo: Slo = Slo(), **payload: object) -> RequestRecord:  # noqa: B008  # immutable
    """The record of an answer with 300 and 100 tokens, for which LiteLLM books nothing."""
    trace = Trace("acompletion", NOW_S, slo=slo, attempts=[Attempt(facts.deployment_id, is_sent=True)])
    booked: dict[str, object] = {
        "status": "success",
        "prompt_tokens": 300,
        "completion_tokens": 100,
        "response_cost": 0.0,
    }
    return build_record(booked | payload, trace, facts=facts)


@pytest.mark.parametrize("facts", [UNPRICED, HALF])
@pytest.mark.parametrize("booked", [0.0, None, -1.0, float("nan"), float("inf"), "0.001", True])
def test_the_record_says_null_and_its_cost_limit_is_not_judged(facts: Facts, booked: object) -> None:
    found = record(facts, Slo(cost_per_1k_usd=0.001), response_cost=booked)
    assert (found.cost_usd, found.slo_met) == (None, None)
    assert json.loads(found.model_dump_json())["cost_usd"] is None


def test_the_decision_headers_and_sinks_say_nothing_of_its_cost() -> None:
    assert predict(UNPRICED, REQUEST, view()).cost_usd is None
    assert TO_UNPRICED.deployment_id == "unpriced"
    assert "x-slo-predicted-cost-usd" not in headers(TO_UNPRICED)
    assert headers(TO_UNPRICED)["x-slo-reason"] == "price unknown, first of 1 that meet the SLO"
    assert summary(TO_UNPRICED)["predicted_cost_usd"] is None
    assert "slo_router.predicted_cost_usd" not in span_attributes(TO_UNPRICED, shadow=False)


def test_a_cost_limit_is_neither_kept_nor_broken_by_it() -> None:
    decision = decided([UNPRICED], slo=Slo(cost_per_1k_usd=1_000.0))
    assert (decision.kind, decision.selected and decision.selected.unknown) == ("fallback", ("cost_per_1k",))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of three requests to `unpriced` in one hour, and two to `small` in this and in another hour."""
    now_s = time.time()
    lines = [line_of(TO_UNPRICED, ts=now_s - 7_200, cost_usd=None) for _ in range(3)]
    lines += [line_of(TO_SMALL, ts=now_s - 7_200), line_of(TO_SMALL, ts=now_s)]
    (tmp_path / "r.1.jsonl").write_text("\n".join(lines))
    return tmp_path / "r.jsonl"


def run(tmp_path: Path, command: str, *arguments: object) -> str:
    config = write_config(tmp_path / "config.yaml", None, SMALL, UNPRICED)
    done = RUNNER.invoke(app, [command, "--config", str(config), *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_report_leaves_it_out_of_every_sum_and_counts_it(tmp_path: Path, log: Path) -> None:
    files = "--csv", tmp_path / "r.csv", "--html", tmp_path / "r.html"
    report = json.loads(run(tmp_path, "report", "--log", log, *files, "--json"))
    rows = {row["name"]: row for row in report["deployments"]}
    assert [rows["unpriced"][name] for name in ("spent_usd", "baseline_usd", "saved_usd", "saved_share")] == [None] * 4
    assert (rows["unpriced"]["unpriced"], report["total"]["unpriced"]) == (3, 3)
    assert report["total"]["spent_usd"] == rows["small"]["spent_usd"] == pytest.approx(0.001)
    assert any("3 requests are in no sum of USD" in note for note in report["assumptions"])
    assert [(hour["requests"], hour["priced"]) for hour in report["hours"]] == [(4, 1), (1, 1)]
    cells = {row["name"]: row["spent_usd"] for row in csv.DictReader((tmp_path / "r.csv").read_text().splitlines())}
    assert cells["unpriced"] == ""
    assert "USD per 1,000 requests of known cost" in (tmp_path / "r.html").read_text()
    shown = run(tmp_path, "report", "--log", log)
    assert "– + 3 unknown" in shown


def test_a_log_of_nothing_else_has_no_cost_and_no_saving(tmp_path: Path) -> None:
    (tmp_path / "r.1.jsonl").write_text(line_of(TO_UNPRICED, ts=time.time(), cost_usd=None))
    report = json.loads(run(tmp_path, "report", "--log", tmp_path / "r.jsonl", "--json"))
    total = report["total"]
    assert [total[name] for name in ("spent_usd", "baseline_usd", "saved_usd", "saved_share")] == [None] * 4


def test_a_replay_leaves_it_out_and_counts_it(tmp_path: Path, log: Path) -> None:
    stricter = write_config(tmp_path / "new.yaml", {"groups": {"smart": {"min_quality": 0.8}}}, SMALL, UNPRICED)
    outcome = json.loads(run(tmp_path, "replay", "--policy", stricter, "--log", log, "--json"))
    assert outcome["counts"]["unpriced"] == 5  # the others would go to it
    assert (outcome["cost"]["recorded_usd"], outcome["cost"]["new_usd"], outcome["cost"]["change"]) == (None,) * 3
    same = write_config(tmp_path / "same.yaml", None, SMALL, UNPRICED)
    outcome = json.loads(run(tmp_path, "replay", "--policy", same, "--log", log, "--json"))
    assert outcome["cost"]["recorded_usd"] == outcome["cost"]["new_usd"] == pytest.approx(0.001)
    assert "requests are in no cost" in run(tmp_path, "replay", "--policy", stricter, "--log", log)


def test_an_explanation_shows_no_cost(tmp_path: Path) -> None:
    asked = ("--prompt", "Summarize: the cat sat on the mat.", "--slo", "min_quality=0.8")
    found = json.loads(run(tmp_path, "explain", *asked, "--json"))
    costs = {one["deployment"]: one["predicted"]["cost_usd"] for one in found["candidates"]}
    assert costs["unpriced"] is None
    assert costs["small"] > 0


def test_a_free_deployment_is_no_unknown_one() -> None:
    free = replace(UNPRICED, input_usd_per_token=0.0, output_usd_per_token=0.0)
    assert record(free, Slo(cost_per_1k_usd=0.0)).cost_usd == 0.0
    assert record(free, Slo(cost_per_1k_usd=0.0)).slo_met is True
    assert read_back(cost_usd=0.0).cost_usd == 0.0
