"""A real Postgres with LiteLLM's schema, so that the proxy under test issues, limits and bills real virtual keys.

LiteLLM reaches Postgres through Prisma, whose native engines come from a host of their own. Two ways to the same place:

    ../shared/virtual-keys beside the repository   its `up` does everything, with Prisma's WASM engine (root, node, npm)
    otherwise                                      `prisma` fetches its own engines, the rest is done here

Both use the Postgres server of Debian's package, which is installed where it is missing and this is root. Prisma writes
LiteLLM's client, 10 MB of Python that every proxy would read from then on, into its own package; it gets a copy.
Downloads aside, nothing outlives the `with` block.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from evaluation.shared.stock_proxy import free_port
from tests.shared.repository import ROOT

SHARED = ROOT.parent / "shared" / "virtual-keys"
SITE_PACKAGES = Path(sysconfig.get_path("purelib"))
TIMEOUT_S = 600.0  # downloads included
COMPILE_ONCE = {"PYTHONDONTWRITEBYTECODE": ""}  # Prisma's client is 5 MB of Python, read by five processes
INSTALL_POSTGRES = """
export DEBIAN_FRONTEND=noninteractive
apt-get update
install="apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=120"
$install postgresql-common &&
sed -i 's/^#*create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf &&
$install postgresql
"""  # without a cluster of the system's own, which would start at once and stay


class UnavailableError(Exception):
    """Postgres or Prisma cannot be had on this machine; the message says what is missing."""


@contextmanager
def litellm_database() -> Iterator[dict[str, str]]:
    """Runs Postgres while the block runs; yields the environment in which the stock proxy uses it.

    Raises:
        UnavailableError: something is missing that cannot be installed.
    """
    binaries = _postgres_binaries()
    parent = Path("/tmp")  # noqa: S108  # the user postgres must get there, and a socket's path must be short
    directory = Path(tempfile.mkdtemp(prefix="slo-postgres-", dir=parent))
    directory.chmod(0o755)
    server = _Server(binaries, directory, free_port())
    shutil.copytree(SITE_PACKAGES / "prisma", directory / "python" / "prisma")
    path = os.pathsep.join(filter(None, [str(directory / "python"), os.environ.get("PYTHONPATH")]))
    added = {**COMPILE_ONCE, "PYTHONPATH": path}
    try:
        yield _shared_way(server, added) if SHARED.is_dir() and _is_root() else _native_way(server, added)
    finally:
        server.stop()
        shutil.rmtree(directory)


class _Server:
    """Where one Postgres lives. It runs as the user postgres where the tests run as root, which it would refuse."""

    def __init__(self, binaries: Path, directory: Path, port: int) -> None:
        self.directory, self.port = directory, port
        self.url = f"postgresql://litellm@127.0.0.1:{port}/litellm"
        self._binaries, self._data = binaries, directory / "pg" / "data"

    def start(self) -> None:
        home = self._data.parent
        home.mkdir()
        if _is_root():
            shutil.chown(home, "postgres")
        self._run("initdb", "-D", str(self._data), "-U", "litellm", "--auth=trust", "-E", "UTF8", "--no-sync")
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={home} -c fsync=off"
        self._run("pg_ctl", "-D", str(self._data), "-l", str(home / "log"), "-w", "-o", options, "start")
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "litellm", "litellm")

    def migrate(self, scripts: Sequence[Path]) -> None:
        files = [argument for script in scripts for argument in ("-f", str(script))]
        self._run("psql", "-q", "-X", "-v", "ON_ERROR_STOP=1", self.url, *files)

    def stop(self) -> None:
        if (self._data / "postmaster.pid").exists():
            self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        as_user = ["runuser", "-u", "postgres", "--"] if _is_root() else []
        _run([*as_user, str(self._binaries / program), *arguments], log=self.directory / f"{program}.log")


def _shared_way(server: _Server, added: Mapping[str, str]) -> dict[str, str]:
    _need("node", "npm")
    directory = server.directory
    up = [str(SHARED / "up"), str(directory), sys.executable, str(server.port)]
    _run(up, log=directory / "up.log", environment=added)
    sourced = _run(["bash", "-c", f". {directory}/env.sh && env -0"], log=directory / "environment", environment=added)
    return dict(line.split("=", 1) for line in sourced.split("\0") if line)


def _native_way(server: _Server, added: Mapping[str, str]) -> dict[str, str]:
    """Needs the package `prisma` in the tests' environment and Prisma's host of engines."""
    added = {
        **added,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "DATABASE_URL": server.url,
        "DISABLE_SCHEMA_UPDATE": "true",
        "CHECKPOINT_DISABLE": "1",  # Prisma's look for a newer version
    }
    schema = SITE_PACKAGES / "litellm" / "proxy" / "schema.prisma"
    for command in (["py", "fetch"], ["generate", "--schema", str(schema)]):
        prisma = [sys.executable, "-m", "prisma", *command]
        _run(prisma, log=server.directory / "prisma.log", environment=added)
    server.start()
    server.migrate(sorted((SITE_PACKAGES / "litellm_proxy_extras" / "migrations").glob("*/migration.sql")))
    return added


def _postgres_binaries() -> Path:
    """The newest installed server's, after an installation where there is none."""
    found = _installed_servers()
    if not found and _is_root() and shutil.which("apt-get"):
        with tempfile.TemporaryDirectory() as directory:
            _run(["sh", "-c", INSTALL_POSTGRES], log=Path(directory) / "apt.log")
        found = _installed_servers()
    if not found:
        raise UnavailableError("no Postgres server: install Debian's package postgresql")
    return found[-1].parent


def _installed_servers() -> list[Path]:
    servers = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return sorted(servers, key=lambda path: int(path.parts[-3]))


def _is_root() -> bool:
    return os.geteuid() == 0


def _need(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise UnavailableError(f"not installed: {', '.join(missing)}")


def _run(command: list[str], *, log: Path, environment: Mapping[str, str] | None = None) -> str:
    """What the command printed. Its output goes to a file, for a pipe would stay open with the server it starts."""
    everything = {**os.environ, **(environment or COMPILE_ONCE)}
    with log.open("w+", encoding="utf-8") as output:
        try:
            subprocess.run(command, stdout=output, stderr=output, env=everything, check=True, timeout=TIMEOUT_S)
        except (OSError, subprocess.SubprocessError) as error:
            output.seek(0)
            raise UnavailableError(f"{error}; it ended with:\n{output.read()[-1500:]}") from error
        output.seek(0)
        return output.read()
