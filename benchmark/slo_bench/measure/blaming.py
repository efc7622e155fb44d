"""Reads what a server says about a request that it refused, and puts the excuse that follows from it on the sample."""

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
_MOST_S = 1.0  # a server that has refused and then hangs is not waited for


async def words_in(response: aiohttp.ClientResponse) -> str:
    """The message in the body of an error, as far as it comes at once."""
    body = b""
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_MOST_S):
            async for piece in response.content.iter_any():
                body += piece
                if len(body) > _MOST_BYTES:
                    break
    return words_of(body[:_MOST_BYTES].decode(errors="replace"))


def excused(reading: StreamReading, target: Target, body: dict[str, object]) -> Sample:
    """The sample, with the excuse of its status where that has one."""
    sample = reading.sample()
    if reading.refused is None or sample.error is None:
        return sample
    status, words = reading.refused
    quote = quoted(words, target.secrets(), texts_of(body.get("messages")))
    return replace(sample, excuse=refusal(status, words, quote, by_proxy=target.is_proxied))
