"""A record is found by its id: by the index, on a server with or without the right to run scripts, in rotated files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.exceptions import ResponseError

from evaluation.shared.valkey_server import ValkeyServer
from slo_router.contract.keys import request_index_key
from slo_router.contract.redis.link import BlockingClient, connect_blocking
from slo_router.errors import SettingsError
from slo_router.operator.reporting.journal import PAGE
from slo_router.operator.reporting.lookup import find_in_files, find_in_stream
from tests.shared.record_builders import line_of

ACL = "user reader on >word resetkeys ~s +xrevrange +ping +select +client"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path_factory.mktemp("valkey"), config=ACL) as running:
        with redis.Redis(port=running.port) as writer:
            writer.xadd("s", {"record": line_of(request_id="oldest")})
            pipeline = writer.pipeline(transaction=False)
            for number in range(2 * PAGE):
                pipeline.xadd("s", {"record": line_of(request_id=f"r{number}")})
            for text in ('{ broken "r7"', line_of(team_id="r7"), line_of(request_id='say "7"')):
                pipeline.xadd("s", {"record": text})
            pipeline.execute()
            writer.set("text", "no stream")
        yield running


@pytest.fixture(params=["", "reader:word@"], ids=["scripts", "no scripts"])
def client(server: ValkeyServer, request: pytest.FixtureRequest) -> Iterator[BlockingClient]:
    link = connect_blocking(f"redis://{request.param}127.0.0.1:{server.port}/0")
    yield link
    link.close()


@pytest.mark.parametrize("request_id", ["oldest", "r7", f"r{2 * PAGE - 1}", 'say "7"'])
def test_a_record_is_found_whatever_other_entries_say(client: BlockingClient, request_id: str) -> None:
    found = find_in_stream(client, "s", request_id)
    assert found is not None
    assert found.request_id == request_id


@pytest.mark.parametrize("request_id", ["r", "old", "R7", "%a", ""])
def test_no_other_is_taken_for_it(client: BlockingClient, request_id: str) -> None:
    assert find_in_stream(client, "s", request_id) is None


def test_an_empty_stream_has_none_and_a_key_of_another_type_is_an_error(server: ValkeyServer) -> None:
    link = connect_blocking(server.url)
    assert find_in_stream(link, "nothing", "r7") is None
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        find_in_stream(link, "text", "r7")
    link.close()


def test_the_index_leads_to_a_record_without_a_search(server: ValkeyServer) -> None:
    with redis.Redis(port=server.port, decode_responses=True) as link:
        for number in range(3):
            entry = str(link.xadd("indexed", {"record": line_of(request_id=f"i{number}")}))
            link.zadd(request_index_key("indexed"), {f"i{number}": int(entry.partition("-")[0])})
        link.config_resetstat()
        found = [find_in_stream(link, "indexed", f"i{number}") for number in range(3)]
        assert [record and record.request_id for record in found] == ["i0", "i1", "i2"]
        assert link.info("commandstats")["cmdstat_xrevrange"]["calls"] == 3
        link.xadd("indexed", {"record": line_of(request_id="later")})
        link.zadd(request_index_key("indexed"), {"later": 7, "gone": 7})  # with a wrong time
        assert find_in_stream(link, "indexed", "later") is not None
        assert find_in_stream(link, "indexed", "gone") is None


def test_the_entries_do_not_travel_where_the_server_may_search(server: ValkeyServer) -> None:
    """2,004 entries of 2 kB are 4 MB. Only an entry's id for each page and the record come back."""
    with redis.Redis(port=server.port, decode_responses=True) as link:
        before = int(link.info("stats")["total_net_output_bytes"])
        assert find_in_stream(link, "s", "oldest") is not None
        sent = int(link.info("stats")["total_net_output_bytes"]) - before
    assert sent < 20_000


def test_files_are_searched_in_order_and_only_whole_ids_count(tmp_path: Path) -> None:
    newest, older, empty = (tmp_path / name for name in ("r.jsonl", "r.jsonl.1", "r.jsonl.2"))
    newest.write_text("\n".join(['{"broken": "r1"', line_of(team_id="r1"), line_of(request_id="r11")]))
    older.write_text(
        "\n".join([line_of(request_id="r0"), line_of(request_id="r1", team_id="green"), line_of(request_id="r2")])
    )
    empty.touch()
    paths = [empty, tmp_path / "gone", newest, older]
    found = find_in_files(paths, "r1")
    assert found is not None
    assert found.team_id == "green"
    assert [one is not None for one in (find_in_files(paths, name) for name in ("r0", "r2", "r11", "r3"))] == [
        True,
        True,
        True,
        False,
    ]


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="expected a file of request records"):
        find_in_files([tmp_path], "r1")
