"""A writer that is killed at any moment leaves one run's metrics whole, and keeps what others wrote beside them."""

from __future__ import annotations

import random
import subprocess
import sys
from time import sleep

import pytest
import redis

from evaluation.shared.publisher import run_result
from slo_router.contract.metrics_hash import write_metrics
from tests.shared.repository import ROOT

KEY = "metrics:small:ner"
OTHERS = {"quality_score": "0.8", "quality_n": "40", "fit_a": "1.5"}


def kill_while_publishing(url: str, after_s: float) -> int:
    """Kills a publisher some time after its first write. Checks the hash and returns the run in it."""
    command = [sys.executable, "-m", "evaluation.shared.publisher", url]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as writer, redis.Redis.from_url(url) as link:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"published\n"
        sleep(after_s)
        writer.kill()
        writer.wait()
        found = {name.decode(): value.decode() for name, value in link.hgetall(KEY).items()}
    number = round(float(found["timestamp"]))
    assert found == write_metrics(run_result(number).metrics()) | OTHERS
    return number


def prepared(url: str) -> str:
    with redis.Redis.from_url(url) as link:
        link.hset(KEY, mapping=OTHERS)
    return url


def test_a_kill_leaves_the_metrics_of_one_run(valkey_url: str) -> None:
    assert kill_while_publishing(prepared(valkey_url), after_s=0.05) >= 1


@pytest.mark.slow
def test_sixty_kills_at_random_moments_leave_the_metrics_of_one_run_each(valkey_url: str) -> None:
    rng = random.Random(5)
    last = [kill_while_publishing(prepared(valkey_url), after_s=rng.uniform(0, 0.2)) for _ in range(60)]
    assert len(set(last)) > 30  # and not always the same one
    assert {number % 2 for number in last} == {0, 1}
