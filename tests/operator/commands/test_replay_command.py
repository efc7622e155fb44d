"""`slo-router replay` shows in a table and in JSON what another YAML would have done."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from slo_router.contract.model import Slo
from slo_router.operator.cli import app
from tests.shared.record_builders import decide_between, line_of, write_config

RUNNER = CliRunner(env={"COLUMNS": "160", "TERM": "dumb"})


@pytest.fixture
def log(tmp_path: Path) -> Path:
    large = decide_between(slo=Slo(min_quality=0.8))
    lines = [line_of(ts=time.time()), line_of(large, ts=time.time(), cost_usd=0.005), "{"]
    (tmp_path / "r.1.jsonl").write_text("\n".join(lines))
    return tmp_path / "r.jsonl"


def run(tmp_path: Path, log: Path, *arguments: str, group: dict[str, object]) -> tuple[int, str, str]:
    config = write_config(tmp_path / "old.yaml", {"groups": {"smart": {"trial_share": 0.0}}})
    policy = write_config(tmp_path / "new.yaml", {"groups": {"smart": {"trial_share": 0.0, **group}}})
    options = ["--config", str(config), "--policy", str(policy), "--log", str(log), *arguments]
    done = RUNNER.invoke(app, ["replay", *options])
    return done.exit_code, done.stdout, done.stderr


def test_the_table_shows_share_cost_slo_and_quality_before_and_after(tmp_path: Path, log: Path) -> None:
    code, out, _ = run(tmp_path, log, group={"min_quality": 0.8, "confidence": 0.95})
    assert code == 0
    for text in ("2 requests, 1 of which", "-50.0 points", "$0.0055000", "$0.0100", "0.800", "0.900"):
        assert text in out, out
    assert "1 requests would go where too few such requests were answered" in out
    assert "2 requests were decided by another policy than --config's" in out
    assert "1 lines are not records" in out
    assert "smart: confidence changed; predictions are recorded at 0.9 alone." in out


def test_json_holds_the_same(tmp_path: Path, log: Path) -> None:
    _, out, _ = run(tmp_path, log, "--json", group={"min_quality": 0.8})
    found = json.loads(out)
    assert found["shares"] == {"small": [0.5, 0.0], "large": [0.5, 1.0]}
    assert found["cost"]["new_usd"] == pytest.approx(0.01)
    assert found["attainment"]["untold"] == 1
    assert found["counts"]["moved"] == 1


def test_a_request_that_moves_costs_what_litellm_would_bill(tmp_path: Path, log: Path) -> None:
    added = {"cost_margin_config": {"global": {"percentage": 1.0, "fixed_amount": 0.001}}}
    old, new = (
        write_config(tmp_path / name, {"groups": {"smart": {"trial_share": 0.0, **group}}}, litellm=added)
        for name, group in (("old.yaml", {}), ("new.yaml", {"min_quality": 0.8}))
    )
    done = RUNNER.invoke(app, ["replay", "--config", str(old), "--policy", str(new), "--log", str(log), "--json"])
    assert json.loads(done.stdout)["cost"]["new_usd"] == pytest.approx(0.011 + 0.005)  # what stays is as booked


def test_nothing_to_replay_is_said(tmp_path: Path, log: Path) -> None:
    code, out, _ = run(tmp_path, log, "--team", "none", group={})
    assert (code, out.splitlines()[0]) == (0, "nothing to replay in 3 lines")


def test_a_policy_that_is_wrong_is_named(tmp_path: Path, log: Path) -> None:
    code, _, err = run(tmp_path, log, group={"objective": "fastest"})
    assert code == 1
    assert "callback_settings.slo_router.groups.smart.objective: 'fastest'" in err
