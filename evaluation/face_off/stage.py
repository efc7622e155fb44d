"""Starts what the face-off needs, one phase at a time plays on it, and stops all of it.

The endpoints are a process of their own, as is each proxy; the metrics that our plugin reads are measured by the agent,
`slo-bench run` and `slo-bench sweep` on the proxy's own configuration, and lie in an embedded Valkey.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

import httpx

from evaluation.face_off.arrivals import Arrival, Plan, arrivals
from evaluation.face_off.client import Act, open_client, play, send
from evaluation.face_off.outcome import Outcome
from evaluation.face_off.proxies import OURS, document
from evaluation.face_off.world import DEPLOYMENTS, OUTPUT_TOKENS, PHASES, Event, Phase
from evaluation.stock_proxy import StockProxy
from slo_router import embedded

ROOT = Path(__file__).parents[2]
RUN = ("run", "--requests", "6", "--concurrency", "2")  # of each deployment and category
SWEEP = ("sweep", "--lengths", "64,512", "--rates", "2,4,8,16", "--step-s", "3", "--output-tokens", str(OUTPUT_TOKENS))
WARM_UP_REQUESTS = 150  # near its 100th request a fresh proxy stops for about a second to collect garbage
WARM_UP_AT_A_TIME = 6
PLAYED_AT_MOST = 3


class StageError(RuntimeError):
    """Something did not start, or measured nothing."""


class Stage:
    """The endpoints and one proxy for each strategy. Whatever it starts is stopped by `exits`.

    Raises:
        StageError: the endpoints did not start, the agent measured nothing, or a proxy died again and again.
        RuntimeError: a proxy did not start; with the end of its log.
    """

    def __init__(self, directory: Path, strategies: Sequence[str], exits: ExitStack) -> None:
        self._urls = exits.enter_context(_endpoints(directory))
        self._home = directory / "valkey"
        self._environment = {embedded.DIRECTORY_VARIABLE: str(self._home)}
        api_bases = {name: f"{url}/v1" for name, url in self._urls.items()}
        self.proxies: dict[str, StockProxy] = {}
        self.deaths: list[str] = []
        for strategy in strategies:
            place = directory / strategy
            place.mkdir()
            proxy = StockProxy(document(strategy, api_bases), place, environment=self._environment)
            self.proxies[strategy] = proxy
            if strategy == OURS:
                exits.callback(embedded.stop, self._home)
                embedded.ensure_running(self._home)
                for command in (RUN, SWEEP):
                    self._measure(proxy, command)

    def start(self, strategy: str, exits: ExitStack) -> None:
        """Starts one proxy and warms it up with short answers."""
        proxy = self.proxies[strategy]
        exits.callback(proxy.stop)  # before the start, which can be interrupted
        proxy.start()
        asyncio.run(_warm_up(proxy))

    def play(self, strategy: str, phase: Phase, requests: Sequence[Arrival], seconds: float) -> list[Outcome]:
        """One phase on one proxy; afterwards every endpoint is well again. Returns the counted outcomes.

        A phase in which the proxy's process died says nothing of its strategy: it is played again on a new one, and
        `deaths` tells.
        """
        proxy = self.proxies[strategy]
        for _ in range(PLAYED_AT_MOST):
            outcomes = self._play(proxy, phase, requests, seconds)
            if proxy.exit_status is None:
                return outcomes
            self.deaths.append(f"{strategy}, {phase.name}: the proxy ended with exit status {proxy.exit_status}")
            proxy.stop()
            proxy.start()
            asyncio.run(_warm_up(proxy))
        raise StageError(self.deaths[-1])

    def _play(self, proxy: StockProxy, phase: Phase, requests: Sequence[Arrival], seconds: float) -> list[Outcome]:
        acts: list[tuple[float, Act]] = [(event.at * seconds, partial(self._fail, event)) for event in phase.events]

        async def run() -> list[Outcome]:
            async with open_client(proxy.url, proxy.auth) as client:
                return await play(client, requests, acts)

        try:
            return asyncio.run(run())
        finally:
            for url in self._urls.values():
                httpx.delete(f"{url}/control").raise_for_status()

    async def _fail(self, event: Event, client: httpx.AsyncClient) -> None:
        body = {"fault": event.fault, "factor": event.factor}
        (await client.post(f"{self._urls[event.deployment]}/control", json=body)).raise_for_status()

    def _measure(self, proxy: StockProxy, command: Sequence[str]) -> None:
        tool = str(Path(sys.executable).with_name("slo-bench"))
        environment = {**os.environ, **self._environment, "LITELLM_MASTER_KEY": proxy.master_key}
        words = [tool, *command, "--config", str(proxy.config_path)]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StageError(f"slo-bench {command[0]} left something unmeasured:\n{done.stdout}{done.stderr}")


@contextmanager
def _endpoints(directory: Path) -> Iterator[Mapping[str, str]]:
    """The emulated endpoints in a process that ends with the block or with this process; yields their URLs by name."""
    path = directory / "endpoints.json"
    path.write_text(json.dumps([asdict(deployment.spec) for deployment in DEPLOYMENTS]), encoding="utf-8")
    command = [sys.executable, "-m", "evaluation.endpoints", "--until-stdin-closes", "--spec", str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            lines = [process.stdout.readline() if process.stdout else "" for _ in DEPLOYMENTS]
            if not all(lines):
                raise StageError("the emulated endpoints did not start; see their message on stderr")
            yield {one["name"]: one["url"] for one in map(json.loads, lines)}
        finally:
            process.terminate()


async def _warm_up(proxy: StockProxy) -> None:
    requests = arrivals(PHASES[0], Plan(rate=WARM_UP_REQUESTS, seconds=1), "warm-up")[:WARM_UP_REQUESTS]
    free = asyncio.Semaphore(WARM_UP_AT_A_TIME)
    async with open_client(proxy.url, proxy.auth) as client:

        async def one(arrival: Arrival) -> Outcome:
            async with free:
                return await send(client, arrival, max_tokens=1)

        outcomes = await asyncio.gather(*map(one, requests))
    if failed := [outcome.error for outcome in outcomes if outcome.error]:
        raise StageError(
            f"{len(failed)} of {len(outcomes)} requests failed in the warm-up ({failed[0]}):\n{proxy.log[-2000:]}"
        )
