"""Random faults at two of three endpoints: stalls, cuts, lost connections and errors.

Clients hang up at any moment. Requests go to four routes, streamed and whole, several at a time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import httpx

from evaluation.emulator import Fault
from evaluation.overhead.proxy_overhead import MeasuredProxy
from evaluation.robustness.stalls.asking import PATHS, Answer, Question, ask
from evaluation.robustness.stalls.checks import Findings, calls_of, examine, summed
from evaluation.robustness.stalls.stage import LEAVES_NOTHING_S, Stage, client_of
from evaluation.robustness.stalls.world import SILENT, stalls

AT_A_TIME = 12
ROUND = 400  # requests between two collections; an endpoint keeps a thousand
LEAVE, WHOLE = 0.1, 0.2  # shares of the requests
STALL_SHARE, STALL_S = 0.06, 3.0
OTHERS = 0.01  # share of each other fault


def questions(count: int, seed: int) -> Iterator[Question]:
    """The requests. A client that leaves does so within a second and a half."""
    rng = random.Random(f"stalls:{seed}")
    for _ in range(count):
        leaves_s = rng.uniform(0, 1.5) if rng.random() < LEAVE else None
        yield Question(f"#{rng.getrandbits(32):08x}", rng.choice(list(PATHS)), rng.random() >= WHOLE, leaves_s)


def faults(seed: int) -> list[Fault]:
    """The mix of faults that an endpoint gets."""
    others = [
        Fault(fault="cut", after_chunks=0, share=OTHERS),
        Fault(fault="cut", after_chunks=2, share=OTHERS),
        Fault(fault="drop", share=OTHERS),
        Fault(fault="error500", share=OTHERS),
    ]
    return stalls((*SILENT, "middle"), STALL_SHARE, STALL_S, seed) + others


def fuzz(stage: Stage, name: str, proxy: MeasuredProxy, count: int, seed: int) -> Findings:
    """Sends all requests. Returns what was wrong."""
    return asyncio.run(_fuzz(stage, name, proxy, list(questions(count, seed)), seed))


async def _fuzz(stage: Stage, name: str, proxy: MeasuredProxy, asked: list[Question], seed: int) -> Findings:
    found, free = [], asyncio.Semaphore(AT_A_TIME)
    async with client_of(proxy) as client, httpx.AsyncClient() as control:

        async def send(question: Question) -> Answer:
            async with free:
                return await ask(client, question)

        for begin in range(0, len(asked), ROUND):
            for endpoint in ("a", "b"):
                await stage.fail(control, endpoint, faults(seed + begin))
            answers = await asyncio.gather(*map(send, asked[begin : begin + ROUND]))
            stage.finished(name, answers)
            await asyncio.sleep(LEAVES_NOTHING_S)
            found.append(examine(answers, calls_of(await stage.collect(control))))
    return summed(found)
