"""A process that has imported LiteLLM's proxy forks stock proxies, because imports take most of a proxy's start.

python -P fork_server.py SOCKET PID     listens on an open socket; ends when the process PID does

A fork runs the installed `litellm` as its main program, with the given arguments, environment and log, and nothing
patched. LiteLLM reads some variables while it is imported. If one of them differs, the server refuses, and the proxy
must be started as users start it. Each message is one line of JSON:

    client: {"command": [...], "environment": {...}, "log": path}
    server: the process id, or null if it refuses; later the exit status, negative for a signal
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import selectors
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_Environ = type(os.environ)


@contextmanager
def _reads_noted() -> Iterator[set[str]]:
    """Yields the names that are looked up in the environment, whether they are set or not."""
    names: set[str] = set()
    read = _Environ.__getitem__

    def note(self: os._Environ[str], name: str) -> str:
        names.add(name)
        return read(self, name)

    _Environ.__getitem__ = note  # type: ignore[method-assign]
    yield names
    _Environ.__getitem__ = read  # type: ignore[method-assign]


def _import_litellm() -> dict[str, str | None]:
    """Imports LiteLLM. Returns the variables that it read, `None` for one that is not set."""
    with _reads_noted() as names:
        import litellm.proxy.proxy_cli  # noqa: PLC0415
        import litellm.proxy.proxy_server  # noqa: F401, PLC0415
    gc.freeze()  # a fork's collection would copy these objects
    return {name: os.environ.get(name) for name in names}


def _may_fork(environment: dict[str, str], read: dict[str, str | None]) -> bool:
    names = {name for name in environment.keys() | os.environ.keys() if name.lower().endswith("_proxy")}  # all are read
    told = {name: environment.get(name) for name in read.keys() | names}
    return told == {**{name: os.environ.get(name) for name in names}, **read}


def _serve(listening: socket.socket, until_pid: int, read: dict[str, str | None]) -> dict[str, Any] | None:
    """In a fork, returns the request that the fork must run. In the server, returns `None` at the end."""
    with selectors.DefaultSelector() as events:
        events.register(listening, selectors.EVENT_READ)
        events.register(os.pidfd_open(until_pid), selectors.EVENT_READ, data="end")
        while True:
            for key, _ in events.select():
                if key.data == "end":
                    return None
                if key.data is not None:  # a proxy has ended
                    events.unregister(key.fd)
                    os.close(key.fd)
                    pid, connection = key.data
                    _send(connection, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                    continue
                connection, _ = listening.accept()
                with connection.makefile(encoding="utf-8") as lines:
                    asked: dict[str, Any] = json.loads(lines.readline())
                if not _may_fork(asked["environment"], read):
                    _send(connection, None)
                elif (pid := os.fork()) == 0:
                    os.setsid()
                    _send(connection, os.getpid())
                    return asked
                else:
                    events.register(os.pidfd_open(pid), selectors.EVENT_READ, data=(pid, connection))


def _send(connection: socket.socket, message: object) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def _become(command: list[str], environment: dict[str, str], log: str) -> None:
    with Path(log).open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = command
    runpy.run_path(command[0], run_name="__main__")


if __name__ == "__main__":
    fd, until = map(int, sys.argv[1:])
    sys.path.insert(0, str(Path(sys.executable).parent))  # the script's folder, as in a normal start
    with socket.socket(fileno=fd) as listening:
        told = _serve(listening, until, _import_litellm())
    if told is not None:
        _become(**told)
