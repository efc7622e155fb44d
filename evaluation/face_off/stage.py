"""Starts what the face-off needs, plays one phase at a time on it, and stops all of it.

Each strategy has its own proxy and endpoints. All get the same requests at the same instants, so that the machine
affects all of them alike. The agent measures what our plugin reads, on the proxy's own configuration: `slo-bench run`,
and `slo-bench sweep` for the reference's endpoints. The metrics lie in an embedded Valkey.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx

from evaluation.emulator import endpoint_process
from evaluation.face_off.arrivals import Arrival, Plan, arrivals
from evaluation.face_off.client import Act, open_client, play, send
from evaluation.face_off.outcome import Outcome
from evaluation.face_off.proxies import OURS, document
from evaluation.face_off.watch import Shut, Watch
from evaluation.face_off.world import DEPLOYMENTS, EVERYBODY, FLEETS, OUTPUT_TOKENS, PHASES, Event, Phase
from evaluation.shared.stock_proxy import StockProxy
from slo_router.contract.redis import embedded

RUN = ("run", "--requests", "6", "--concurrency", "2", "--parallel")  # requests for each deployment and category
SWEEP = ("sweep", "--lengths", "64,512", "--rates", "2,4,8,16", "--step-s", "3", "--output-tokens", str(OUTPUT_TOKENS))
WARM_UP_REQUESTS = 150  # near its 100th request a fresh proxy stops for about a second to collect garbage
WARM_UP_AT_A_TIME = 6
PLAYED_AT_MOST = 3
LONGEST_ANSWER = 8_192


class StageError(RuntimeError):
    """Something did not start, or measured nothing."""


class Arm:
    """One strategy's proxy and its endpoints."""

    def __init__(self, strategy: str, proxy: StockProxy, urls: Mapping[str, str]) -> None:
        self.strategy = strategy
        self.proxy = proxy
        self.urls = urls  # of the endpoints, by deployment


class Stage:
    """An arm for each strategy, side by side. `exits` stops everything that the stage starts.

    Raises:
        StageError: the agent measured nothing, or a proxy died again and again.
        RuntimeError: the endpoints or a proxy did not start; with the end of its log.
    """

    def __init__(self, directory: Path, strategies: Sequence[str], exits: ExitStack) -> None:
        self._home = directory / "valkey"
        self._environment = {embedded.DIRECTORY_VARIABLE: str(self._home)}
        self._exits = exits
        self.arms = [self._arm(directory / strategy, strategy) for strategy in strategies]
        self.deaths: list[str] = []
        self.shut: dict[Phase, list[Shut]] = {}  # by our proxy, though the deployment did not fail

    def _arm(self, place: Path, strategy: str) -> Arm:
        place.mkdir()
        addresses = self._exits.enter_context(endpoint_process([deployment.spec for deployment in EVERYBODY]))
        made = document(strategy, {one.name: one.api_base for one in addresses})
        proxy = StockProxy(made, place, environment=self._environment)
        return Arm(strategy, proxy, {one.name: one.url for one in addresses})

    def start(self, arm: Arm) -> None:
        """Starts a proxy and warms it up with short answers. The agent first measures the endpoints of our proxy."""
        if arm.strategy == OURS:
            self._exits.callback(embedded.stop, self._home)
            embedded.ensure_running(self._home)
            known = [one.name for fleet in FLEETS.values() for one in fleet if one.is_measured]
            sweeps = [(*SWEEP, "--deployments", one.name) for one in DEPLOYMENTS]
            prompts = arm.proxy.config_path.with_name("prompts.jsonl")
            prompts.write_text("\n".join(map(json.dumps, _workload())), encoding="utf-8")
            measure(
                arm.proxy, self._environment, [(*RUN, "--workload", str(prompts), "--deployments", ",".join(known))]
            )
            measure(arm.proxy, self._environment, sweeps)
        self._exits.callback(arm.proxy.stop)  # before the start, because Ctrl-C may interrupt it
        arm.proxy.start()
        asyncio.run(_warm_up(arm.proxy))

    def play(self, phase: Phase, requests: Sequence[Arrival], seconds: float) -> dict[str, list[Outcome]]:
        """Plays one phase on all arms at once, then clears every fault. Returns the counted outcomes.

        If a proxy's process died, the phase says nothing about its strategy. Then the phase is played again with a new
        process, and `deaths` gets a line.
        """
        for _ in range(PLAYED_AT_MOST):
            outcomes = asyncio.run(self._play(phase, requests, seconds))
            died = [arm for arm in self.arms if arm.proxy.exit_status is not None]
            if not died:
                return outcomes
            for arm in died:
                status = arm.proxy.exit_status
                self.deaths.append(f"{arm.strategy}, {phase.name}: the proxy ended with exit status {status}")
                arm.proxy.stop()
                arm.proxy.start()
                asyncio.run(_warm_up(arm.proxy))
        raise StageError(self.deaths[-1])

    async def _play(self, phase: Phase, requests: Sequence[Arrival], seconds: float) -> dict[str, list[Outcome]]:
        ours = next((arm for arm in self.arms if arm.strategy == OURS), None)
        asked = {one.name for one in phase.fleet}  # endpoints of other fleets may still hang since their own phases
        urls = {} if ours is None else {name: url for name, url in ours.urls.items() if name in asked}
        watch = None if ours is None else Watch(embedded.ensure_running(self._home), urls)

        async def run(arm: Arm) -> list[Outcome]:
            acts: list[tuple[float, Act]] = [
                (event.at * seconds, partial(_fail, arm.urls[event.deployment], event)) for event in phase.events
            ]
            async with open_client(arm.proxy.url, arm.proxy.auth) as client:
                return await play(client, requests, acts, phase.group)

        watching = None if watch is None else asyncio.create_task(watch.run())
        try:
            found = await asyncio.gather(*map(run, self.arms))
        finally:
            if watching is not None:
                watching.cancel()
            async with httpx.AsyncClient() as client:
                for arm in self.arms:
                    for url in arm.urls.values():
                        (await client.delete(f"{url}/control")).raise_for_status()
        if watch is not None:
            self.shut.setdefault(phase, []).extend(watch.ended())
        return {arm.strategy: outcomes for arm, outcomes in zip(self.arms, found, strict=True)}


def measure(proxy: StockProxy, environment: Mapping[str, str], commands: Sequence[Sequence[str]]) -> None:
    """Runs the agent on the proxy's configuration, once for each command, side by side. Raises StageError."""
    tool = str(Path(sys.executable).with_name("slo-bench"))
    begun = [
        subprocess.Popen(
            [tool, *command, "--config", str(proxy.config_path)],
            env={**os.environ, **environment, "LITELLM_MASTER_KEY": proxy.master_key},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for command in commands
    ]
    said = [process.communicate()[0] for process in begun]
    for process, text, command in zip(begun, said, commands, strict=True):
        if process.returncode != 0:
            raise StageError(f"slo-bench {command[0]} left something unmeasured:\n{text}")


async def _fail(url: str, event: Event, client: httpx.AsyncClient) -> None:
    (await client.post(f"{url}/control", json=event.fault.model_dump())).raise_for_status()


def _workload() -> Iterator[dict[str, object]]:
    """Prompts of the same classes as in the phases, like a team's own sample. Long answers are not cut."""
    for arrival in arrivals(PHASES[0], Plan(rate=30, seconds=4), "agent"):
        message = {"role": "user", "content": arrival.prompt}
        yield {"category": arrival.kind.category, "max_tokens": LONGEST_ANSWER, "messages": [message]}


async def _warm_up(proxy: StockProxy) -> None:
    requests = arrivals(PHASES[0], Plan(rate=WARM_UP_REQUESTS, seconds=1), "warm-up")[:WARM_UP_REQUESTS]
    free = asyncio.Semaphore(WARM_UP_AT_A_TIME)
    async with open_client(proxy.url, proxy.auth) as client:

        async def one(arrival: Arrival) -> Outcome:
            async with free:
                return await send(client, arrival._replace(ask=arrival.ask._replace(max_tokens=1)))

        outcomes = await asyncio.gather(*map(one, requests))
    if failed := [outcome.error for outcome in outcomes if outcome.error]:
        raise StageError(
            f"{len(failed)} of {len(outcomes)} requests failed in the warm-up ({failed[0]}):\n{proxy.log[-2000:]}"
        )
