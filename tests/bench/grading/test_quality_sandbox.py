"""Unit tests of generated code: what passes, what fails, and what the code cannot do to the machine."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

from slo_bench.grading.sandbox import code_in, isolation, run_tests

RIGHT = "def add(a, b):\n    return a + b"
TESTS = "assert add(1, 2) == 3\nassert add(-1, 1) == 0"


def commands() -> list[str]:
    """The command lines of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # the process has ended
            found.append(path.read_text(errors="replace"))
    return found


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (RIGHT, "passed"),
        (f"print('hello' * 10_000)\n{RIGHT}", "passed"),
        ("def add(a, b):\n    return a - b", "failed"),
        ("def add(a, b) return a + b", "failed"),
        ("import os\nos._exit(0)", "failed"),  # exits with 0, but before the tests end
        ("import sys\nsys.exit()", "failed"),
        ("x = 'y' * (4 << 30)", "failed"),  # more memory than it gets
        ("open('large', 'wb').write(b'x' * (64 << 20))", "failed"),
        ("\ud800", "failed"),
        ("", "failed"),
    ],
)
async def test_code_passes_only_if_it_and_its_tests_ran_to_the_end(code: str, outcome: str) -> None:
    assert await run_tests(code, TESTS, timeout_s=20) == outcome


async def test_time_is_up_for_code_and_for_what_it_started() -> None:
    mark = f"time.sleep({30_000 + os.getpid()})"
    child = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; {mark}'])"
    code = f"{child}\nwhile True: pass"
    assert await run_tests(code, TESTS, timeout_s=0.6) == "timeout"
    deadline_s = time.monotonic() + 60
    while any(mark in command for command in commands()):  # a process that is killed takes a moment to end
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.05)


@pytest.mark.skipif(not isolation(), reason="this system lets no user make namespaces")
async def test_code_has_no_network_and_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    code = """
import os, socket
assert "OPENAI_API_KEY" not in os.environ
try:
    socket.create_connection(("127.0.0.1", 80), timeout=1)
except OSError as error:
    assert error.errno == 101, error  # network is unreachable: not even the loopback is up
"""
    assert await run_tests(code, "pass", timeout_s=20) == "passed"


@pytest.mark.skipif(os.geteuid() != 0, reason="not run by root")
async def test_root_becomes_nobody(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s")
    secret.chmod(0o600)
    assert await run_tests(f"open({str(secret)!r})", "pass", timeout_s=20) == "failed"


def test_the_code_of_an_answer() -> None:
    assert code_in("Here:\n```python\na = 1\n```\nand\n```\nb = 2\n```") == "a = 1\n\n\nb = 2\n"
    assert code_in("a = 1") == "a = 1"
