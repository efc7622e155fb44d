"""Reads a server's message about a refused request, and adds the resulting excuse to the sample."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

import aiohttp

from slo_bench.measure.excuses import refusal, words_of
from slo_bench.measure.quoting import quoted, texts_of
from slo_bench.measure.stream import Sample, StreamReading
from slo_bench.measure.targets import Target

_MOST_BYTES = 8_192  # enough for a message
_MOST_S = 1.0  # wait for the message of a server that hangs after its refusal


async def words_in(response: aiohttp.ClientResponse) -> str:
    """The message in an error's body, as far as it comes within `_MOST_S`."""
    body = b""
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_MOST_S):
            async for piece in response.content.iter_any():
                body += piece
                if len(body) > _MOST_BYTES:
                    break
    return words_of(body[:_MOST_BYTES].decode(errors="replace"))


def excused(reading: StreamReading, target: Target, body: dict[str, object]) -> Sample:
    """The sample, with the excuse of its HTTP status if there is one."""
    sample = reading.sample()
    if reading.refused is None or sample.error is None:
        return sample
    status, words = reading.refused
    quote = quoted(words, target.secrets(), texts_of(body.get("messages")))
    return replace(sample, excuse=refusal(status, words, quote, by_proxy=target.is_proxied))
