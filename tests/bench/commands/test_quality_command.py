"""`slo-bench quality` as a user runs it: what it asks, grades, writes and keeps, and what it says about the rest."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from typer.testing import CliRunner, Result

from slo_bench.cli import app
from slo_bench.quality.answers import default_path
from slo_router.contract.metrics_hash import read_metrics
from tests.bench.commands.oracle import Body, Oracle, asked, oracle

SECRET = "sk-very-secret"
Setting = Callable[..., tuple[str, ...]]


def item(number: int, **change: object) -> dict[str, object]:
    """An item whose right answer is the item's number."""
    return {
        "id": f"item-{number}",
        "category": "ner",
        "max_tokens": 8,
        "messages": [{"role": "user", "content": f"private question {number}"}],
        "grader": {"type": "numeric", "expected": number},
    } | change


def right(body: Body) -> str:
    return asked(body).rpartition(" ")[2]


def wrong(_: Body) -> str:
    return "private answer"


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, valkey_url: str) -> Setting:
    """Writes configuration and suite. Returns the options that name these files."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def write(servers: Mapping[str, Oracle], items: list[dict[str, object]] | None = None) -> tuple[str, ...]:
        entries = [
            {
                "model_name": "smart",
                "litellm_params": {
                    "model": f"openai/{name}",
                    "api_base": server.api_base,
                    "api_key": SECRET,
                    "input_cost_per_token": 1e-4,
                    "output_cost_per_token": 1e-4,
                },
                "model_info": {"id": name},
            }
            for name, server in servers.items()
        ]
        plugin = {"groups": {"smart": {}}, "redis_url": valkey_url}
        config, suite = tmp_path / "config.yaml", tmp_path / "suite.jsonl"
        config.write_text(yaml.safe_dump({"model_list": entries, "callback_settings": {"slo_router": plugin}}))
        suite.write_text("\n".join(map(json.dumps, items or [item(n) for n in range(10)])))
        return "--config", str(config), "--suite", str(suite)

    return write


def quality(*arguments: str) -> Result:
    result = CliRunner().invoke(app, ["quality", *arguments])
    assert SECRET not in result.output
    assert "private" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def document(*arguments: str) -> Any:
    return json.loads(quality(*arguments, "--json").stdout)


def test_scores_are_written_beside_the_latencies_and_the_router_reads_them(setting: Setting, valkey_url: str) -> None:
    measured = {"ttft_ms": "20", "timestamp": "1700000000", "schema": "1"}
    with oracle(right) as good, oracle(wrong) as bad, redis.Redis.from_url(valkey_url, decode_responses=True) as link:
        link.hset("metrics:good:ner", mapping=measured)
        result = quality(*setting({"good": good, "bad": bad}))
        found = {name: link.hgetall(f"metrics:{name}:ner") for name in ("good", "bad")}
    assert result.exit_code == 0, result.output
    assert {name: found["good"][name] for name in measured} == measured
    assert (found["good"]["quality_score"], found["good"]["quality_n"]) == ("1", "10")
    assert (found["bad"]["quality_score"], found["bad"]["timestamp"]) == ("0", found["bad"]["quality_timestamp"])
    assert abs(float(found["good"]["quality_timestamp"]) - time.time()) < 60
    metrics, dropped = read_metrics(found["bad"], time.time())
    assert metrics is not None
    assert (metrics.quality_score, metrics.quality_n, metrics.ttft_s, dropped) == (0.0, 10, None, [])
    assert "yes" in result.stdout  # told apart
    assert good.bodies[0] | {"messages": None} == {
        "model": "good",
        "messages": None,
        "max_tokens": 8,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert sorted(map(asked, good.bodies)) == [f"private question {n}" for n in range(10)]  # no salt


def test_an_empty_answer_is_a_wrong_one_and_json_has_every_item_and_pair(setting: Setting) -> None:
    with oracle(right) as good, oracle(lambda _: "") as bad:
        found = document(*setting({"bad": bad, "good": good}), "--no-publish")
    assert found["results"][0]["problems"] == {}
    assert [set(cell["scores"].values()) for cell in found["results"]] == [{0.0}, {1.0}]
    (pair,) = found["differences"]
    assert (pair["first"], pair["second"], pair["difference"], pair["told_apart"]) == ("good", "bad", 1.0, True)


def test_a_second_run_and_a_new_grader_ask_nobody(setting: Setting) -> None:
    with oracle(right) as server:
        options = setting({"a": server})
        assert document(*options)["results"][0]["quality_score"] == 1
        stricter = [item(n, grader={"type": "exact", "expected": f"{n + n % 2}"}) for n in range(10)]
        again = document(*setting({"a": server}, stricter))
        assert (again["results"][0]["quality_score"], len(server.bodies)) == (0.5, 10)
        quality(*options, "--no-cache", "--no-publish")
        assert len(server.bodies) == 20
    assert "deleted" in quality("--clear-cache").stdout
    assert not default_path().exists()


def test_a_run_that_was_killed_goes_on_where_it_stopped(setting: Setting) -> None:
    killing = threading.Event()

    def until_killed(body: Body) -> str:
        if len(server.bodies) > 5:
            killing.wait(60)
        return right(body)

    with oracle(until_killed) as server:
        options = (*setting({"a": server}, [item(n) for n in range(30)]), "--no-publish")  # else it waits for the lock
        command = [str(Path(sys.executable).with_name("slo-bench")), "quality", *options, "--concurrency", "1"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as killed:
            deadline_s = time.monotonic() + 60
            while len(server.bodies) <= 5 and time.monotonic() < deadline_s:
                time.sleep(0.01)
            killed.kill()
        killing.set()
        before = len(server.bodies)
        again = document(*options)
    assert before == 6
    assert again["results"][0]["quality_n"] == 30
    assert again["requests_sent"] == 25  # the one that was on its way is asked again


def test_errors_are_no_wrong_answers_and_a_cell_with_many_is_not_written(setting: Setting, valkey_url: str) -> None:
    broken = {f"private question {n}" for n in (3, 7)}

    def says(body: Body) -> str | int:
        return 503 if asked(body) in broken else right(body)

    with oracle(says) as server, redis.Redis.from_url(valkey_url, decode_responses=True) as link:
        options = setting({"a": server})
        result = quality(*options)
        assert (result.exit_code, link.keys("metrics:*")) == (2, [])
        assert "2 http_503" in result.stdout
        assert "a ner: not written: 8 of 10 items graded, expected 90%" in result.stderr
        broken.pop()
        assert quality(*options).exit_code == 0  # 9 of 10 are enough
        assert link.hget("metrics:a:ner", "quality_n") == "9"
        assert len(server.bodies) == 12  # only the errors were asked again


def test_the_budget_and_the_time_stop_it(setting: Setting) -> None:
    with oracle(right) as server:
        options = setting({"a": server}, [item(n) for n in range(30)])
        result = quality(*options, "--budget-usd", "0.03")  # 0.0015 each, more if in doubt
        assert result.exit_code == 2
        assert "the budget is used up" in result.stderr
        assert 0 < len(server.bodies) <= 20
        server.says = lambda _: time.sleep(0.1) or "1"  # type: ignore[func-returns-value]
        result = quality(*options, "--max-minutes", "0.003")
        assert "the time was up; run it again to continue" in result.stderr


def test_the_judge_is_asked_in_both_orders_and_warned_of_itself(setting: Setting) -> None:
    grader = {"type": "judge", "expected": "reference"}
    items = [item(n, grader=grader) for n in range(6)]

    def judges(body: Body) -> str:
        text = asked(body)
        if not text.startswith("You compare"):
            return right(body)
        number = int(text.split("private question ")[1].split()[0])
        reference_is_a = text.index("reference") < text.index("<answer_b>")
        better = ("A" if reference_is_a else "B") if number == 0 else "B" if reference_is_a else "A"
        return {4: "Verdict: A", 5: "who knows"}.get(number, f"Verdict: {better}")

    with oracle(judges) as server:
        options = setting({"a": server, "b": server}, items)
        left_out = quality(*options, "--no-publish")
        assert (left_out.exit_code, "6 items left out: their grader needs --judge ID" in left_out.stderr) == (2, True)
        result = quality(*options, "--no-publish", "--deployments", "b", "--judge", "a", "--json")
        (cell,) = json.loads(result.stdout)["results"]
        assert cell["scores"] == {"item-0": 0, "item-1": 1, "item-2": 1, "item-3": 1, "item-4": 0.5}
        assert cell["problems"] == {"judge_unreadable": 1}
        assert "judged by" not in result.stderr
        assert len(server.bodies) == 6 + 2 * 6
        itself = quality(*options, "--no-publish", "--judge", "a")
        assert "a: judged by a, which may be itself; expect a bias for it" in itself.stderr


def test_generated_code_runs_only_where_it_is_allowed(setting: Setting) -> None:
    grader = {"type": "code", "expected": "assert f(2) == 4"}
    with oracle(lambda _: "```python\ndef f(x):\n    return x * x\n```") as server:
        options = setting({"a": server}, [item(1), item(2, grader=grader)])
        refused = quality(*options, "--no-publish", "--dry-run", "--json")
        assert json.loads(refused.stdout)["cells"][0]["items"] == 1
        (cell,) = document(*options, "--no-publish", "--allow-code")["results"]
    assert cell["scores"] == {"item-1": 0.0, "item-2": 1.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--suite", "missing.jsonl"), "missing.jsonl: No such file"),
        (("--deployments", "gpt"), "--deployments: 'gpt' is unknown"),
        (("--categories", "code"), "--categories: 'code' is unknown"),
        (("--redis-url", "redis://:hidden-word@127.0.0.1:1/0"), "does not answer: ConnectionError"),
    ],
)
def test_a_call_that_cannot_be_meant_asks_nobody(arguments: tuple[str, ...], message: str, setting: Setting) -> None:
    with oracle(right) as server:
        result = quality(*setting({"a": server}), *arguments)
        assert server.bodies == []
    assert result.exit_code == 2
    assert message in result.stderr
    assert "hidden-word" not in result.output


def test_through_the_proxy_deployments_are_asked_by_their_id(setting: Setting) -> None:
    with oracle(right) as proxy, oracle(right) as direct:
        options = setting({"a": direct})
        assert quality(*options, "--via-proxy", proxy.api_base, "--proxy-key", SECRET).exit_code == 0
        assert direct.bodies == []
        assert proxy.bodies[0]["model"] == "a"
        assert proxy.bodies[0]["disable_fallbacks"] is True
