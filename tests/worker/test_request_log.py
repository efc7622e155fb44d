"""Records reach the Redis stream and the JSONL file in the background; what finds no room is dropped and counted."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import pytest
import redis

from evaluation.shared.valkey_server import ValkeyServer
from slo_router.contract.keys import request_index_key
from slo_router.contract.record import RequestRecord
from slo_router.contract.redis.link import LINK_ERRORS, AsyncClient, connect
from slo_router.contract.settings.config import LogSettings
from slo_router.worker.records import build_record
from slo_router.worker.request_log import BATCH, NODE, RequestLog
from slo_router.worker.trace import Trace
from tests.shared.builders import NOW_S
from tests.shared.listening import listening

STREAM = "team:slo_router:requests"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    # small nodes, so that MAXLEN ~ trims to the entry and not to the hundred
    with ValkeyServer(tmp_path_factory.mktemp("valkey"), options={"stream-node-max-entries": "10"}) as running:
        yield running


@pytest.fixture
def reader(server: ValkeyServer) -> Iterator[redis.Redis]:
    with redis.Redis(port=server.port, decode_responses=True) as client:
        client.flushall()
        yield client


@pytest.fixture
async def client(server: ValkeyServer) -> AsyncIterator[AsyncClient]:
    async with connect(server.url) as link:
        yield link


def record(number: int, **changes: object) -> RequestRecord:
    made = build_record({"id": f"r{number}", "model": "mödel"}, Trace("acompletion", NOW_S))
    return made.model_copy(update=changes)


def request_log(count: int = 0, **settings: object) -> RequestLog:
    log = RequestLog(LogSettings.model_validate(settings), "team:")
    for number in range(count):
        log.offer(record(number))
    return log


def written(reader: redis.Redis) -> list[dict[str, object]]:
    entries = cast("list[tuple[str, dict[str, str]]]", reader.xrange(STREAM))
    return [json.loads(fields["record"]) for _, fields in entries]


async def test_a_record_is_one_stream_entry_with_the_json_of_the_contract(
    reader: redis.Redis, client: AsyncClient
) -> None:
    assert await request_log(2).flush(client) == 2
    assert [line["request_id"] for line in written(reader)] == ["r0", "r1"]
    assert RequestRecord.model_validate(written(reader)[0]) == record(0)
    assert written(reader)[0]["ttft_ms"] is None


async def test_nothing_waiting_writes_nothing(reader: redis.Redis, client: AsyncClient) -> None:
    log = request_log()
    assert await log.flush(client) == 0
    assert reader.exists(STREAM) == 0


async def test_more_than_a_batch_is_written_in_one_flush_and_in_order(reader: redis.Redis, client: AsyncClient) -> None:
    count = 2 * BATCH + 1
    assert await request_log(count).flush(client) == count
    assert [line["request_id"] for line in written(reader)] == [f"r{number}" for number in range(count)]


async def test_a_full_queue_drops_the_new_record_and_counts_it(reader: redis.Redis, client: AsyncClient) -> None:
    log = request_log(5, queue_size=3)
    assert log.dropped == 2
    assert await log.flush(client) == 3
    assert [line["request_id"] for line in written(reader)] == ["r0", "r1", "r2"]
    log.offer(record(9))  # there is room again
    assert await log.flush(client) == 1
    assert log.dropped == 2


async def test_the_stream_keeps_about_its_maximum_of_the_newest(reader: redis.Redis, client: AsyncClient) -> None:
    await request_log(200, stream_maxlen=50).flush(client)
    kept = [str(line["request_id"]) for line in written(reader)]
    assert 50 <= len(kept) <= 60  # "about": whole nodes of 10 entries
    assert kept[-1] == "r199"


async def test_the_index_says_when_each_record_of_the_stream_was_written(
    reader: redis.Redis, client: AsyncClient
) -> None:
    await request_log(250, stream_maxlen=50).flush(client)
    entries = cast("list[tuple[str, dict[str, str]]]", reader.xrange(STREAM))
    index = dict(cast("list[tuple[str, float]]", reader.zrange(request_index_key(STREAM), 0, -1, withscores=True)))
    assert len(index) == 50 + NODE  # the oldest are given up
    for entry, fields in entries:
        assert index[json.loads(fields["record"])["request_id"]] == int(entry.partition("-")[0])


async def test_a_user_who_may_not_write_the_index_writes_records(server: ValkeyServer, reader: redis.Redis) -> None:
    rights = ["+@all", "-zadd", "-zremrangebyrank"]
    reader.acl_setuser("narrow", enabled=True, passwords=["+word"], keys=["*"], commands=rights)
    async with connect(server.url.replace("//", "//narrow:word@")) as narrow:
        assert await request_log(3).flush(narrow) == 3
    assert [line["request_id"] for line in written(reader)] == ["r0", "r1", "r2"]
    assert not reader.exists(request_index_key(STREAM))


async def test_a_lost_redis_leaves_the_records_waiting_and_they_are_written_when_it_is_back(
    server: ValkeyServer, reader: redis.Redis, client: AsyncClient
) -> None:
    log = request_log(3)
    server.kill()
    for _ in range(2):
        with pytest.raises(LINK_ERRORS):
            await log.flush(client)
    log.offer(record(3))
    server.start()
    assert await log.flush(client) == 4
    assert [line["request_id"] for line in written(reader)] == ["r0", "r1", "r2", "r3"]
    assert log.dropped == 0


class Relay:
    """A connection to Redis that breaks: once it has carried `XADD`s to the server it swallows what comes back."""

    def __init__(self, port: int, breaks: int) -> None:
        self.upstream, self.breaks = port, breaks

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self.upstream)
        try:
            while data := await reader.read(1 << 20):
                to_server.write(data)
                answer = await from_server.read(1 << 20)
                if b"XADD" in data and self.breaks:
                    self.breaks -= 1
                    break
                writer.write(answer)
        finally:
            to_server.close()


@pytest.mark.parametrize("breaks", [1, 3])
@pytest.mark.parametrize("before", [0, 1, 700])
async def test_what_redis_took_before_the_connection_broke_is_not_written_again(
    server: ValkeyServer, reader: redis.Redis, client: AsyncClient, breaks: int, before: int
) -> None:
    """`before`: records of this worker that are in the stream already; those of others come in between."""
    log = request_log(before)
    await log.flush(client)
    async with listening(Relay(server.port, breaks).carry) as port, connect(f"redis://127.0.0.1:{port}") as broken:
        for number in range(breaks):
            log.offer(record(before + number))
            with pytest.raises(LINK_ERRORS):
                await log.flush(broken)
            await request_log_of_another(number).flush(client)
        await log.flush(broken)
    ids = [str(line["request_id"]) for line in written(reader)]
    assert sorted(ids) == sorted([*(f"r{n}" for n in range(before + breaks)), *(f"other{n}" for n in range(breaks))])
    assert set(cast("list[str]", reader.zrange(request_index_key(STREAM), 0, -1))) == set(ids)
    assert log.dropped == 0


def request_log_of_another(number: int) -> RequestLog:
    log = request_log()
    log.offer(record(0, request_id=f"other{number}"))
    return log


class Refusing:
    """A client that begins each pipeline with a command that Redis does not know; the rest of it is carried out."""

    def __init__(self, link: AsyncClient) -> None:
        self._link = link

    def pipeline(self, *, transaction: bool) -> object:
        made = self._link.pipeline(transaction=transaction)
        made.execute_command("NOSUCH")
        return made


async def test_what_redis_took_of_a_pipeline_that_it_refused_in_part_is_not_written_again(
    reader: redis.Redis, client: AsyncClient
) -> None:
    log = request_log(3)
    await log.flush(client)
    log.offer(record(3))
    with pytest.raises(LINK_ERRORS):
        await log.flush(cast("AsyncClient", Refusing(client)))
    await log.flush(client)
    assert [line["request_id"] for line in written(reader)] == ["r0", "r1", "r2", "r3"]


async def test_a_redis_that_refuses_leaves_the_records_waiting(reader: redis.Redis, client: AsyncClient) -> None:
    reader.set(STREAM, "a key of another type")
    log = request_log(2)
    with pytest.raises(LINK_ERRORS, match="WRONGTYPE"):
        await log.flush(client)
    reader.delete(STREAM)
    assert await log.flush(client) == 2


async def test_a_long_outage_costs_records_and_not_memory() -> None:
    log = request_log(10_000, queue_size=100)
    assert log.dropped == 9_900


async def test_where_no_redis_is_configured_nothing_waits_for_one_and_nothing_counts_as_lost() -> None:
    log = request_log(5, queue_size=100)
    log.has_redis = False
    for number in range(1_000):
        log.offer(record(number))
    assert (len(log._queue), log.dropped) == (0, 0)


# --- the file


@pytest.fixture
def file_log(tmp_path: Path) -> RequestLog:
    """Writes `r.PID.jsonl`, and two older ones of 1 MiB."""
    return request_log(jsonl_path=str(tmp_path / "logs" / "r.jsonl"), jsonl_max_mb=1, jsonl_backups=2)


def written_out(log: RequestLog) -> None:
    """Returns when the file's thread has nothing to do."""
    file, deadline_s = log._file, time.monotonic() + 60
    assert file is not None
    while file._done < file._offered:
        assert time.monotonic() < deadline_s
        time.sleep(0.001)


def files(tmp_path: Path) -> dict[str, list[object]]:
    """The request ids in each file; a worker's pid is in its name, for two must not rotate one file."""
    return {
        path.name.replace(f".{os.getpid()}.", ".PID."): [
            json.loads(line)["request_id"] for line in path.read_text().splitlines()
        ]
        for path in (tmp_path / "logs").iterdir()
    }


async def test_the_file_has_the_same_records_and_needs_no_redis(tmp_path: Path, file_log: RequestLog) -> None:
    file_log.offer(record(0))
    file_log.offer(record(1))
    written_out(file_log)
    assert files(tmp_path) == {"r.PID.jsonl": ["r0", "r1"]}
    lines = (tmp_path / "logs" / f"r.{os.getpid()}.jsonl").read_text().splitlines()
    assert [RequestRecord.model_validate_json(line) for line in lines] == [record(0), record(1)]


async def test_the_file_is_written_once_however_often_redis_fails(
    tmp_path: Path, file_log: RequestLog, reader: redis.Redis, client: AsyncClient
) -> None:
    reader.set(STREAM, "a key of another type")
    file_log.offer(record(0))
    for _ in range(3):
        with pytest.raises(LINK_ERRORS):
            await file_log.flush(client)
    written_out(file_log)
    assert files(tmp_path) == {"r.PID.jsonl": ["r0"]}


async def test_a_full_file_is_rotated_and_the_oldest_is_given_up(tmp_path: Path, file_log: RequestLog) -> None:
    for number in range(8):  # 400 kB each: two to a file of 1 MiB
        file_log.offer(record(number, answer="x" * 400_000))
    written_out(file_log)
    assert files(tmp_path) == {
        "r.PID.jsonl": ["r6", "r7"],
        "r.PID.jsonl.1": ["r4", "r5"],
        "r.PID.jsonl.2": ["r2", "r3"],
    }


def test_a_disk_that_refuses_costs_the_records_of_that_time_and_is_said_once(
    tmp_path: Path, file_log: RequestLog, caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way = tmp_path / "logs" / f"r.{os.getpid()}.jsonl"
    in_the_way.mkdir()
    for number in range(3):
        file_log.offer(record(number))
    written_out(file_log)
    assert file_log.dropped == 3
    assert file_log.file_standing is not None
    assert file_log.file_standing.failures == 3
    assert [one.getMessage() for one in caplog.records] == [
        "records cannot be written to log.jsonl_path: Is a directory"
    ]
    in_the_way.rmdir()
    file_log.offer(record(3))
    written_out(file_log)
    assert files(tmp_path) == {"r.PID.jsonl": ["r3"]}


def test_the_file_is_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    program = (
        "import sys, time, locale\n"
        "from slo_router.contract.settings.config import LogSettings\n"
        "from slo_router.worker.record_file import RecordFile\n"
        "file = RecordFile(LogSettings(jsonl_path=sys.argv[1])); file.offer('gr\\u00fcezi')\n"
        "while file._done < 1: time.sleep(0.01)\n"
        "print(locale.getpreferredencoding())"
    )
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    command = [sys.executable, "-c", program, str(tmp_path / "r.jsonl")]
    done = subprocess.run(command, env=ascii_only, capture_output=True, text=True, check=True)
    assert "UTF-8" not in done.stdout
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ["grüezi\n".encode()]
