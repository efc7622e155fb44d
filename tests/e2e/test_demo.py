"""The demo as its users run it: it plays to its end and leaves nothing running, interrupted or not."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from evaluation.demo.endpoints import ROOT
from evaluation.emulator import Handle
from slo_router.contract.redis import embedded
from tests.e2e.conftest import QUALITY, USD_PER_TOKEN

pytestmark = pytest.mark.slow

TIMEOUT_S = 180
SERVES = re.compile(r"http://127\.0\.0\.1:(\d+) serves (\S+)/litellm_config\.yaml")


@pytest.fixture
def short_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("d")  # a socket's path must be short


@contextmanager
def running_demo(directory: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The demo as the leader of its own process group, as a shell starts it. Its files are in `directory`."""
    with subprocess.Popen(
        [sys.executable, "-m", "evaluation.demo", *options],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(directory)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as demo:
        try:
            yield demo
        finally:
            if demo.poll() is None:
                os.killpg(demo.pid, signal.SIGINT)


def assert_nothing_is_left(demo: subprocess.Popen[str], output: str) -> None:
    found = SERVES.search(output)
    assert found is not None, output
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(found[1]))) != 0, "the proxy still listens"
    assert not embedded.status(Path(found[2]) / "valkey").running
    with pytest.raises(ProcessLookupError):  # endpoints, benchmark
        os.killpg(demo.pid, 0)


def test_the_whole_loop_on_the_users_own_endpoints(handles: Sequence[Handle], short_path: Path) -> None:
    listed = short_path / "endpoints.yaml"
    entries = [
        {
            "name": f"own-{handle.name}",
            "model": f"openai/{handle.name}",
            "api_base": handle.api_base,
            "input_cost_per_token": USD_PER_TOKEN[handle.name],
            "output_cost_per_token": USD_PER_TOKEN[handle.name],
            "quality": QUALITY[handle.name],
        }
        for handle in handles
    ]
    listed.write_text(yaml.safe_dump(entries))
    with running_demo(short_path, "--endpoints", str(listed)) as demo:
        output, _ = demo.communicate(timeout=TIMEOUT_S)

    assert demo.returncode == 0, output
    assert "Yours: latencies are measured" in output
    assert re.search(r"batch +4 summarization +\d own-small", output)
    assert re.search(r"legal +2 summarization +2 own-large +met +not own-small", output)
    assert re.search(r"legal +always quality 0\.95 +6 of 6 .* 0%", output)  # routing saves nothing here
    assert re.search(r"all +\d+ of 34 .* [5-9]\d%", output)  # of 34 requests 13 need no more than `small`
    assert "clamped: they asked for more quality than their team's slo_limits allow" in output
    page = re.search(r"slo-router report\): file://(\S+)", output)
    assert page is not None, output
    assert "34 requests" in re.sub(r"<[^>]+>", "", Path(page[1]).read_text(encoding="utf-8"))
    assert re.search(r"\d+ seconds\. Everything that was started is stopped\.", output)
    assert_nothing_is_left(demo, output)


def test_ctrl_c_during_the_benchmark_leaves_nothing_running(short_path: Path) -> None:
    with running_demo(short_path) as demo:
        assert demo.stdout is not None
        output = ""
        while "3  Benchmark" not in output:
            line = demo.stdout.readline()
            assert line, output
            output += line
        time.sleep(1)
        os.killpg(demo.pid, signal.SIGINT)
        rest, _ = demo.communicate(timeout=TIMEOUT_S)

    assert demo.returncode == 128 + signal.SIGINT
    assert "Emulated" in output
    assert "Everything that was started is stopped." in rest
    assert_nothing_is_left(demo, output)
