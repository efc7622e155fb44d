"""What a worker does again and again. Each job has a task of its own, so a job that is stuck or fails delays no other.

    a job:  round → pause → round → …     a round that fails or exceeds its time is counted, logged once, and made again

Two rounds of one job never run at once: if a round ignores its cancellation, its own job waits for it. After a failure
the first pause is a tenth of the usual one, and it doubles up to the usual one. Longer pauses would keep a worker on
old figures after a short trouble. It is known when each job last succeeded, so that a job that is stuck is seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

FIRST_RETRY_SHARE = 0.1
LEAST_PAUSE_SHARE = 0.1  # of the interval, for a job whose rounds take as long as its interval
LEAVE_S = 1.0  # the jobs get so long to end when they are all cancelled

log = logging.getLogger("slo_router")


class ToldError(Exception):
    """A round failed for a reason that was logged already."""


class TooLongError(Exception):
    """A round took longer than it may."""


class Job(NamedTuple):
    """A `round` of work that is done every `every_s` seconds, and may take `within_s` seconds."""

    name: str
    round: Callable[[], Awaitable[object]]
    every_s: float
    within_s: float
    woken: asyncio.Event | None = None  # when it is set, the next round comes at once


@dataclass(slots=True)
class Standing:
    """How a job goes. `succeeded_at_s` is Unix seconds; before the first success it is when the job began."""

    succeeded_at_s: float
    failures: int = 0  # since start
    in_a_row: int = 0


class Jobs:
    """A worker's jobs and how each goes, by name."""

    def __init__(self) -> None:
        self.standings: dict[str, Standing] = {}
        self._rng = random.Random()  # noqa: S311  # the proxy's own randomness is not touched

    async def run(self, jobs: Iterable[Job]) -> None:
        """Runs all jobs until it is cancelled. No job should end; if one does, it is started again."""
        tasks = {self._start(job): job for job in jobs}
        try:
            while tasks:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    job = tasks.pop(task)
                    log.error("the job %s ended; it is started again", job.name, exc_info=_error_of(task))
                    tasks[self._start(job)] = job
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=LEAVE_S)

    def _start(self, job: Job) -> asyncio.Task[None]:
        self.standings.setdefault(job.name, Standing(time.time()))
        return asyncio.create_task(self._repeat(job), name=f"slo_router {job.name}")

    async def _repeat(self, job: Job) -> None:
        standing, task = self.standings[job.name], asyncio.current_task()
        while task is None or not task.cancelling():  # a library may swallow a cancellation
            began_s = time.monotonic()
            error = await _round(job)
            if error is None:
                standing.succeeded_at_s, standing.in_a_row = time.time(), 0
                took_s = time.monotonic() - began_s
                pause_s = max(job.every_s - took_s, LEAST_PAUSE_SHARE * job.every_s)
            else:
                standing.failures, standing.in_a_row = standing.failures + 1, standing.in_a_row + 1
                if standing.in_a_row == 1:
                    _tell(job, error)
                pause_s = min(job.every_s * FIRST_RETRY_SHARE * 2.0 ** min(standing.in_a_row - 1, 10), job.every_s)
            await _pause(job, pause_s * self._rng.uniform(0.9, 1.0))  # so that the workers' rounds do not coincide


async def _pause(job: Job, seconds: float) -> None:
    if job.woken is None:
        await asyncio.sleep(seconds)
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await job.woken.wait()
    job.woken.clear()


async def _round(job: Job) -> BaseException | None:
    """Runs one round. Returns what went wrong; `None` if nothing did."""
    task = asyncio.current_task()
    limit = asyncio.timeout(job.within_s)
    try:
        async with limit:
            await job.round()
    except asyncio.CancelledError as error:
        if task is None or task.cancelling():
            raise
        return error  # a library's own
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001  # also a panic of Rust code: the next round may succeed
        return TooLongError() if limit.expired() else error
    return TooLongError() if limit.expired() else None  # it ignored its cancellation


def _tell(job: Job, error: BaseException) -> None:
    if isinstance(error, TooLongError):
        log.warning("the job %s took more than %g s; it is tried again", job.name, job.within_s)
    elif not isinstance(error, ToldError):
        log.error("the job %s failed; it is tried again until it succeeds", job.name, exc_info=error)


def _error_of(task: asyncio.Future[object] | asyncio.Task[None]) -> BaseException | None:
    return asyncio.CancelledError() if task.cancelled() else task.exception()
