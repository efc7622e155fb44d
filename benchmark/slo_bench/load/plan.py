"""The plan of a run, made before the first request: its cells, their prompts, and the order.

A cell is one deployment in one category. Every deployment gets the same prompts in the same order, so that their
figures compare. The seed alone decides the order. The plan also lists deployments that cannot be called, so that a run
reports them.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import cycle, groupby, islice

from slo_bench.errors import BenchError, UnreachableError
from slo_bench.load.arrivals import Arrival
from slo_bench.measure.targets import Proxy, Target, target_of
from slo_bench.prompts.workload import Prompt, Workload
from slo_router.contract.model import Facts, Slo
from slo_router.contract.settings.config import Settings
from slo_router.contract.settings.deployments import ManagedDeployment
from slo_router.contract.settings.group import SloSettings
from slo_router.contract.units import to_s

NO_SLO = Slo()


@dataclass(frozen=True, slots=True)
class Selection:
    """What the user asked to measure; an empty filter takes all. `requests` is per cell."""

    requests: int = 10
    seed: int = 0
    deployments: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """One deployment in one category; one prompt per request.

    `slo` is its group's; the measurements are judged by it. `utilization` (0..1] is for a GPU that is paid by the hour:
    the share of its time in which it is assumed to be as busy as when it is measured.
    """

    facts: Facts
    target: Target
    category: str
    prompts: tuple[Prompt, ...]
    group: str = ""
    slo: Slo = NO_SLO
    utilization: float = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """`concurrency` and `warmup` (discarded requests) are per deployment; `total_s` bounds the whole run."""

    concurrency: int = 4
    warmup: int = 1
    total_s: float = 30 * 60.0
    parallel: bool = False  # all deployments at once
    arrivals: tuple[Arrival, ...] | None = None  # of each cell's prompts; with these only the warm-up has `concurrency`


@dataclass(frozen=True, slots=True)
class Skipped:
    """A deployment that cannot be measured, and why."""

    deployment_id: str
    reason: str

    def document(self) -> dict[str, str]:
        """As JSON values."""
        return {"deployment": self.deployment_id, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Plan:
    """The cells in the order in which they are measured, those of one deployment together."""

    cells: tuple[Cell, ...]
    skipped: tuple[Skipped, ...]

    @property
    def requests(self) -> int:
        """Measured requests, without warm-up."""
        return sum(len(cell.prompts) for cell in self.cells)

    def without(self, cells: Container[tuple[str, str]]) -> Plan:
        """The plan without some cells, given as (deployment id, category)."""
        return replace(self, cells=tuple(c for c in self.cells if (c.facts.deployment_id, c.category) not in cells))

    def leave_out(self, deployment_ids: Container[str], reason: str) -> Plan:
        """The plan without some deployments, which are listed as skipped for `reason`."""
        out = tuple(dict.fromkeys(c.facts.deployment_id for c in self.cells if c.facts.deployment_id in deployment_ids))
        cells = tuple(cell for cell in self.cells if cell.facts.deployment_id not in out)
        return Plan(cells, (*self.skipped, *(Skipped(name, reason) for name in out)))

    def judged_by(self, slos: Mapping[str, Slo], utilization: float = 1.0) -> Plan:
        """The plan with each group's SLO, and with the utilization for GPU hours (0..1]."""
        held = (replace(cell, slo=slos.get(cell.group, NO_SLO), utilization=utilization) for cell in self.cells)
        return replace(self, cells=tuple(held))

    def by_deployment(self) -> list[tuple[Cell, ...]]:
        """The cells, one tuple per deployment."""
        return [tuple(cells) for _, cells in groupby(self.cells, key=lambda cell: cell.facts.deployment_id)]


def slos_of(settings: Settings) -> dict[str, Slo]:
    """Each group's own SLO, by the group's name."""
    return {name: _slo(group.slo) for name, group in settings.plugin.groups.items()}


def make_plan(
    deployments: Iterable[ManagedDeployment], workload: Workload, selection: Selection, proxy: Proxy | None
) -> Plan:
    """Plans a run. Raises BenchError where a filter names something that does not exist."""
    known = {deployment.facts.deployment_id: deployment for deployment in deployments}
    by_name = {one.facts.name: name for name, one in known.items()}  # what the tables show instead of a generated id
    wanted = [by_name.get(name, name) for name in selection.deployments]
    ids = chosen("--deployments", wanted, tuple(known))
    categories = chosen("--categories", selection.categories, workload.categories)
    prompts = {category: _order(workload, category, selection) for category in categories}
    targets, skipped = targets_of([known[deployment_id] for deployment_id in ids], proxy)
    cells = tuple(
        Cell(known[name].facts, target, category, prompts[category], known[name].group)
        for name, target in targets.items()
        for category in categories
    )
    return Plan(cells, skipped)


def targets_of(
    deployments: Iterable[ManagedDeployment], proxy: Proxy | None
) -> tuple[dict[str, Target], tuple[Skipped, ...]]:
    """How to call each deployment, by its id, and those that cannot be called."""
    targets: dict[str, Target] = {}
    skipped: list[Skipped] = []
    for deployment in deployments:
        name = deployment.facts.deployment_id
        try:
            targets[name] = target_of(deployment, proxy)
        except UnreachableError as error:
            skipped.append(Skipped(name, str(error)))
    return targets, tuple(skipped)


def _slo(limits: SloSettings) -> Slo:
    ttft_s, tpot_s, e2e_s = map(to_s, (limits.ttft_ms, limits.tpot_ms, limits.e2e_ms))
    return Slo(ttft_s, tpot_s, e2e_s, limits.cost_per_1k)


def chosen(option: str, wanted: Sequence[str], known: Sequence[str]) -> Sequence[str]:
    """The wanted names in the order of `known`; all if none is wanted. Raises BenchError for an unknown name."""
    for name in wanted:
        if name not in known:
            raise BenchError(f"{option}: {name!r} is unknown, expected one of {', '.join(known)}")
    return [name for name in known if not wanted or name in wanted]


def _order(workload: Workload, category: str, selection: Selection) -> tuple[Prompt, ...]:
    """The category's prompts, shuffled by a hash of seed and position, then repeated up to the number of requests."""
    prompts = workload.of_category(category)
    shuffled = sorted(range(len(prompts)), key=lambda i: sha256(f"{selection.seed}:{category}:{i}".encode()).digest())
    return tuple(prompts[i] for i in islice(cycle(shuffled), selection.requests))
