"""All policies through one scenario with one seed, on the same requests."""

from __future__ import annotations

import functools
import math
import random
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from evaluation.simulator.clairvoyant import Clairvoyant, Planning, Present
from evaluation.simulator.endpoint import Fault, Spec
from evaluation.simulator.engine import Run, Served, Simulation
from evaluation.simulator.ours import Ours
from evaluation.simulator.policies import BASELINES
from evaluation.simulator.policy import Policy
from evaluation.simulator.scenarios import BY_NAME, END_S, SPECS, START_S, Scenario, benchmark
from evaluation.simulator.tally import Tally, tally
from evaluation.simulator.workload import Request, Size, generate, read_trace
from slo_router.contract.settings.group import RescueSettings
from slo_router.decision.prediction import ENOUGH_LIVE

CLAIRVOYANT, PLANNING, OURS = "clairvoyant", "clairvoyant that plans ahead", "ours"
PRESENT = "sees the present alone"
PRESENT_USD_PER_S = 1e-2  # at `medium`: the one of PRICES_USD_PER_S that kept most on other seeds
RESCUING = "ours with rescue"
PRICES_USD_PER_S = (1e-5, 3e-4, 1e-3, 3e-3, 1e-2)
PROVEN = math.ceil(ENOUGH_LIVE)  # answers that prove a deployment: the plugin wants them before it predicts from them
SETTLED = 200  # requests after which a cold start should cost what the steady state costs


class Task(NamedTuple):
    """One seed of one scenario; `trace` is `None` for Poisson arrivals."""

    scenario: str
    seed: int
    trace: Path | None


class Study(NamedTuple):
    """The tally of each policy's run."""

    task: Task
    tallies: dict[str, Tally]


_trace = functools.cache(read_trace)


def study(task: Task) -> Study:
    """Runs every policy."""
    trace = None if task.trace is None else _trace(task.trace)
    scenario = BY_NAME[task.scenario]
    specs, faults = scenario.specs(task.seed), scenario.faults(task.seed)
    requests = generate(trace, scenario.rate, scenario.duration_s, specs, task.seed, draw=scenario.draw)
    runs = {named.name: simulate(named.make(specs, _rng(task)), specs, faults, requests) for named in BASELINES}
    runs[OURS] = simulate(ours(trace, scenario, task), specs, faults, requests)
    if scenario.has_rescue:
        runs[RESCUING] = simulate(ours(trace, scenario, task, RescueSettings()), specs, faults, requests)
    runs[CLAIRVOYANT] = simulate(Clairvoyant(specs, _rng(task)), specs, faults, requests)
    if scenario.is_tight:
        runs[PLANNING] = planned(specs, faults, requests, task)
        runs[PRESENT] = simulate(present(specs, requests, task), specs, faults, requests)
    reference = runs[PLANNING if scenario.is_tight else CLAIRVOYANT].served
    tallies = {name: tally(run, reference, scenario.judged_from_s) for name, run in runs.items()}
    if scenario.unmeasured:
        known = simulate(ours(trace, BY_NAME["steady"], task), specs, faults, requests)
        tallies[OURS] = {**tallies[OURS], **cold_start(runs[OURS].served, known.served, scenario)}
    for name in faults:
        tallies[OURS] = {**tallies[OURS], **reaction(runs[OURS].served, _position(name, specs))}
    return Study(task, tallies)


def simulate(policy: Policy, specs: Sequence[Spec], faults: Mapping[str, Fault], requests: Sequence[Request]) -> Run:
    """One policy's run."""
    simulation = Simulation(specs, faults)
    if isinstance(policy, Clairvoyant):
        policy.endpoints = simulation.endpoints
    return simulation.run(policy, requests)


def planned(specs: Sequence[Spec], faults: Mapping[str, Fault], requests: Sequence[Request], task: Task) -> Run:
    """Runs each price at each endpoint, and returns the run that keeps most contracts."""
    found: list[Run] = []
    for at in range(len(specs)):
        for price in PRICES_USD_PER_S:
            policy = Planning(specs, _rng(task))
            policy.prices = [price if i == at else 0.0 for i in range(len(specs))]
            found.append(simulate(policy, specs, faults, requests))
    return max(found, key=lambda run: sum(entry.kept for entry in run.served))


def present(specs: Sequence[Spec], requests: Sequence[Request], task: Task) -> Present:
    """The router that sees every endpoint, and knows the mean answer and one price."""
    policy = Present(specs, _rng(task))
    policy.prices = [PRESENT_USD_PER_S if spec.name == "medium" else 0.0 for spec in specs]
    policy.answer_tokens = statistics.fmean(request.answers[0] for request in requests)
    return policy


def ours(trace: Sequence[Size] | None, scenario: Scenario, task: Task, rescue: RescueSettings | None = None) -> Ours:
    """The plugin, with the benchmark that the scenario allows."""
    return Ours(scenario.specs(task.seed), _rng(task), benchmark(trace, scenario, -1 - task.seed), rescue)


def cold_start(served: Sequence[Served], known: Sequence[Served], scenario: Scenario) -> Tally:
    """Sums for a new deployment's share until it is proven, and for the later cost without and with a benchmark."""
    new = {_position(name, SPECS) for name in scenario.unmeasured}
    answers = sorted(s.ended_s for s in served if s.outcome == "success" and s.choices[-1].deployment in new)
    proven_s = answers[PROVEN - 1] if len(answers) >= PROVEN else scenario.duration_s
    trial = [s.choices[0].deployment in new for s in served if s.request.at_s < proven_s]
    settled_usd, known_usd = (sum(s.cost_usd for s in run if s.request.number >= SETTLED) for run in (served, known))
    return {"trial": sum(trial), "before_proven": len(trial), "settled_usd": settled_usd, "known_usd": known_usd}


def reaction(served: Sequence[Served], faulty: int) -> Tally:
    """The requests that came during a fault, without its first second, and how many of them tried the faulty endpoint.

    `return_s` is the time from the fault's end to the arrival of the next request whose contract the endpoint kept.
    """
    sums: Counter[str] = Counter(runs=1)
    back_s = [
        s.request.at_s for s in served if s.request.at_s >= END_S and s.choices[-1].deployment == faulty and s.kept
    ]
    for s in served:
        if START_S + 1 <= s.request.at_s < END_S:
            sums["during"] += 1
            sums["sent_to_faulty"] += any(choice.deployment == faulty for choice in s.choices)
    return {**sums, "return_s": min(back_s, default=BY_NAME["steady"].duration_s) - END_S}


def _position(name: str, specs: Sequence[Spec]) -> int:
    return next(i for i, spec in enumerate(specs) if spec.name == name)


def _rng(task: Task) -> random.Random:
    return random.Random(f"{task.seed}:policy")
