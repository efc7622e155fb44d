"""A stream that is read ahead reaches its client whole and in order, whenever each piece came."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # no download of the price map
os.environ.setdefault("LITELLM_MODE", "PRODUCTION")  # no .env file of whoever runs this
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # LiteLLM's own
    from slo_router.gateway.rescue.ahead import Ahead, OutrunError

ROLE = {"choices": [{"delta": {"role": "assistant"}}]}


def token(text: str) -> dict[str, object]:
    return {"choices": [{"delta": {"content": text}}]}


class Stream:
    """LiteLLM's stream. Its pieces come when a test says so."""

    def __init__(self) -> None:
        self.pieces: asyncio.Queue[object] = asyncio.Queue()
        self.is_closed = False

    def __aiter__(self) -> AsyncIterator[object]:
        return self

    async def __anext__(self) -> object:
        piece = await self.pieces.get()
        if isinstance(piece, BaseException):
            raise piece
        return piece

    async def aclose(self) -> None:
        self.is_closed = True


async def _turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def _drain(ahead: Ahead, found: list[object]) -> None:
    async for piece in ahead:
        found.append(piece)  # noqa: PERF401  # those before an error are kept


def test_what_comes_while_a_piece_is_on_its_way_to_the_client_is_not_lost() -> None:
    async def run() -> list[object]:
        stream = Stream()
        ahead = Ahead(stream, stream)
        stream.pieces.put_nowait(ROLE)
        assert not await ahead.token_within(0.01)
        found: list[object] = []
        async for piece in ahead:
            found.append(piece)
            if piece == ROLE:  # while the client reads it
                stream.pieces.put_nowait(ROLE | {"id": 2})
                stream.pieces.put_nowait(token("a"))
                await _turns()
        return found

    assert asyncio.run(run()) == [ROLE, ROLE | {"id": 2}, token("a")]


def test_it_is_read_up_to_its_first_token_and_the_rest_stays() -> None:
    async def run() -> tuple[list[object], object]:
        stream = Stream()
        ahead = Ahead(stream, stream)
        for piece in (ROLE, token("a"), token("b")):
            stream.pieces.put_nowait(piece)
        assert await ahead.token_within(None)
        assert ahead.first_token_s is not None
        return [piece async for piece in ahead], await anext(ahead.rest)

    assert asyncio.run(run()) == ([ROLE, token("a")], token("b"))


def test_what_litellm_raises_comes_after_the_pieces_before_it() -> None:
    async def run() -> list[object]:
        stream = Stream()
        ahead = Ahead(stream, stream)
        for piece in (ROLE, ValueError("broken")):
            stream.pieces.put_nowait(piece)
        assert await ahead.token_within(None)
        found: list[object] = []
        with pytest.raises(ValueError, match="broken"):
            await _drain(ahead, found)
        return found

    assert asyncio.run(run()) == [ROLE]


def test_a_silent_one_is_closed_while_it_is_read() -> None:
    async def run() -> bool:
        stream = Stream()
        ahead = Ahead(stream, stream)
        assert not await ahead.token_within(0.01)
        await ahead.close()
        return stream.is_closed

    assert asyncio.run(run())


class Billed(Stream):
    """A stream of LiteLLM's that keeps the pieces that it bills."""

    fallback_headers_adopted = False

    def __init__(self, *chunks: object) -> None:
        super().__init__()
        self.chunks = list(chunks)


class Choice(NamedTuple):
    finish_reason: str | None


class Usage(NamedTuple):
    completion_tokens: int | None


class Chunk(NamedTuple):
    choices: list[Choice]
    usage: Usage | None = None


ROLE_CHUNK, STOP_CHUNK = Chunk([Choice(None)]), Chunk([Choice("stop")])


@pytest.mark.parametrize(
    ("chunks", "is_cut"),
    [
        ((ROLE_CHUNK,), True),  # LiteLLM added the end
        ((ROLE_CHUNK, STOP_CHUNK), False),  # the server sent the end: an empty answer
        ((ROLE_CHUNK, Chunk([], Usage(3))), False),  # the server counted tokens
        ((ROLE_CHUNK, Chunk([], Usage(0))), True),
        ((ROLE_CHUNK, Chunk([], Usage(None))), True),
    ],
)
def test_an_end_that_no_server_told_is_a_cut(chunks: tuple[Chunk, ...], is_cut: bool) -> None:
    async def run() -> bool:
        stream = Billed(*chunks)
        ahead = Ahead(stream, stream)
        for piece in (ROLE_CHUNK, STOP_CHUNK, StopAsyncIteration()):
            stream.pieces.put_nowait(piece)
        assert await ahead.token_within(None)
        return ahead.is_cut

    assert asyncio.run(run()) is is_cut


@pytest.mark.parametrize(
    ("mine", "its", "is_first"),
    [
        ([token("a")], [], True),
        ([], [token("b")], False),
        ([token("a")], [token("b")], False),  # the piece was already requested
        ([], [ConnectionError("cut")], False),  # another deployment may be asked
        ([ConnectionError("cut")], [], False),
        ([], [], False),
    ],
)
def test_of_two_the_one_with_the_first_token_is_read_on(mine: list[object], its: list[object], is_first: bool) -> None:
    async def run() -> bool:
        streams = Stream(), Stream()
        first, second = (Ahead(stream, stream) for stream in streams)
        for ahead in (first, second):
            await ahead.token_within(0)
        for stream, pieces in zip(streams, (mine, its), strict=True):
            for piece in pieces:
                stream.pieces.put_nowait(piece)
        try:
            await second.keep_ahead_of(first, 0.05)
        except OutrunError:
            return True
        return False

    assert asyncio.run(run()) is is_first
