"""In tests, one process that has imported LiteLLM forks all stock proxies of a run (fork_server.py).

Proxies with a database are started as users start them, because LiteLLM reads their variables when it is imported. If
the system has no `pidfd`, all proxies are started so.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from evaluation.shared import stock_proxy
from evaluation.shared.stock_proxy import QUIET, Process, launch

SERVER = Path(__file__).with_name("fork_server.py")


@pytest.fixture(scope="session", autouse=True)
def _proxies_are_forked() -> Iterator[None]:
    with mock.patch.object(stock_proxy, "launch", fork):
        yield


class Forked:
    """A proxy that is another process's child, with the interface of `subprocess.Popen`."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self._connection = connection
        self._status: int | None = None

    def poll(self) -> int | None:
        """The exit status, `None` while the proxy runs."""
        try:
            return self.wait(0.0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the exit status. Raises subprocess.TimeoutExpired."""
        if self._status is None:
            self._connection.settimeout(timeout)
            try:
                self._status = _read(self._connection)
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired("litellm", timeout or 0.0) from None
            self._connection.close()
        return self._status


def fork(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Process:
    """Starts a proxy. Forks it, if that makes no difference to the proxy."""
    if not hasattr(os, "pidfd_open"):
        return launch(command, environment, log)
    connection = _connected()
    asked = {"command": command, "environment": environment, "log": str(log)}
    connection.sendall(json.dumps(asked).encode() + b"\n")
    if (pid := _read(connection)) is not None:
        return Forked(pid, connection)
    connection.close()
    return launch(command, environment, log)


def _read(connection: socket.socket) -> Any:
    return json.loads(connection.recv(64))


def _connected() -> socket.socket:
    """A connection to the fork server of this run, which the first test starts. A run's workers have one parent."""
    run_pid = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    address = f"\0slo-router-tests-{run_pid}"  # an abstract socket leaves no file
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(address)
        except ConnectionRefusedError:
            connection.close()
        else:
            return connection
        with socket.socket(socket.AF_UNIX) as listening, suppress(OSError):  # another worker started it
            listening.bind(address)
            listening.listen()
            _start(listening.fileno(), run_pid)


def _start(listening_fd: int, run_pid: int) -> None:
    os.set_inheritable(listening_fd, True)
    command = [sys.executable, "-P", str(SERVER), str(listening_fd), str(run_pid)]
    own = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")
    }  # no variables of pytest
    quiet = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1)]
    os.posix_spawn(command[0], command, {**own, **QUIET}, file_actions=quiet, setsid=True)
