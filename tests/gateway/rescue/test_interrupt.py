"""A read on which a task waits can be ended as by a timeout. Any other wait is left alone."""

from __future__ import annotations

import asyncio

from slo_router.gateway.rescue.interrupt import interrupt, waits_on


def test_a_read_that_waits_ends_with_a_timeout_and_so_does_one_in_a_task_within() -> None:
    async def run() -> list[str]:
        async def read() -> str:
            try:
                await asyncio.get_running_loop().create_future()
            except TimeoutError:
                return "timeout"
            return "an answer"

        async def within() -> str:
            return await asyncio.ensure_future(read())

        found = []
        for attempt in (read, within):
            task = asyncio.create_task(attempt())
            assert waits_on(task) is None  # the task did not begin
            for _ in range(3):
                await asyncio.sleep(0)
            waiting = waits_on(task)
            assert waiting is not None
            interrupt(waiting)
            found.append(await task)
            assert waits_on(task) is None
        return found

    assert asyncio.run(run()) == ["timeout", "timeout"]


def test_a_group_of_reads_is_left_alone() -> None:
    async def run() -> None:
        async def attempt() -> None:
            await asyncio.gather(asyncio.sleep(60), asyncio.sleep(60))

        task = asyncio.create_task(attempt())
        for _ in range(3):
            await asyncio.sleep(0)
        assert waits_on(task) is None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
