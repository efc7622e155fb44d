"""The command as a user runs it: what it reads and prints, the file's content and permissions, and exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import redis
import yaml
from typer.testing import CliRunner, Result

from evaluation.emulator import Handle
from slo_bench.cli import app
from slo_bench.prompts.workload import load_workload
from slo_router.contract.keys import REQUESTS_STREAM
from slo_router.contract.record import RequestRecord, SloRecord
from tests.bench.commands.test_bench_cli import entry
from tests.e2e.redis_topologies import AGENT_RIGHTS, ROUTER_RIGHTS

SECRET = "jane@example.org"


def record(number: int, *, prompt: bool = True, category: str | None = "chat", outcome: str = "success") -> str:
    """A request record as the plugin writes it."""
    messages = [{"role": "user", "content": f"Question {number} of {SECRET}"}]
    return RequestRecord(
        ts=1.0, request_id=f"r{number}", call_type="acompletion", model_group="smart", deployment="small", model="m",
        category=category, key_hash=None, key_alias=None, team_id=None, stream=number % 2 == 0, prompt_tokens=20,
        completion_tokens=4, ttft_ms=1, tpot_ms=1, e2e_ms=2, cost_usd=None, slo=SloRecord(), slo_met=None,
        outcome=outcome, attempts=1, decision={"kind": "met"}, prompt=messages if prompt else None,
    ).model_dump_json()  # fmt: skip


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Twelve records: six of chat, four of ner, one without text, one that failed."""
    lines = [record(n) for n in range(6)] + [record(n, category="ner") for n in range(4)]
    path = tmp_path / "requests.1.jsonl"
    path.write_text("\n".join([*lines, record(1, prompt=False), record(1, outcome="error"), "", "broken"]) + "\n")
    return path


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "workload.jsonl"


def sample(*arguments: object) -> Result:
    result = CliRunner().invoke(app, ["sample", *map(str, arguments)])
    assert SECRET not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def test_records_become_a_private_workload_that_a_run_can_read(log: Path, output: Path) -> None:
    output.write_text("old")
    result = sample(log, "--output", output, "--per-category", 4)
    assert result.exit_code == 0, result.output
    assert "requests.1.jsonl: 13 entries, records (by its content)" in result.stderr
    assert "left out 1 of 13: no prompt text: log_prompts" in result.stderr
    assert "left out 1 of 13: failed" in result.stderr
    assert "left out 1 of 13: not readable" in result.stderr
    assert "replaced in 8 of 8 prompts: 8 EMAIL" in result.stderr
    assert output.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in output.parent.iterdir()} == {log.name, output.name}  # nothing half-written
    workload = load_workload(output)
    assert {name: len(workload.of_category(name)) for name in workload.categories} == {"chat": 4, "ner": 4}
    assert SECRET not in output.read_text()
    assert all(prompt.max_tokens == 4 for prompt in workload.prompts)


def test_json_goes_to_stdout_alone_and_the_seed_decides(log: Path, output: Path) -> None:
    document = json.loads(sample(log, "-o", output, "--per-category", 3, "--json").stdout)
    assert (document["prompts"], document["entries"], document["replaced"]) == (6, 13, {"EMAIL": 6})
    assert document["left_out"] == {"no_text": 1, "failed": 1, "malformed": 1}
    assert document["strata"][0] == {
        "category": "chat",
        "prompt_tokens": "<256",
        "stream": False,
        "seen": 3,
        "taken": 2,
    }
    texts = {
        seed: (sample(log, "-o", output, "--per-category", 3, "--seed", seed), output.read_text())[1] for seed in (0, 1)
    }
    sample(log, "-o", output, "--per-category", 3)
    assert output.read_text() == texts[0] != texts[1]


def test_the_stream_in_redis_is_read_to_where_it_ended_at_the_start(
    tmp_path: Path, output: Path, valkey_url: str
) -> None:
    config = tmp_path / "litellm_config.yaml"
    plugin = {"groups": {"smart": {}}, "redis_url": valkey_url, "key_prefix": "mine:"}
    document = {"model_list": [entry("small", "http://127.0.0.1:9")], "callback_settings": {"slo_router": plugin}}
    config.write_text(yaml.safe_dump(document))
    with redis.Redis.from_url(valkey_url) as link:
        pipeline = link.pipeline()
        for number in range(450):  # more than two pages
            pipeline.xadd(f"mine:{REQUESTS_STREAM}", {"record": record(number)}, id=f"{1_000 + number}-0")
        pipeline.execute()
    result = sample("--config", config, "-o", output, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["entries"] == 450
    assert "mine:slo_router:requests: 450 entries" in result.stderr
    assert "nothing to sample" in sample("--config", config, "-o", output, "--hours", 1).stderr
    assert sample("--redis-url", valkey_url, "-o", output).exit_code == 2  # no stream without the prefix


def test_the_agents_own_user_is_told_whose_rights_it_takes(output: Path, valkey_url: str) -> None:
    with redis.Redis.from_url(valkey_url) as link:
        link.xadd(REQUESTS_STREAM, {"record": record(1)})
        for user, rights in (("router", ROUTER_RIGHTS), ("agent", AGENT_RIGHTS)):
            link.execute_command("ACL", "SETUSER", user, "on", ">pw", *rights.split())
    results = {
        user: sample("--redis-url", valkey_url.replace("//", f"//{user}:pw@"), "-o", output)
        for user in ("router", "agent")
    }
    assert results["router"].exit_code == 0, results["router"].output
    assert results["agent"].exit_code == 2
    assert (
        "NoPermissionError while reading slo_router:requests, expected a user who may read it"
        in results["agent"].stderr
    )


def test_spend_logs_and_batch_files_take_a_category(tmp_path: Path, output: Path) -> None:
    body = {"messages": [{"role": "user", "content": f"Hi {SECRET}"}]}
    row = {"request_id": "r", "call_type": "acompletion", "spend": 0.0, "proxy_server_request": body}
    (tmp_path / "spend.json").write_text(json.dumps([row, {**row, "proxy_server_request": {}}], indent=1))
    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": body}
    (tmp_path / "batch.jsonl").write_text(json.dumps(line))
    result = sample(tmp_path / "spend.json", tmp_path / "batch.jsonl", "-o", output, "--category", "chat")
    assert result.exit_code == 0, result.output
    assert "spend.json: 2 entries, spend-logs (by its content)" in result.stderr
    assert "batch.jsonl: 1 entries, batch (by its content)" in result.stderr
    assert len(load_workload(output).prompts) == 2
    assert "no category: name one with --category" in sample(tmp_path / "batch.jsonl", "-o", output).stderr
    forced = sample(tmp_path / "batch.jsonl", "-o", output, "--category", "chat", "--kind", "spend-logs")
    assert forced.exit_code == 2
    assert "spend-logs (as --kind says)" in forced.stderr


def test_a_scrubber_of_ones_own_is_added_and_rules_can_be_chosen(log: Path, output: Path) -> None:
    result = sample(log, "-o", output, "--scrubber", "tests.bench.commands.test_sample_command:questions")
    assert "10 QUESTION, 10 EMAIL" in result.stderr
    assert "<QUESTION_1> of <EMAIL_1>" in output.read_text()
    CliRunner().invoke(app, ["sample", str(log), "-o", str(output), "--rules", "phone,ip"])
    assert SECRET in output.read_text()


def questions(text: str) -> Iterator[tuple[int, int, str]]:
    """The scrubber that the test above names with --scrubber."""
    yield 0, text.index(" of "), "QUESTION"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["{log}", "-o", "{tmp}/w.yaml"], "--output: "),
        (["{log}", "-o", "{log}"], "is one of the files to read"),
        (["{log}", "-o", "{tmp}/missing/w.jsonl"], "No such file or directory, expected a file that can be written"),
        (
            ["{tmp}/missing.jsonl", "-o", "{tmp}/w.jsonl"],
            "missing.jsonl: No such file or directory, expected a file of",
        ),
        (["{tmp}/other.jsonl", "-o", "{tmp}/w.jsonl"], "other.jsonl: nothing known in its first 1 entries"),
        (["{tmp}/array.json", "-o", "{tmp}/w.jsonl"], "array.json: not a JSON array"),
        (["-o", "{tmp}/w.jsonl"], "nothing to read, expected FILE, --config"),
        (
            ["--redis-url", "redis://127.0.0.1:1/0", "-o", "{tmp}/w.jsonl"],
            "ConnectionError while reading slo_router:requ",
        ),
        (["{log}", "-o", "{tmp}/w.jsonl", "--category", "A b"], "--category: 'A b', expected small letters"),
        (["{log}", "-o", "{tmp}/w.jsonl", "--rules", "email,fax"], "--rules: 'fax', expected some of key, email"),
        (["{log}", "-o", "{tmp}/w.jsonl", "--phone-regions", "us"], "--phone-regions: 'us', expected two capital"),
        (["{log}", "-o", "{tmp}/w.jsonl", "--scrubber", "json:nothing"], "--scrubber: 'json:nothing'"),
        (["{log}", "-o", "{tmp}/w.jsonl", "--scrubber", "json"], "--scrubber: 'json'"),
        (["{log}", "-o", "{tmp}/w.jsonl", "--scrubber", "string:digits"], "is no function"),
    ],
)
def test_what_cannot_be_done_exits_2_and_writes_nothing(
    arguments: Sequence[str], expected: str, log: Path, tmp_path: Path
) -> None:
    (tmp_path / "other.jsonl").write_text('{"model": "x"}\n')
    (tmp_path / "array.json").write_text("[{")
    before = log.read_text()
    result = sample(*(one.format(log=log, tmp=tmp_path) for one in arguments))
    assert result.exit_code == 2
    assert expected in result.stderr.replace("\n", " ").replace("  ", " ")
    assert {path.name for path in tmp_path.iterdir()} == {log.name, "other.jsonl", "array.json"}
    assert log.read_text() == before


def test_a_run_measures_with_the_sample(log: Path, output: Path, tmp_path: Path, fleet: list[Handle]) -> None:
    sample(log, "-o", output)
    config = tmp_path / "litellm_config.yaml"
    plugin: dict[str, object] = {"groups": {"smart": {}}}
    document = {"model_list": [entry("small", fleet[0].api_base)], "callback_settings": {"slo_router": plugin}}
    config.write_text(yaml.safe_dump(document))
    options = ["--workload", str(output), "--requests", "2", "--warmup", "0", "--no-publish"]
    result = CliRunner().invoke(app, ["run", "--config", str(config), *options])
    assert result.exit_code == 0, result.output
    assert [seen.completion_tokens for seen in fleet[0].seen()] == [4] * 4  # the endpoint's own choice would be 8
