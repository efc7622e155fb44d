"""Runs unit tests on the code in an answer, in a process that is limited and ended. Off unless the user allows it.

The process has a temporary folder as working directory and home, no environment and no site packages. CPU time, memory,
file size, open files and processes are limited (see `harness`). After a wall-clock limit the whole process group is
killed. Where Linux lets users make namespaces, the process also has no network, and a process namespace ends every
descendant. Started by root, the process runs as `nobody`.

No file is hidden: the code can read and write what its user can. The code can keep a core busy until the time is up. A
flaw of the kernel would let it escape. For models that you don't trust, run the agent in its own container.

The code passes if it and every test run to the end without an exception. Ending the process early is not a pass.
"""

from __future__ import annotations

import asyncio
import functools
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import Literal, TypeAlias

from slo_bench.grading.text import fenced_blocks

Outcome: TypeAlias = Literal["passed", "failed", "timeout", "unavailable"]
MEMORY_BYTES = 1 << 30
_HARNESS = Path(__file__).with_name("harness.py")
_USER = 65_534 if os.geteuid() == 0 else None  # nobody
_NAMESPACES = ("--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--")


def code_in(answer: str) -> str:
    """The answer's fenced blocks, joined, or the whole answer if it has none."""
    return "\n\n".join(fenced_blocks(answer)) or answer


@functools.cache
def isolation() -> Sequence[str]:
    """The command prefix that takes away network and other processes; empty where the system does not allow it."""
    tool = shutil.which("unshare")
    return (tool, *_NAMESPACES) if tool and _works(tool, *_NAMESPACES, "/bin/true") else ()


@functools.cache
def interpreter() -> str | None:
    """This Python, else the system's, else `None`: `nobody` may not be allowed to run root's Python."""
    candidates = (str(Path(sys.executable).resolve()), shutil.which("python3", path=os.defpath))
    return next((path for path in candidates if path and _works(path, "-I", "-S", "-c", "")), None)


def _works(*command: str) -> bool:
    try:
        tried = subprocess.run(command, capture_output=True, check=False, user=_USER, group=_USER)  # noqa: S603
    except OSError:
        return False
    return tried.returncode == 0


async def run_tests(code: str, tests: str, timeout_s: float) -> Outcome:
    """Runs `code`, then `tests`. `unavailable`: no process could be started, which says nothing about the code."""
    return await asyncio.to_thread(_outcome, code, tests, timeout_s)  # not every event loop can start as another user


def _outcome(code: str, tests: str, timeout_s: float) -> Outcome:
    python = interpreter()
    if python is None:
        return "unavailable"
    with tempfile.TemporaryDirectory(prefix="slo-bench-", ignore_cleanup_errors=True) as folder:
        directory = _prepared(folder, code, tests)
        token = secrets.token_hex(16)
        try:
            said = _run(directory, python, token, timeout_s)
        except subprocess.TimeoutExpired:
            return "timeout"
        except OSError:
            return "unavailable"
    if not said.startswith("ready\n"):
        return "unavailable"
    return "passed" if said == f"ready\n{token}" else "failed"


def _run(directory: Path, python: str, token: str, timeout_s: float) -> str:
    """What the harness reports. Raises subprocess.TimeoutExpired."""
    limits = (str(ceil(timeout_s) + 1), str(MEMORY_BYTES))
    with subprocess.Popen(  # noqa: S603  # what it is for
        (*isolation(), python, "-I", "-S", "harness.py", *limits),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=directory,
        env={"HOME": str(directory), "PATH": os.defpath, "LANG": "C.UTF-8"},
        start_new_session=True,
        user=_USER,
        group=_USER,
        extra_groups=() if _USER else None,
    ) as process:
        try:
            said, _ = process.communicate(f"{token}\n".encode(), timeout=timeout_s)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return said.decode(errors="replace")


def _prepared(folder: str, code: str, tests: str) -> Path:
    directory = Path(folder)
    (directory / "answer.py").write_text(code, encoding="utf-8", errors="replace")
    (directory / "tests.py").write_text(tests, encoding="utf-8")
    (directory / "harness.py").write_bytes(_HARNESS.read_bytes())
    if _USER is not None:
        for path in (directory, *directory.iterdir()):
            os.chown(path, _USER, _USER)
    return directory
