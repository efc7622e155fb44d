"""One `redis_url` reaches every kind of Redis, gives up fast, and never shows a secret.

Real servers throughout. The wheel's Valkey is built without TLS, so a TLS terminator of a few lines stands in front of
it, with a certificate made here; what redis-py does on its side is the same. tests/e2e/test_redis_topologies.py runs
the plugin and the agent on servers with TLS of their own.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, aclosing, asynccontextmanager, closing
from pathlib import Path

import pytest
import redis
import redis.asyncio
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio.sentinel import SentinelConnectionPool

from evaluation.shared.stock_proxy import free_port
from evaluation.shared.valkey_server import ValkeyServer
from slo_router.contract.redis import embedded
from slo_router.contract.redis.link import LINK_ERRORS, connect, connect_blocking, masked
from slo_router.errors import SettingsError
from tests.shared.certificate import self_made_certificate
from tests.shared.listening import listening


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path / "valkey") as running:
        yield running


async def _round_trip(url: str) -> None:
    """Writes with the asyncio client what the blocking client then reads, both from the one URL."""
    async with connect(url) as client:
        await client.set("greeting", "grüezi")
        assert await client.get("greeting") == "grüezi"

    def read() -> object:
        with connect_blocking(url) as blocking:
            return blocking.get("greeting")

    assert await asyncio.to_thread(read) == "grüezi"


async def test_a_plain_server_with_a_database_number(server: ValkeyServer) -> None:
    await _round_trip(f"redis://127.0.0.1:{server.port}/3")
    with redis.Redis(port=server.port, db=3) as client:
        assert client.exists("greeting")


async def test_an_acl_user_with_a_password_that_needs_encoding(tmp_path: Path) -> None:
    rule = "user slo on >p@ss/w#rd ~* resetchannels -@all +get +set"  # and no right to HELLO or CLIENT
    with ValkeyServer(tmp_path, config=rule, options={"requirepass": "for the others"}) as server:
        await _round_trip(f"redis://slo:p%40ss%2Fw%23rd@127.0.0.1:{server.port}/0")
        async with connect(f"redis://slo:wrong@127.0.0.1:{server.port}/0") as client:
            with pytest.raises(redis.AuthenticationError):
                await client.get("greeting")


async def test_a_unix_socket(tmp_path: Path) -> None:
    short = Path(tempfile.mkdtemp(prefix="slo "))
    with ValkeyServer(tmp_path, options={"unixsocket": str(short / "r.sock"), "requirepass": "secret"}):
        await _round_trip(f"unix://:secret@{short}/r.sock?db=1".replace(" ", "%20"))
    shutil.rmtree(short)


async def test_embedded_starts_its_server_and_starts_it_again_after_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path(tempfile.mkdtemp(prefix="slo"))
    monkeypatch.setenv(embedded.DIRECTORY_VARIABLE, str(home))
    try:
        await _round_trip("embedded")
        pid = embedded.status().pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await _round_trip("embedded")
        assert embedded.status().pid != pid
    finally:
        embedded.stop()
        shutil.rmtree(home)


@asynccontextmanager
async def _tls_in_front_of(server: ValkeyServer, certificate: Path, key: Path) -> AsyncIterator[int]:
    """Terminates TLS on a port of its own, which it yields, and passes bytes to the server and back."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(4096):
            writer.write(block)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inside_reader, inside_writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            await asyncio.gather(pump(reader, inside_writer), pump(inside_reader, writer))
        finally:
            inside_writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with listening(serve, context) as port:
        yield port


async def test_tls_accepts_the_named_ca_and_nothing_unknown(tmp_path: Path, server: ValkeyServer) -> None:
    certificate, key = self_made_certificate(tmp_path)
    async with _tls_in_front_of(server, certificate, key) as port:
        await _round_trip(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}")
        await _round_trip(f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=none")
        async with connect(f"rediss://127.0.0.1:{port}/0") as client:
            with pytest.raises(redis.ConnectionError, match="certificate verify failed"):
                await client.get("greeting")


def _sentinel_config(master: ValkeyServer) -> str:
    return (
        f"sentinel monitor main 127.0.0.1 {master.port} 1\nsentinel down-after-milliseconds main 30000\n"
        "sentinel auth-pass main data-secret\n"
    )


async def test_sentinel_names_the_master_and_the_client_follows_a_failover(tmp_path: Path) -> None:
    data = {"requirepass": "data-secret", "masterauth": "data-secret", "repl-diskless-sync-delay": "0"}
    with ExitStack() as stack:
        master = stack.enter_context(ValkeyServer(tmp_path / "a", options=data))
        replica = stack.enter_context(
            ValkeyServer(tmp_path / "b", options=data, config=f"replicaof 127.0.0.1 {master.port}")
        )
        with redis.Redis(port=replica.port, password="data-secret") as link:
            await _until(lambda: link.info("replication")["master_link_status"] == "up")
        watcher = stack.enter_context(
            ValkeyServer(tmp_path / "s", config=_sentinel_config(master), options={"requirepass": "watch-secret"})
        )
        # The first Sentinel is down: the second is asked.
        hosts = f"127.0.0.1:{free_port()},127.0.0.1:{watcher.port}"
        url = f"redis+sentinel://:data-secret@{hosts}/main/0?sentinel_password=watch-secret"
        await _round_trip(url)
        async with connect(url) as client:
            assert (await client.info("server"))["tcp_port"] == master.port
            await _fail_over(watcher, replica)
            master.kill()
            with pytest.raises(redis.ConnectionError):
                await client.set("k", "the lost connection is reported, the command not repeated")
            await client.set("k", "v")
            assert (await client.info("server"))["tcp_port"] == replica.port


async def _fail_over(watcher: ValkeyServer, replica: ValkeyServer) -> None:
    with redis.Redis(port=watcher.port, password="watch-secret") as watch:
        await _until(lambda: [r["master-link-status"] for r in watch.sentinel_slaves("main")] == ["ok"])
        watch.sentinel_failover("main")
        await _until(lambda: watch.sentinel_master("main")["port"] == replica.port)


async def _until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.05)


async def test_cluster_takes_a_pipeline_over_keys_of_several_nodes(tmp_path: Path) -> None:
    bus_ports = [free_port() for _ in range(3)]
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(
                ValkeyServer(tmp_path / str(n), options={"cluster-enabled": "yes", "cluster-port": str(bus_ports[n])})
            )
            for n in range(3)
        ]
        links = [stack.enter_context(redis.Redis(port=node.port)) for node in nodes]
        for number, link in enumerate(links):
            link.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            link.execute_command("CLUSTER", "ADDSLOTSRANGE", 5461 * number, [5460, 10921, 16383][number])
            link.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port, bus_ports[0])
        await _until(lambda: all(b"cluster_state:ok" in link.execute_command("CLUSTER", "INFO") for link in links))
        url = f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{nodes[1].port}"  # the first node is down
        await _round_trip(url)
        keys = [f"metrics:deployment-{n}:ner" for n in range(12)]
        async with connect(url) as client:
            pipeline = client.pipeline(transaction=False)
            for key in keys:
                pipeline.hset(key, mapping={"ttft_ms": "90"})
            for key in keys:
                pipeline.hgetall(key)
            assert (await pipeline.execute())[12:] == [{"ttft_ms": "90"}] * 12
        assert all(link.dbsize() > 0 for link in links)


async def test_the_pool_notices_a_restarted_server_before_it_sends(server: ValkeyServer) -> None:
    async with connect(server.url) as client:
        await client.set("k", "v")
        server.kill()
        server.start()
        await asyncio.sleep(0.05)  # the event loop sees the closed socket
        assert await client.get("k") == "v"


@pytest.mark.parametrize(
    "form",
    ["redis://{}", "rediss://{}", "unix:///no/such.sock", "redis+sentinel://{}/main", "redis+cluster://{}"],
)
async def test_a_server_that_is_down_is_reported_at_once_as_a_link_error(form: str) -> None:
    url = form.format(f"127.0.0.1:{free_port()}")

    async def takes_s() -> float:
        start_s = time.monotonic()
        async with aclosing(connect(url)) as client:
            with pytest.raises(LINK_ERRORS):
                await client.get("k")
        with pytest.raises(LINK_ERRORS), closing(connect_blocking(url)) as blocking:
            blocking.get("k")
        return time.monotonic() - start_s

    at_most_s = 1.5  # no timeout of 2 s, no second try after a pause
    tries_s = [await takes_s()]
    while tries_s[-1] >= at_most_s and len(tries_s) < 10:  # a busy machine may be slow now and then
        tries_s.append(await takes_s())
    assert tries_s[-1] < at_most_s


async def test_a_command_without_an_answer_is_given_up_after_the_timeout_and_not_sent_again() -> None:
    received: list[bytes] = []

    async def deaf_to_commands(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(4096):
            received.append(block)
            writer.write(b"+OK\r\n" * block.count(b"SETINFO") + b"+PONG\r\n" * block.count(b"PING"))

    async with listening(deaf_to_commands) as port:
        while b"XADD" not in b"".join(received):  # on a busy machine it may give up earlier
            async with connect(f"redis://127.0.0.1:{port}?socket_timeout=0.2") as client:
                with pytest.raises(redis.TimeoutError):
                    await client.xadd("records", {"record": "{}"})
    assert b"".join(received).count(b"XADD") == 1


def test_timeouts_are_two_seconds_unless_the_url_says_otherwise() -> None:
    for url, expected_s in (("redis://h", 2.0), ("redis://h?socket_timeout=5&socket_connect_timeout=5", 5.0)):
        client = connect_blocking(url)
        assert isinstance(client, redis.Redis)
        options = client.connection_pool.connection_kwargs
        assert options["socket_timeout"] == options["socket_connect_timeout"] == expected_s
        client.close()


def test_tls_options_reach_sentinels_masters_and_cluster_nodes() -> None:
    sentinel = connect("rediss+sentinel://h1,h2:1/main/2?ssl_cert_reqs=none")
    assert isinstance(sentinel, redis.asyncio.Redis)
    pool = sentinel.connection_pool
    assert isinstance(pool, SentinelConnectionPool)
    assert issubclass(pool.connection_class, redis.asyncio.SSLConnection)
    assert (pool.connection_kwargs["ssl_cert_reqs"], pool.connection_kwargs["db"]) == ("none", 2)
    watchers = pool.sentinel_manager.sentinels
    addresses = [
        (w.connection_pool.connection_kwargs["host"], w.connection_pool.connection_kwargs["port"]) for w in watchers
    ]
    assert addresses == [("h1", 26379), ("h2", 1)]
    assert all(issubclass(w.connection_pool.connection_class, redis.asyncio.SSLConnection) for w in watchers)
    cluster = connect("rediss+cluster://u:p@[::1],h2:1?ssl_cert_reqs=none")
    assert isinstance(cluster, redis.asyncio.RedisCluster)
    assert list(cluster.nodes_manager.startup_nodes) == ["::1:6379", "h2:1"]
    assert issubclass(cluster.connection_kwargs["connection_class"], redis.asyncio.SSLConnection)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "unknown scheme"),
        ("localhost:6379", "unknown scheme"),
        ("http://:hunter2@h:80", "unknown scheme"),
        ("redis+proxy://:hunter2@h", "unknown scheme"),
        ("redis://", "a host is missing"),
        ("redis://:hunter2@:6379/0", "a host is missing"),
        ("redis://h1,h2/0", "one server has one address"),
        ("redis://:hunter2@h/zero", "the database is not a number"),
        ("redis://:hunter2/x@h:6379/0", "a port is not a number, or the password has"),
        ("redis://:hunter2#x@h:6379/0", "a port is not a number, or the password has"),
        ("redis://:1234#hunter2@h:6379/0", "a host is missing"),
        ("redis://:hunter2[@h", "user, password or host is malformed"),
        ("redis://:hunter2\N{CARE OF}@h", "user, password or host is malformed"),
        ("redis://:hunter2@h?colour=red", "unexpected keyword argument 'colour'"),
        ("redis://:hunter2@h?socket_timeout=soon", "Invalid value for 'socket_timeout'"),
        ("redis://:hunter2@h?ssl_ca_certs=/ca.pem", "unexpected keyword argument 'ssl_ca_certs'"),  # redis, not rediss
        ("rediss://:hunter2@h?ssl_ca_certs=/no/ca.pem", "ssl_ca_certs: no such file: /no/ca.pem"),
        ("rediss://:hunter2@h?ssl_cert_reqs=perhaps", "Invalid SSL Certificate Requirements Flag"),
        ("unix://run/redis.sock", "unix:// needs an absolute path"),
        ("redis+sentinel://:hunter2@h1,h2:26379", "the Sentinel service name is missing"),
        ("redis+sentinel://:hunter2@h1,h2:port/main", "a port is not a number"),
        ("redis+cluster://:hunter2@h1,h2/1", "a cluster has database 0 only"),
    ],
)
def test_an_unusable_url_is_refused_without_its_secret_and_with_the_accepted_forms(url: str, complaint: str) -> None:
    for make in (connect, connect_blocking):
        with pytest.raises(SettingsError) as caught:
            make(url)
        assert complaint in str(caught.value)
        assert "redis+sentinel://host" in str(caught.value)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("embedded", "embedded"),
        ("redis://:secret@host:6379", "redis://…/0"),
        ("rediss://user:secret@host/15?ssl_cert_reqs=none", "rediss://…/15"),
        ("unix:///run/redis.sock?db=2", "unix://…/2"),
        ("redis+sentinel://h1,h2/main/4?sentinel_password=secret", "redis+sentinel://…/4"),
        ("redis+cluster://h1:1,h2:2", "redis+cluster://…/0"),
        ("secret", "…"),
        ("secret@host://", "…"),
    ],
)
def test_a_masked_url_shows_scheme_and_database_only(url: str, shown: str) -> None:
    assert masked(url) == shown


@given(st.text(), st.sampled_from(["redis", "rediss", "unix", "redis+sentinel", "redis+cluster", "http"]))
def test_a_masked_url_is_short_and_holds_nothing_after_the_scheme_but_a_database(rest: str, scheme: str) -> None:
    prefix, _, database = masked(f"{scheme}://{rest}").rpartition("/")
    assert prefix == f"{scheme}://…"
    assert database.isdecimal()
    assert len(database) <= 4
