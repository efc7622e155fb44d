"""One request over real HTTP: what is timed, what is counted, what is an error, and what is tolerated."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import perf_counter

import pytest

from evaluation.emulator import Handle
from slo_bench.measure.client import Client
from slo_bench.measure.stream import Sample
from slo_bench.measure.targets import Proxy, Target, target_of
from slo_bench.prompts.workload import Prompt
from slo_router.contract.model import Facts
from slo_router.contract.settings.deployments import ManagedDeployment
from tests.shared.scripted_server import DONE, DROP, Reply, Server, chunk, delta, scripted, stream, usage

PROMPT = Prompt("chat", ({"role": "user", "content": "Hi"},), 8)
GOOD = stream(chunk(delta(content="x")), chunk(delta("stop")), chunk(usage(7, 3)), DONE)
PLAIN = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\nconnection: close\r\n\r\n"


def at(api_base: str, key: str | None = None) -> Target:
    return target_of(ManagedDeployment("smart", Facts("small", "openai/small"), api_base, key), None)


async def ask(*replies: Reply, timeout_s: float = 60.0, times: int = 1) -> tuple[list[Sample], Server]:
    async with scripted(replies) as server, Client(timeout_s) as client:
        return [await client.measure(at(server.api_base), PROMPT) for _ in range(times)], server


async def measured(*pieces: bytes) -> Sample:
    (sample,), _ = await ask(stream(*pieces))
    return sample


async def test_tokens_are_read_from_the_usage_chunk() -> None:
    sample = await measured(chunk(delta(content="x")), chunk(delta("stop")), chunk(usage(7, 3)), DONE)
    assert (sample.error, sample.prompt_tokens, sample.completion_tokens) == (None, 7, 3)


async def test_an_event_split_inside_a_character_is_one_event() -> None:
    event = chunk(delta(content="naïve 漢字 🙂"))
    sample = await measured(*(event[i : i + 1] for i in range(len(event))), chunk(delta("stop")), chunk(usage(7, 3)))
    assert (sample.error, sample.completion_tokens) == (None, 3)


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("step", [1, 7, 10_000])
async def test_every_line_ending_of_the_standard_is_understood(newline: bytes, step: int) -> None:
    text = (chunk(delta(content="x")) + chunk(delta("stop")) + chunk(usage(7, 3)) + DONE).replace(b"\n", newline)
    sample = await measured(*(text[i : i + step] for i in range(0, len(text), step)))
    assert (sample.error, sample.completion_tokens) == (None, 3)


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e"])
async def test_unicode_line_separators_inside_content_end_no_line(separator: str) -> None:
    event = b'data: {"choices": [{"delta": {"content": "a' + separator.encode() + b'b"}}]}\n\n'
    if separator < " ":  # JSON wants control characters escaped; the line must still arrive whole, as one bad event
        assert (await measured(event, chunk(delta("stop")))).error == "malformed"
    else:
        assert (await measured(event, chunk(delta("stop")))).error is None


async def test_comments_other_fields_and_data_over_several_lines_follow_the_standard() -> None:
    sample = await measured(
        b"\xef\xbb\xbf: a comment after the byte order mark\n\n",
        b'event: x\nid: 1\nretry: 5\ndata: {"choices":\ndata: [{"delta": {"content": "x"}}]}\n\n',
        b'data:{"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n',
    )
    assert sample.error is None


async def test_a_line_of_a_megabyte_is_read() -> None:
    sample = await measured(chunk(delta(content="x" * 1_000_000)), chunk(delta("stop")), chunk(usage(7, 3)))
    assert (sample.error, sample.completion_tokens) == (None, 3)


async def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scripted([GOOD]) as server, Client(60.0) as client:
        monkeypatch.setenv("http_proxy", server.api_base)
        sample = await client.measure(at("http://model.invalid/v1"), PROMPT)
    assert (sample.error, len(server.bodies)) == (None, 1)


async def test_no_file_of_passwords_replaces_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login x password y")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    async with scripted([GOOD]) as server, Client(60.0) as client:
        await client.measure(at(server.api_base, "sk-mine"), PROMPT)
    assert server.headers[0]["authorization"] == "Bearer sk-mine"


async def test_a_missing_done_is_no_error() -> None:
    assert (await measured(chunk(delta(content="x")), chunk(delta("stop")))).error is None


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ([b"HTTP/1.1 503 Unavailable\r\ncontent-length: 2\r\n\r\n{}"], "http_503"),
        ([b"HTTP/1.1 429 Slow down\r\ncontent-length: 0\r\n\r\n"], "http_429"),
        ([PLAIN % b"application/json", b"{}", None], "malformed"),
        ([PLAIN % b"text/event-stream", chunk(delta(content="x")), None], "cut_stream"),
        ([*stream(chunk(delta(content="x")))[:-1], None], "cut_stream"),
        (stream(chunk(delta(content="x")), b"data: {oops\n\n"), "malformed"),
        (stream(chunk({"error": {"message": "out of memory"}})), "error_event"),
        (stream(chunk(delta("stop")), DONE), "empty"),
        ([b"this is not HTTP\r\n\r\n"], "connection"),
        (DROP, "connection"),  # on a new connection it is the server's fault
    ],
)
async def test_each_failure_has_its_class_and_no_latency(reply: Reply, error: str) -> None:
    (sample,), server = await ask(reply)
    assert (sample.error, sample.ttft_s, sample.e2e_s, sample.itl_s) == (error, None, None, ())
    assert len(server.bodies) == 1


async def test_a_refused_connection_is_an_error() -> None:
    async with scripted([GOOD]) as server:
        target = at(server.api_base)
    async with Client(60.0) as client:
        assert (await client.measure(target, PROMPT)).error == "connection"


@pytest.mark.parametrize("sent", [[], GOOD[:1], GOOD[:2], GOOD[:3]])
async def test_a_request_that_hangs_ends_at_the_timeout_wherever_it_hangs(sent: Reply) -> None:
    (sample,), _ = await ask([*sent, 60.0], timeout_s=0.1)
    assert (sample.error, sample.ttft_s, sample.e2e_s, sample.itl_s) == ("timeout", None, None, ())


async def test_an_answer_that_was_complete_before_the_hang_counts() -> None:
    (sample,), _ = await ask([*GOOD[:-1], 60.0], timeout_s=2.0)
    assert (sample.error, sample.completion_tokens) == (None, 3)


async def test_a_dropped_kept_alive_connection_is_retried_on_a_new_one_and_not_charged() -> None:
    samples, server = await ask(GOOD, DROP, GOOD, times=2)
    assert [sample.error for sample in samples] == [None, None]
    assert (len(server.bodies), server.connections) == (3, 2)


async def test_the_retry_starts_its_own_clock() -> None:
    async with scripted([GOOD, [0.5, None], GOOD]) as server, Client(60.0) as client:
        await client.measure(at(server.api_base), PROMPT)
        began_s = perf_counter()
        sample = await client.measure(at(server.api_base), PROMPT)
        all_s = perf_counter() - began_s
    assert sample.ttft_s is not None
    assert sample.ttft_s <= all_s - 0.5


async def test_a_second_drop_is_the_servers_fault() -> None:
    samples, server = await ask(GOOD, DROP, DROP, times=2)
    assert [sample.error for sample in samples] == [None, "connection"]
    assert len(server.bodies) == 3


async def test_a_stream_that_is_cut_on_a_kept_alive_connection_is_not_sent_again() -> None:
    samples, server = await ask(GOOD, [*stream(chunk(delta(content="x")))[:-1], None], times=2)
    assert [sample.error for sample in samples] == [None, "cut_stream"]
    assert len(server.bodies) == 2


async def test_a_server_that_drops_kept_alive_connections_has_no_errors(fleet: list[Handle]) -> None:
    small = fleet[0]
    small.control(drop_keepalive_every=2)
    async with Client(60.0) as client:
        samples = [await client.measure(at(small.api_base), PROMPT) for _ in range(8)]
    assert [sample.error for sample in samples] == [None] * 8
    assert sum(seen.fault == "drop" for seen in small.seen()) >= 2


async def test_connections_are_kept_alive_between_requests() -> None:
    _, server = await ask(GOOD, times=5)
    assert server.connections == 1


async def test_every_call_carries_another_salt_at_its_very_beginning() -> None:
    _, server = await ask(GOOD, times=3)
    contents = [body["messages"][0]["content"] for body in server.bodies]  # type: ignore[index]
    assert len({content.partition("\n")[0] for content in contents}) == 3
    assert all(content.endswith("\nHi") for content in contents)


async def test_noise_changes_neither_ttft_nor_tokens(fleet: list[Handle]) -> None:
    small = fleet[0]
    async with Client(60.0) as client:
        await client.measure(at(small.api_base), PROMPT)
        plain = await client.measure(at(small.api_base), PROMPT)
        small.control("noise")
        noisy = await client.measure(at(small.api_base), PROMPT)
    assert plain.ttft_s is not None
    assert noisy.ttft_s is not None
    assert min(plain.ttft_s, noisy.ttft_s) >= 0.020  # the endpoint's own; its first noise comes at once
    served = [seen.completion_tokens for seen in small.seen()]
    assert [plain.completion_tokens, noisy.completion_tokens] == served[1:]


async def test_requests_do_not_wait_for_each_other(fleet: list[Handle]) -> None:
    small = fleet[0]
    small.control("hang")
    async with Client(120.0) as client, asyncio.timeout(60):
        asking = [asyncio.create_task(client.measure(at(small.api_base), PROMPT)) for _ in range(16)]
        while len(small.seen()) < 16:  # noqa: ASYNC110  # the endpoint tells nobody
            await asyncio.sleep(0.01)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


async def test_an_answer_from_another_deployment_is_an_error() -> None:
    other = GOOD[0].replace(b"\r\n\r\n", b"\r\nx-litellm-model-id: large\r\n\r\n")  # type: ignore[union-attr]
    async with scripted([[other, *GOOD[1:]]]) as server, Client(60.0) as client:
        deployment = ManagedDeployment("smart", Facts("small", "anthropic/small"))
        target = target_of(deployment, Proxy(server.api_base, "sk-proxy"))
        assert (await client.measure(target, PROMPT)).error == "wrong_deployment"
        assert server.headers[0]["authorization"] == "Bearer sk-proxy"
