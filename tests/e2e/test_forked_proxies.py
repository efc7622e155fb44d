"""A proxy of the tests is forked only if it behaves like one that was started as users start it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from evaluation.shared.stock_proxy import QUIET, Process, launch
from tests.shared.forked_proxies import Forked, fork

Launch = Callable[[Sequence[str], Mapping[str, str], Path], Process]
SCRIPT = """#!{python}
import os, sys, time
print(__name__, __file__, sys.argv, os.getcwd(), os.getsid(0) == os.getpid(), sorted(os.environ.items()))
print("to stderr", file=sys.stderr)
time.sleep(60 if "wait" in sys.argv else 0)
sys.exit(3)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "bin" / "litellm"
    path.parent.mkdir()
    path.write_text(SCRIPT.format(python=sys.executable), encoding="utf-8")
    path.chmod(0o755)
    return path


def started(
    script: Path, *words: str, how: Launch = fork, variables: Mapping[str, str] | None = None
) -> tuple[Process, Path]:
    log = script.with_name(f"{how.__name__}.log")
    environment = {**os.environ, **QUIET, "LITELLM_MASTER_KEY": "sk-1", **(variables or {})}
    return how([str(script), *words], environment, log), log


def test_a_fork_prints_and_ends_as_a_process_of_its_own_does(script: Path) -> None:
    forked, forks_log = started(script, "--port", "1")
    plain, plain_log = started(script, "--port", "1", how=launch)
    assert isinstance(forked, Forked)
    assert (forked.wait(60), plain.wait(60)) == (3, 3)
    assert (forked.poll(), forked.wait()) == (3, 3)
    assert forks_log.read_text() == plain_log.read_text()
    assert "to stderr" in plain_log.read_text()


def test_a_fork_is_waited_for_and_killed_with_its_group(script: Path) -> None:
    forked, _ = started(script, "wait")
    assert forked.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        forked.wait(0.01)
    os.killpg(forked.pid, signal.SIGKILL)
    assert forked.wait(60) == -signal.SIGKILL


@pytest.mark.parametrize("name", ["PROXY_BATCH_WRITE_AT", "LITELLM_MODE", "PYTHONPATH", "HTTPS_PROXY"])
def test_where_litellm_read_another_value_a_proxy_is_started_as_users_do(script: Path, name: str) -> None:
    process, _ = started(script, variables={name: "other"})
    assert isinstance(process, subprocess.Popen)
    assert process.wait(60) == 3
