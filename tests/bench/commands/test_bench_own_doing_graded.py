"""Suites and sweeps, too, blame no deployment for the agent's own failures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from tests.bench.commanded import bench, document, hashes
from tests.shared.particular_server import GOOD, THOUGHT, particular, refuse, whole
from tests.shared.scripted_server import DONE, chunk, delta, stream, usage

Configure = Callable[..., str]


SHOWN = whole(stream(chunk(delta(reasoning_content="hm")), chunk(delta("length")), chunk(usage(9, 8)), DONE))
OPEN = whole(stream(chunk(delta(content="<think>hm")), chunk(delta("length")), chunk(usage(9, 8)), DONE))
ITEMS = [
    {
        "id": f"item-{n}",
        "category": "ner",
        "max_tokens": 8,
        "messages": [{"role": "user", "content": "Is it?"}],
        "grader": {"type": "exact", "expected": "Yes, it is"},
    }
    for n in range(4)
]


def suite(config: str, tmp_path: Path) -> tuple[str, ...]:
    path = tmp_path / "suite.jsonl"
    path.write_text("\n".join(map(json.dumps, ITEMS)))
    return "--config", config, "--suite", str(path), "--no-cache", "--json"


def test_a_sweep_takes_a_refusal_for_no_saturation(configure: Configure, valkey_url: str) -> None:
    asked = iter(range(1_000))
    with particular(lambda _: GOOD if next(asked) < 8 else refuse(402, "no credit")) as server:
        arguments = ("--config", configure(server.api_base), "--lengths", "32,64", "--rates", "40", "--step-s", "0.1")
        result = bench(*arguments, command="sweep")
        again = bench(*arguments, command="sweep")
    assert "no prompt of 32 tokens was answered, because: HTTP 402: no credit; top up" in again.stderr
    assert "not swept to its end: at 40/s most requests said nothing, because: HTTP 402: no credit" in result.stderr
    assert hashes(valkey_url) == {}


def test_a_model_without_temperature_is_graded_without(configure: Configure, tmp_path: Path, valkey_url: str) -> None:
    words = "Unsupported value: 'temperature' does not support 0 with this model."
    with particular(lambda one: refuse(400, words) if "temperature" in one.body else GOOD) as server:
        result = bench(*suite(configure(server.api_base, "openai/gpt-5"), tmp_path), command="quality")
    assert (result.exit_code, hashes(valkey_url)["metrics:small:ner"]["quality_score"]) == (0, "1")
    assert document(result)["notes"] == {"small": ["temperature is refused: asked without"]}


@pytest.mark.parametrize("thought", [THOUGHT, SHOWN, OPEN], ids=["hidden", "shown", "in the text"])
def test_reasoning_that_left_no_room_for_an_answer_is_no_wrong_answer(
    thought: bytes, configure: Configure, tmp_path: Path, valkey_url: str
) -> None:
    with particular(lambda one: GOOD if one.body["max_tokens"] == 64 else thought) as server:
        options = suite(configure(server.api_base), tmp_path)
        roomy = bench(*options, command="quality")
        assert (roomy.exit_code, hashes(valkey_url)["metrics:small:ner"]["quality_score"]) == (0, "1")
        server.answers = lambda _: thought
        redis.Redis.from_url(valkey_url).flushall()
        endless = bench(*options, command="quality")
    (row,) = document(endless)["results"]
    assert (endless.exit_code, hashes(valkey_url), row["problems"]) == (2, {}, {"reasoning_only": 4})
    assert "4 items not graded, because: reasoning used up max_tokens" in endless.stderr


def test_a_suite_says_why_nobody_answered(configure: Configure, tmp_path: Path, valkey_url: str) -> None:
    with particular(lambda _: refuse(403, "team?")) as server:
        result = bench(*suite(configure(server.api_base), tmp_path), command="quality")
    assert (result.exit_code, hashes(valkey_url)) == (2, {})
    assert "small ner: 4 items not graded, because: HTTP 403: team?; check api_key" in result.stderr
