"""Starts the processes of the study, and plays one arm at a time on them.

All arms meet the same endpoints, one after another. Each proxy has its own Valkey, so that no proxy knows what another
has learned.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import httpx
import redis

from evaluation.emulator import Fault, Seen, endpoint_process
from evaluation.face_off.summary import quantile
from evaluation.overhead.proxy_overhead import MS_PER_S, MeasuredProxy, publish
from evaluation.robustness.stalls.asking import Answer, Question, ask
from evaluation.robustness.stalls.checks import Findings, calls_of, examine
from evaluation.robustness.stalls.ledger import CODE, Booked, booked, call_ids
from evaluation.robustness.stalls.world import SETTLE_S, SPECS, TTFT_SLO_S, Arm, Phase, document
from slo_router.contract.keys import REQUESTS_STREAM
from slo_router.contract.redis import embedded

WORKERS = 2
PROXY_S = 0.03  # that the proxy adds to a benchmark's TTFT
WARM_UP_REQUESTS, WARM_UP_AT_A_TIME = 200, 6
LEAVES_NOTHING_S = 1.0  # after the last answer, until the endpoints have noted everything


class Slice(NamedTuple):
    """The figures of one arm in one phase of one repeat, in seconds, over the counted requests except for the CPU."""

    ttft_s: Sequence[float]  # sorted; without any content, the time until the error came
    findings: Findings
    cpu_s: float  # of the proxy, per request, with the requests before the phase
    served: Mapping[str, float]  # share of the answers by deployment

    @property
    def p50_s(self) -> float:
        """The median time to the first content."""
        return statistics.median(self.ttft_s)

    @property
    def p99_s(self) -> float:
        """The p99 of the time to the first content."""
        return quantile(self.ttft_s, 0.99)

    @property
    def kept(self) -> float:
        """The share whose first content kept the SLO."""
        return sum(one <= TTFT_SLO_S for one in self.ttft_s) / len(self.ttft_s)


class HandedOn(NamedTuple):
    """A rescued request: the time from its deadline to the next call, and from that call to its first token."""

    late_ms: float
    next_ms: float


class Stage:
    """Starts everything; `exits` stops it. Raises RuntimeError if something does not start."""

    def __init__(self, directory: Path, exits: ExitStack) -> None:
        self._directory, self._exits = directory, exits
        addresses = exits.enter_context(endpoint_process(SPECS))
        self._urls = {one.name: one.url for one in addresses}
        self._api_bases = {one.name: one.api_base for one in addresses}
        self._proxies: dict[str, MeasuredProxy] = {}
        self._finished: dict[str, list[str]] = {}  # call ids of finished answers, by proxy

    def start(
        self, name: str, rescue: Mapping[str, object] | None, environment: Mapping[str, str] | None = None
    ) -> MeasuredProxy:
        """Starts a proxy and warms it up. From the warm-up the plugin learns the usual times."""
        place = self._directory / name
        place.mkdir()
        (place / "ledger.py").write_text(CODE, encoding="utf-8")
        home = place / "valkey"
        self._exits.callback(embedded.stop, home)
        for spec in SPECS:
            publish(home, [spec.name], spec.ttft_ms / MS_PER_S + PROXY_S)
        proxy = MeasuredProxy(
            document(name, self._api_bases, rescue),
            place,
            workers=WORKERS,
            environment={embedded.DIRECTORY_VARIABLE: str(home), **(environment or {})},
        )
        self._exits.callback(proxy.stop)  # before the start, because Ctrl-C may interrupt it
        proxy.start()
        self._proxies[name] = proxy
        asyncio.run(self._warm_up(proxy))
        return proxy

    async def _warm_up(self, proxy: MeasuredProxy) -> None:
        free = asyncio.Semaphore(WARM_UP_AT_A_TIME)
        async with client_of(proxy) as client:

            async def one(number: int) -> Answer:
                async with free:
                    return await ask(client, Question(f"#{number:08x}"))

            answers = await asyncio.gather(*map(one, range(WARM_UP_REQUESTS)))
        failed = [answer.error for answer in answers if answer.error]
        if failed:
            raise RuntimeError(f"{len(failed)} requests failed in the warm-up ({failed[0]}):\n{proxy.log[-2000:]}")

    def play(self, arm: Arm, phase: Phase, *, requests: int, rate: float, seed: int) -> Slice:
        """Plays one phase with one arm, then clears every fault."""
        return asyncio.run(self._play(arm, phase, requests, rate, seed))

    async def _play(self, arm: Arm, phase: Phase, requests: int, rate: float, seed: int) -> Slice:
        proxy, rng = self._proxies[arm.proxy], random.Random(f"{phase.name}:{seed}")
        seconds = requests / rate
        instants = sorted(rng.uniform(-SETTLE_S, seconds) for _ in range(round(rate * (seconds + SETTLE_S))))
        asked = [(at_s, Question(f"#{rng.getrandbits(32):08x}")) for at_s in instants]
        began_s, cpu_before_s = perf_counter() + SETTLE_S, proxy.cpu_s()

        async with client_of(proxy) as client, httpx.AsyncClient() as control:

            async def send(at_s: float, question: Question) -> tuple[float, Answer, float]:
                await asyncio.sleep(began_s + at_s - perf_counter())
                sent_s = perf_counter()
                answer = await ask(client, question, dict(arm.headers))
                return at_s, answer, perf_counter() - sent_s

            async def fail(at_s: float, endpoint: str, faults: Sequence[Fault]) -> None:
                await asyncio.sleep(began_s + at_s - perf_counter())
                await self.fail(control, endpoint, faults)

            acts = [fail(event.at * seconds, event.endpoint, event.faults) for event in phase.events]
            async with asyncio.TaskGroup() as tasks:
                sent = [tasks.create_task(send(*one)) for one in asked]
                for act in acts:
                    tasks.create_task(act)
            found = [(answer, took_s) for at_s, answer, took_s in (task.result() for task in sent) if at_s >= 0]
            cpu_s = proxy.cpu_s() - cpu_before_s
            await asyncio.sleep(LEAVES_NOTHING_S)
            seen = await self.collect(control)
        self.finished(arm.proxy, [answer for answer, _ in found])
        waits = sorted(took_s if answer.ttft_s is None else answer.ttft_s for answer, took_s in found)
        answers = [answer for answer, _ in found]
        by = Counter(answer.model or "" for answer in answers)
        served = {name: count / len(answers) for name, count in by.items()}
        return Slice(waits, examine(answers, calls_of(seen)), cpu_s / len(asked), served)

    def handed_on(self, name: str) -> list[HandedOn]:
        """The hand-over of each rescued request, by the records that the proxy wrote."""
        with redis.Redis.from_url(embedded.ensure_running(self._directory / name / "valkey")) as client:
            records = [json.loads(fields[b"record"]) for _, fields in client.xrange(REQUESTS_STREAM)]
        tries = [record["tries"] for record in records if record.get("rescued")]
        return [
            HandedOn(second["sent_ms"] - first["deadline_ms"], second["first_token_ms"] - second["sent_ms"])
            for first, second, *_ in tries
            if second["first_token_ms"] is not None
        ]

    def finished(self, name: str, answers: Iterable[Answer]) -> None:
        """Notes answers of a proxy that LiteLLM has to book."""
        self._finished.setdefault(name, []).extend(call_ids(answers))

    def booked(self) -> Booked:
        """What was booked by all proxies together."""
        rows = [booked(self._directory / name, ids) for name, ids in self._finished.items()]
        return Booked(*(sum(row[i] for row in rows) for i in range(3)))

    async def fail(self, control: httpx.AsyncClient, endpoint: str, faults: Sequence[Fault]) -> None:
        """Makes an endpoint fail like this from now on."""
        said = [fault.model_dump() for fault in faults]
        (await control.post(f"{self._urls[endpoint]}/control", json=said)).raise_for_status()

    async def collect(self, control: httpx.AsyncClient) -> dict[str, list[Seen]]:
        """The requests that the endpoints saw, at most the last thousand of each. Clears these and every fault."""
        found: dict[str, list[Seen]] = {}
        for name, url in self._urls.items():
            said = (await control.get(f"{url}/control")).json()
            found[name] = [Seen(**{**one, "body_keys": tuple(one["body_keys"])}) for one in said["seen"]]
            (await control.delete(f"{url}/control")).raise_for_status()
        return found


def client_of(proxy: MeasuredProxy) -> httpx.AsyncClient:
    """A client of one proxy, with no limit on its connections."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    return httpx.AsyncClient(base_url=proxy.url, headers=proxy.auth, timeout=90, limits=limits)
