"""Starts the stock LiteLLM proxy as its users do, with `litellm --config FILE`, and stops it without leaving a process.

with StockProxy(document, directory) as proxy:
    httpx.post(f"{proxy.url}/v1/chat/completions", headers=proxy.auth, json={...})
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self

import httpx
import yaml

START_TIMEOUT_S = 200.0  # enough on a busy machine; a test's own time limit, which shows no log, is longer
STOP_TIMEOUT_S = 5.0  # with a database the proxy does not end by itself
QUIET = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # no download of the price map at start
    "LITELLM_MODE": "PRODUCTION",  # LiteLLM reads no .env file
    "DISABLE_AIOHTTP_TRUST_ENV": "True",
    "PYTHONDONTWRITEBYTECODE": "",  # else each worker compiles Prisma's client of 5 MB anew
    "NO_PROXY": "127.0.0.1,localhost",
}
# Before 3.12 CPython may crash when a garbage collection ends one of LiteLLM's streams (docs/operations.md). Fewer
# collections make that rarer. LiteLLM's proxies read this variable at their start.
if sys.version_info < (3, 12):
    QUIET["PYTHON_GC_THRESHOLD"] = "100000,20,20"

# This client reads no certificates, which would take longer than a request. It opens a connection for each request, so
# that any worker may take it.
LOCAL = httpx.Client(
    verify=False,  # noqa: S501  # http://127.0.0.1 has none
    trust_env=False,
    timeout=120.0,  # a real model on a busy machine takes a minute
    limits=httpx.Limits(max_keepalive_connections=0),
)


def free_port() -> int:
    """A TCP port for a server that will listen on it. The system gives it to no other program until this process ends.

    A socket that is bound and does not listen reserves the port. The system then gives the port to no other program,
    neither to a server nor as the local end of a connection. But a server that names the port can bind it, because
    servers set SO_REUSEADDR.
    """
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        port: int = kept.getsockname()[1]
        kept.detach()  # stays open
        return port


class Process(Protocol):
    """The interface of a proxy's process, such as `subprocess.Popen`. The process leads its own process group."""

    pid: int

    def poll(self) -> int | None:
        """The exit status, negative for a signal; `None` while the process runs."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the exit status. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        ...


def launch(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Process:
    """A new process, as users start one; its output is added to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )


class StockProxy:
    """One proxy on a loopback port. `document` is its whole YAML; `environment` is added to this process's own."""

    def __init__(
        self,
        document: Mapping[str, object],
        directory: Path,
        *,
        workers: int = 1,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = directory / "proxy.log"
        self.config_path = directory / "litellm_config.yaml"
        self.config_path.write_text(yaml.safe_dump(dict(document), sort_keys=False), encoding="utf-8")
        self.master_key = "sk-" + secrets.token_hex(16)
        self._workers = workers
        self._environment = {**os.environ, **QUIET, "LITELLM_MASTER_KEY": self.master_key, **(environment or {})}
        self._process: Process | None = None

    @property
    def auth(self) -> dict[str, str]:
        """The request header of the master key."""
        return {"Authorization": f"Bearer {self.master_key}"}

    @property
    def log(self) -> str:
        """What the proxy has printed so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace") if self.log_path.exists() else ""

    @property
    def exit_status(self) -> int | None:
        """The exit status of a proxy that ended by itself, negative for a signal; `None` while the proxy runs."""
        return None if self._process is None else self._process.poll()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts the proxy and waits until it answers. Raises RuntimeError with the log's end if it does not."""
        command = [str(Path(sys.executable).with_name("litellm")), "--config", str(self.config_path)]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--num_workers", str(self._workers)]
        if self._workers > 1:  # uvicorn replaces a worker that is silent for 5 s, and imports may take longer
            command += ["--timeout_worker_healthcheck", "90"]
        self._process = launch(command, self._environment, self.log_path)
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.stop()
                raise RuntimeError(f"the proxy did not start:\n{self.log[-3000:]}")
            time.sleep(0.2)

    def wait(self) -> int:
        """Waits until the proxy ends by itself and returns its exit status."""
        return self._process.wait(START_TIMEOUT_S) if self._process is not None else 0

    def stop(self) -> None:
        """Ends the proxy and all of its workers."""
        process, self._process = self._process, None
        if process is None:
            return
        _signal_group(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
        _signal_group(process, signal.SIGKILL)  # workers that outlived their parent
        process.wait()

    def _answers(self) -> bool:
        try:
            return LOCAL.get(f"{self.url}/health/liveliness", timeout=5.0).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False


def _signal_group(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
