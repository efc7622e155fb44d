"""`slo-router estimate` on files: tables, page and JSON show the same, no prompt text gets out, problems are named."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
from typer.testing import CliRunner

from evaluation.shared.proxy_config import deployment, document
from evaluation.shared.valkey_server import ValkeyServer
from slo_router.contract.keys import metrics_key
from slo_router.contract.settings.tasks.classifier import FORMAT, Classifier
from slo_router.operator.cli import app
from tests.operator.estimate.worlds import write
from tests.shared.spend_logs import SECRET, spend_log

RUNNER = CliRunner(env={"COLUMNS": "250", "TERM": "dumb", "DATABASE_URL": ""})
TINY = ("--candidate", "tiny=0.1/0.2")  # a fiftieth of what `large-1` costs


def logs_at(path: Path, logs: Iterable[dict[str, Any]]) -> Path:
    return write(path, "".join(json.dumps(log) + "\n" for log in logs))


@pytest.fixture
def month(tmp_path: Path) -> Path:
    """A log of 20 days with a request each hour, and about ten sessions a day."""
    return logs_at(tmp_path / "spend.jsonl", (spend_log(hour=hour) for hour in range(480)))


def run(*words: object) -> tuple[int, str, str]:
    done = RUNNER.invoke(app, ["estimate", *map(str, words)])
    return done.exit_code, done.stdout, done.stderr


def made(*words: object) -> dict[str, Any]:
    code, out, err = run(*words, "--json")
    assert code == 0, err
    loaded: dict[str, Any] = json.loads(out)
    return loaded


def test_a_page_that_cannot_be_written_is_named_and_the_estimate_shown(month: Path, tmp_path: Path) -> None:
    code, out, err = run(month, *TINY, "--html", tmp_path)
    assert code == 1
    assert "$2.88" in out
    assert f"{tmp_path}: Is a directory, expected a path to write to" in err


def test_tables_page_and_json_say_the_same(month: Path, tmp_path: Path) -> None:
    code, out, err = run(month, *TINY, "--html", tmp_path / "e.html")
    assert code == 0, err
    page = (tmp_path / "e.html").read_text(encoding="utf-8")
    said = made(month, *TINY)
    shown, stated, most = said["savings"]
    assert said["spent_usd"] == pytest.approx(480 * 0.006)
    assert (shown["saved_share"], stated["saved_share"], most["saved_share"]) == (0, 0, pytest.approx(0.98))
    assert most["assumed"] == [pytest.approx(1 - 0.00014 / 0.006), pytest.approx(1 - 0.00011 / 0.006)]
    assert most["interval"] == [pytest.approx(0.98), pytest.approx(0.98)]  # all requests are alike
    for text in ("480 requests", "0.0 % to 98.0 %", "tiny for openai/large in big, unknown", "361 graded answers"):
        assert text in out, out
    for text in ("480 requests", "98.0 %", "361 graded answers", "<svg", "Cost by day"):
        assert text in page, text
    assert len(said["days"]) == 20
    assert SECRET not in out + page + json.dumps(said)


def test_a_name_is_shown_as_it_is(tmp_path: Path) -> None:
    odd = logs_at(tmp_path / "spend.jsonl", [spend_log(alias="[/red]<b>")])
    code, out, _ = run(odd, *TINY, "--html", tmp_path / "e.html")
    assert code == 0
    assert "[/red]<b>" in out
    assert "[/red]&lt;b&gt;" in (tmp_path / "e.html").read_text(encoding="utf-8")


def test_tasks_are_told_from_kept_prompts_only_where_that_is_asked_for(month: Path) -> None:
    assert [part["name"] for part in made(month, *TINY)["tasks"]] == ["unknown"]
    said = made(month, *TINY, "--categorize")
    assert [part["name"] for part in said["tasks"]] == ["summarization"]
    assert SECRET not in json.dumps(said)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration in which `big` may use `small`, which is good enough only for summaries."""
    entries = [
        deployment("big", "large-1", usd=(5e-6, 1e-5), model="large", quality=0.9),
        deployment("big", "small-1", usd=(1e-6, 2e-6), model="small", quality={"default": 0.6, "summarization": 0.85}),
    ]
    made = document(entries, {"big": {"min_quality": 0.8}})
    return write(tmp_path / "config.yaml", json.dumps(made))  # JSON is YAML


OWN_TASKS = {
    "categories": {
        "orders": {"when": {"header": {"x-app": "shop"}}},
        "invoices": {"when": [{"tag": "billing"}, {"tool": "book"}, {"json_schema": "invoice"}]},
        "greetings": {"when": {"system_sha256": sha256(b"Say hello.").hexdigest()[:12]}},
        "legal": ["clause"],
    }
}
ASKED = [{"role": "user", "content": "Summarize this in one sentence."}]


def kept(group: str = "own", **body: object) -> dict[str, Any]:
    """A row as LiteLLM from 1.108 on writes it if prompts are kept: the body is in one column."""
    return spend_log(model_group=group, messages={}, proxy_server_request={"messages": ASKED, **body})


@pytest.mark.parametrize(
    ("log", "task"),
    [
        (kept(), "summarization"),
        (kept() | {"request_tags": ["User-Agent: curl/8", "billing"]}, "invoices"),
        (kept() | {"request_tags": '["billing"]'}, "invoices"),
        (spend_log(model_group="own", messages={}) | {"request_tags": ["billing"]}, "invoices"),  # no prompt was kept
        (spend_log(model_group="own", messages={}) | {"request_tags": ["other"]}, "unknown"),
        (kept(tools=[{"type": "function", "function": {"name": "book"}}]), "invoices"),
        (kept(response_format={"type": "json_schema", "json_schema": {"name": "invoice"}}), "invoices"),
        (kept(messages=[{"role": "system", "content": "Say hello."}, *ASKED]), "greetings"),
        (kept(system="Say hello."), "greetings"),  # Anthropic's field
        (kept(messages=[{"role": "user", "content": "Which clause is void?"}]), "legal"),
        (kept("learned", messages=[{"role": "user", "content": "A refund!"}]), "money-back"),
        (kept("learned"), "unsure"),
        (kept("other", messages=[{"role": "user", "content": "Which clause is void?"}]), "reasoning"),
        (kept("other") | {"request_tags": ["billing"]}, "summarization"),
    ],
)
def test_a_task_is_told_as_the_rows_own_group_tells_it(tmp_path: Path, log: dict[str, Any], task: str) -> None:
    artefact = Classifier(FORMAT, ["bills", "money-back"], [0.0, 0.0], 0.01, 0.0, {"refund": [0, 9], "bill": [9, 0]})
    (tmp_path / "tasks.json").write_bytes(msgspec.json.encode(artefact))
    groups = {"own": OWN_TASKS, "learned": {"categorizer": {"trained": str(tmp_path / "tasks.json")}}}
    entries = [deployment(name, f"{name}-1", usd=(1e-6, 2e-6)) for name in (*groups, "other")]
    config = write(tmp_path / "config.yaml", json.dumps(document(entries, groups)))
    said = made(logs_at(tmp_path / "spend.jsonl", [log]), "--config", config, "--categorize")
    assert [part["name"] for part in said["tasks"]] == [task]
    assert [one for one in said["assumptions"] if "header" in one] == [
        "own tells orders by headers, which spend logs do not have: such requests count as what else they look like."
    ]


def test_a_classifier_that_cannot_be_used_is_named(month: Path, tmp_path: Path) -> None:
    groups = {"big": {"categorizer": {"trained": "not-there.json"}}}
    entries = [deployment("big", "large-1", usd=(5e-6, 1e-5))]
    config = write(tmp_path / "config.yaml", json.dumps(document(entries, groups)))
    said = made(month, "--config", config, "--categorize")
    assert [part["name"] for part in said["tasks"]] == ["summarization"]
    assert any("not-there.json" in one and "built-in rules" in one for one in said["assumptions"])


def test_a_managed_group_is_held_to_its_floors(month: Path, config: Path) -> None:
    unknown, told = made(month, "--config", config), made(month, "--config", config, "--categorize")
    assert [one["saved_share"] for one in unknown["savings"]] == [0, 0, pytest.approx(0.8)]
    assert [one["saved_share"] for one in told["savings"]] == [0, pytest.approx(0.8), pytest.approx(0.8)]
    (move,) = told["moves"]
    assert (move["served"], move["to"], move["verdict"]) == ("large-1", "small-1", "stated")


def test_the_benchmarks_grades_show_what_the_yaml_states(month: Path, config: Path, tmp_path: Path) -> None:
    with ValkeyServer(tmp_path / "valkey") as server, redis.Redis.from_url(server.url) as client:
        fields = {"timestamp": time.time(), "quality_score": 0.86, "quality_n": 2_000}
        client.hset(metrics_key("", "small-1", "summarization"), mapping=fields)
        said = made(month, "--config", config, "--categorize", "--redis", server.url)
    assert said["savings"][0]["saved_share"] == pytest.approx(0.8)
    assert said["moves"][0]["why"] == "0.86 of 2,000 answers, at least 0.85"


@pytest.mark.parametrize(("confidence", "verdict"), [(0.5, "shown"), (0.99, "open")])
def test_the_floor_is_held_against_the_bound_that_decisions_use(
    month: Path, tmp_path: Path, confidence: float, verdict: str
) -> None:
    """0.82 of 200 answers is above 0.8 with 50 % confidence, but not with 99 %."""
    entries = [
        deployment("big", "large-1", usd=(5e-6, 1e-5), model="large", quality=0.9),
        deployment("big", "small-1", usd=(1e-6, 2e-6), model="small"),
    ]
    groups = {"big": {"min_quality": 0.8, "quality_confidence": confidence}}
    config = write(tmp_path / "config.yaml", json.dumps(document(entries, groups)))
    with ValkeyServer(tmp_path / "valkey") as server, redis.Redis.from_url(server.url) as client:
        fields = {"timestamp": time.time(), "quality_score": 0.82, "quality_n": 200}
        client.hset(metrics_key("", "small-1", "summarization"), mapping=fields)
        said = made(month, "--config", config, "--categorize", "--redis", server.url)
    (found,) = said["moves"] or said["questions"]
    assert found["verdict"] == verdict
    assert "0.82 of 200 answers, at least 0." in found["why"]


def test_a_table_of_outcomes_shows_it_and_how_long_the_answers_are(month: Path, tmp_path: Path) -> None:
    lines = [f"chat,{number % 2},{number % 2},{tokens},{2 * tokens}" for number, tokens in enumerate(range(50, 250))]
    head = "category,score::large,score::tiny,outtok::large,outtok::tiny"
    table = write(tmp_path / "outcomes.csv", "\n".join([head, *lines]))
    shown = made(month, *TINY, "--outcomes", table)["savings"][0]
    assert shown["saved_share"] == pytest.approx(1 - 0.00014 / 0.006)  # twice as long


def test_the_models_in_the_rows_are_candidates_where_nobody_names_one(tmp_path: Path) -> None:
    cheap = [spend_log(hour=hour, model="gpt-4o-mini", model_id="b", spend=0.00021) for hour in range(60)]
    dear = [spend_log(hour=hour, model="gpt-4o", model_id="a", spend=0.0035) for hour in range(60)]
    said = made(logs_at(tmp_path / "spend.jsonl", [*dear, *cheap]))
    assert {one["name"] for one in said["candidates"]} == {"gpt-4o", "gpt-4o-mini"}
    assert {one["length_source"] for one in said["candidates"]} == {"learned"}  # one group sent requests to both
    assert said["savings"][2]["saved_usd"] == pytest.approx(60 * (0.0035 - 0.00021))


def test_what_is_in_no_comparison_is_named(tmp_path: Path) -> None:
    odd = [
        spend_log(),
        spend_log(cache_hit="True", spend=0),
        spend_log(status="failure", spend=0.001),
        spend_log(call_type="aembedding", spend=0.002),
        spend_log(spend=0),
        spend_log(model="gpt-4o", model_id="", spend=0),
    ]
    said = made(logs_at(tmp_path / "spend.jsonl", odd), *TINY)
    assert said["requests"] == 1
    assert [(one["why"], one["requests"], one["usd"]) for one in said["unmoved"]] == [
        ("answered by LiteLLM's cache, and would be again", 1, 0.0),
        ("failed", 1, 0.001),
        ("embeddings, images, audio, batches and the like: not routed", 1, 0.002),
        ("booked at nothing though it has a price: gpt-4o", 1, None),
        ("booked at nothing for want of a price: openai/large", 1, None),
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing to read: expected postgresql://"),
        (("none.csv",), "none.csv: No such file"),
        (("spend.jsonl", "--candidate", "no-such-model"), "--candidate no-such-model: no price known"),
        (("spend.jsonl", "--since", "2030-01-01"), "no row of this period, group and key in 480 that were read"),
        (("spend.jsonl", "--group", "other"), "no row of this period, group and key"),
        (("postgresql://u:very-secret@127.0.0.1:9/db",), "postgresql://…/db: has nobody who listens"),
        (("postgresql://u:very-se/cret@127.0.0.1:x9/db",), "not understood"),
        (("spend.jsonl", *TINY, "--redis", "redis://:very-secret@127.0.0.1:9"), "expected a server that answers"),
    ],
)
def test_a_problem_is_named_and_a_password_is_not(
    month: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(month.parent)
    code, out, err = run(*words)
    assert code == 1
    assert said in err
    assert "very-se" not in out + err
