"""Work beside a block ends with the block, whatever libraries in that work do with a cancellation."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from evaluation.shared.virtual_time import VirtualLoop, run
from slo_bench.guard.beside import AGAIN_S, beside


def test_it_ends_with_the_block_though_a_cancellation_is_swallowed() -> None:
    done: list[str] = []

    async def swallows_one() -> None:
        try:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            await asyncio.sleep(60)
        finally:
            done.append("over")

    async def block(_: VirtualLoop) -> None:
        began_s = asyncio.get_running_loop().time()
        async with beside(swallows_one()):
            await asyncio.sleep(5)
        assert (asyncio.get_running_loop().time() - began_s, done) == (5 + AGAIN_S, ["over"])

    run(block)


def test_what_the_work_raises_does_not_end_the_block() -> None:
    async def fails() -> None:
        raise OSError

    async def block(_: VirtualLoop) -> None:
        async with beside(fails()):
            await asyncio.sleep(1)

    run(block)
