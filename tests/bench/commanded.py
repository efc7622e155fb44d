"""Runs the agent's commands as a user does, and checks their results."""

from __future__ import annotations

import json
from typing import Any

import redis
from typer.testing import CliRunner, Result

from slo_bench.cli import app

SECRET = "sk-very-secret-4711"
QUICK = ("--requests", "4", "--categories", "ner", "--timeout-s", "60")


def bench(*arguments: str, command: str = "run") -> Result:
    """Checks that key, address and the shipped workload's words are in no output."""
    result = CliRunner().invoke(app, [command, *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    for private in (SECRET, "127.0.0.1", "Extract"):
        assert private not in result.output
    return result


def document(result: Result) -> Any:
    return json.loads(result.stdout)


def hashes(url: str) -> dict[str, dict[str, str]]:
    with redis.Redis.from_url(url, decode_responses=True) as link:
        return {key: link.hgetall(key) for key in link.scan_iter("*metrics:*")}
