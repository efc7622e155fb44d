"""A real Postgres with LiteLLM's schema, so that a proxy issues, limits and bills real virtual keys.

LiteLLM reaches Postgres through Prisma, whose native engines come from Prisma's own host. There are two ways:

    ../shared/virtual-keys beside the repository   its `up` does everything, with Prisma's WASM engine (root, node, npm)
    otherwise                                      `prisma` fetches its own engines, this module does the rest

Both use the Postgres server of Debian's package. If it is missing and the user is root, it is installed. Prisma writes
LiteLLM's client, 10 MB of Python, into its own package, where every later proxy would read it. So Prisma works on a
copy of its package. Apart from downloads, nothing is left after the `with` block.
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

from evaluation.shared.debian import INSTALL, UnavailableError, found_or_installed
from evaluation.shared.results import ROOT
from evaluation.shared.stock_proxy import free_port

SHARED = ROOT.parent / "shared" / "virtual-keys"
SITE_PACKAGES = Path(sysconfig.get_path("purelib"))
TIMEOUT_S = 600.0  # downloads included
COMPILE_ONCE = {"PYTHONDONTWRITEBYTECODE": ""}  # Prisma's client is 5 MB of Python, read by five processes
INSTALL_POSTGRES = f"""
{INSTALL} postgresql-common &&
sed -i 's/^#*create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf &&
{INSTALL} postgresql
"""  # without a system cluster, which would start at once and stay
SCHEMA = SITE_PACKAGES / "litellm" / "proxy" / "schema.prisma"
SPEND_DELIVERY = """
CREATE TYPE "AccountingDeliveryState" AS ENUM ('pending', 'applied', 'parked');
CREATE TABLE "LiteLLM_SpendLogDelivery" (
    delivery_id TEXT PRIMARY KEY, request_id TEXT NOT NULL,
    state "AccountingDeliveryState" NOT NULL DEFAULT 'pending', accounting_payload JSONB NOT NULL,
    is_batch BOOLEAN NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, applied_at TIMESTAMP(3),
    last_error TEXT, created_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP);
"""  # as in LiteLLM's schema.prisma


@contextmanager
def litellm_database() -> Iterator[dict[str, str]]:
    """Runs Postgres while the block runs; yields the environment in which the stock proxy uses it.

    Raises:
        UnavailableError: something is missing that cannot be installed.
    """
    with _server() as server:
        directory = server.directory
        shutil.copytree(SITE_PACKAGES / "prisma", directory / "python" / "prisma")
        path = os.pathsep.join(filter(None, [str(directory / "python"), os.environ.get("PYTHONPATH")]))
        added = {**COMPILE_ONCE, "PYTHONPATH": path}
        environment = _shared_way(server, added) if SHARED.is_dir() and _is_root() else _native_way(server, added)
        server.complete()
        yield environment


@contextmanager
def litellm_tables() -> Iterator[str]:
    """Runs Postgres with LiteLLM's tables only, without the client that a proxy needs; yields the URL.

    Raises:
        UnavailableError: there is no Postgres.
    """
    with _server() as server:
        server.start()
        server.migrate(_migrations())
        server.complete()
        yield server.url


@contextmanager
def _server() -> Iterator[_Server]:
    """A server with its own directory, not started yet. Stops it and deletes the directory after the block."""
    binaries = _postgres_binaries()
    parent = Path("/tmp")  # noqa: S108  # the user postgres needs access, and a socket's path must be short
    directory = Path(tempfile.mkdtemp(prefix="slo-postgres-", dir=parent))
    directory.chmod(0o755)
    server = _Server(binaries, directory, free_port())
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory)


def _migrations() -> list[Path]:
    return sorted((SITE_PACKAGES / "litellm_proxy_extras" / "migrations").glob("*/migration.sql"))


class _Server:
    """One Postgres. If the tests run as root, it runs as the user postgres, because Postgres refuses to run as root."""

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
        self._psql(*(argument for script in scripts for argument in ("-f", str(script))))

    def complete(self) -> None:
        """Creates a table to which LiteLLM writes spend from 1.109 on. The package of migrations may lack it."""
        name = "LiteLLM_SpendLogDelivery"
        if name in SCHEMA.read_text() and not any(name in script.read_text() for script in _migrations()):
            self._psql("-c", SPEND_DELIVERY)

    def stop(self) -> None:
        if (self._data / "postmaster.pid").exists():
            self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop")

    def _psql(self, *what: str) -> None:
        self._run("psql", "-q", "-X", "-v", "ON_ERROR_STOP=1", self.url, *what)

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
    """Needs the package `prisma` in the tests' environment, and access to Prisma's host of engines."""
    added = {
        **added,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "DATABASE_URL": server.url,
        "DISABLE_SCHEMA_UPDATE": "true",
        "CHECKPOINT_DISABLE": "1",  # no look for a newer Prisma
    }
    for command in (["py", "fetch"], ["generate", "--schema", str(SCHEMA)]):
        prisma = [sys.executable, "-m", "prisma", *command]
        _run(prisma, log=server.directory / "prisma.log", environment=added)
    server.start()
    server.migrate(_migrations())
    return added


def _postgres_binaries() -> Path:
    """The folder of programs of the newest installed server. If there is no server, one is installed."""
    return found_or_installed(_newest_server, INSTALL_POSTGRES, "Debian's package postgresql").parent


def _newest_server() -> Path | None:
    servers = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max(servers, key=lambda path: int(path.parts[-3]), default=None)


def _is_root() -> bool:
    return os.geteuid() == 0


def _need(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise UnavailableError(f"not installed: {', '.join(missing)}")


def _run(command: list[str], *, log: Path, environment: Mapping[str, str] | None = None) -> str:
    """What the command printed. Its output goes to a file: a server that the command starts would keep a pipe open."""
    everything = {**os.environ, **(environment or COMPILE_ONCE)}
    with log.open("w+", encoding="utf-8") as output:
        try:
            subprocess.run(command, stdout=output, stderr=output, env=everything, check=True, timeout=TIMEOUT_S)
        except (OSError, subprocess.SubprocessError) as error:
            output.seek(0)
            raise UnavailableError(f"{error}; it ended with:\n{output.read()[-1500:]}") from error
        output.seek(0)
        return output.read()
