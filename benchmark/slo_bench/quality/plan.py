"""The plan of a quality run, made before the first question.

Every deployment gets the same items in the same order. The categories take turns, so that a stopped run has asked about
as many items of each. The plan leaves out the items with unit tests where these are not allowed, and the items for a
judge where none is given. Such an item is not graded as wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from slo_bench.errors import BenchError
from slo_bench.grading.graders import Code, Judge
from slo_bench.grading.sandbox import isolation
from slo_bench.guard.budget import is_priced
from slo_bench.guard.lock import endpoint_of
from slo_bench.load.plan import Skipped, chosen, targets_of
from slo_bench.measure.targets import Proxy, proxied, target_of
from slo_bench.quality.asking import Respondent
from slo_bench.quality.scores import CellScores
from slo_bench.quality.suite import Item, Suite
from slo_router.contract.model import Facts
from slo_router.contract.settings.deployments import ManagedDeployment


@dataclass(frozen=True, slots=True)
class Wanted:
    """The user's selection. An empty filter takes all."""

    deployments: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    judge: str | None = None
    allow_code: bool = False
    budget_usd: float | None = None
    items: int | None = None  # only the first `items` of each category


@dataclass(frozen=True, slots=True)
class QualityPlan:
    """Each respondent is asked each item."""

    respondents: tuple[Respondent, ...]
    items: tuple[Item, ...]
    cells: tuple[CellScores, ...]  # empty ones, in the order of the report
    judge: Respondent | None = None
    endpoints: Mapping[str, str] = field(default_factory=dict)  # see `lock.endpoint_of`
    skipped: tuple[Skipped, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def questions(self) -> int:
        """The number of answers to grade."""
        return len(self.respondents) * len(self.items)


def make_quality_plan(
    deployments: Sequence[ManagedDeployment], suite: Suite, wanted: Wanted, proxy: Proxy | None
) -> QualityPlan:
    """Plans a run. Raises BenchError for an unknown name, or for a budget without a known price."""
    known = {deployment.facts.deployment_id: deployment for deployment in deployments}
    chosen("--deployments", wanted.deployments, tuple(known))
    categories = chosen("--categories", wanted.categories, suite.categories)
    usable, remarks = _usable(suite, categories, wanted)
    items = Suite(tuple(usable))
    if any(isinstance(item.grader, Code) for item in usable) and not isolation():
        remarks.append("generated code runs with network access: this system does not let users make namespaces")
    targets, skipped = targets_of([known[name] for name in wanted.deployments or known], proxy)
    respondents = tuple(Respondent(known[name].facts, target) for name, target in targets.items())
    judge = None
    if any(isinstance(item.grader, Judge) for item in items.items) and wanted.judge is not None:
        judge = _judge(known, wanted.judge, proxy)
        remarks.extend(_partiality(wanted.judge, judge, [known[who.facts.deployment_id] for who in respondents]))
    if wanted.budget_usd is not None:
        _check_prices([*respondents, *([judge] if judge else [])])
    return QualityPlan(
        respondents=respondents,
        items=_in_turn(items),
        cells=tuple(_cell(who.facts, items, category) for who in respondents for category in items.categories),
        judge=judge,
        endpoints={who.facts.deployment_id: endpoint_of(known[who.facts.deployment_id]) for who in respondents},
        skipped=skipped,
        remarks=tuple(remarks),
    )


def _usable(suite: Suite, categories: Sequence[str], wanted: Wanted) -> tuple[list[Item], list[str]]:
    """The items that can be graded, and remarks on the others."""
    usable = [item for name in categories for item in suite.of_category(name)[: wanted.items]]
    needs = ((Code, wanted.allow_code, "--allow-code"), (Judge, wanted.judge is not None, "--judge ID"))
    remarks = []
    for grader, is_given, option in needs:
        left_out = sum(isinstance(item.grader, grader) for item in usable)
        if left_out and not is_given:
            remarks.append(f"{left_out} items left out: their grader needs {option}")
            usable = [item for item in usable if not isinstance(item.grader, grader)]
    if not usable:
        raise BenchError("; ".join(["no item is left to ask", *remarks]))
    return usable, remarks


def _judge(known: Mapping[str, ManagedDeployment], name: str, proxy: Proxy | None) -> Respondent:
    """The judge: a configured deployment, else a model name that the proxy knows. It gets an id of its own."""
    if name in known:
        facts, target = known[name].facts, target_of(known[name], proxy)
    elif proxy is not None:
        facts, target = Facts(name, name), proxied(proxy, name)
    else:
        raise BenchError(f"--judge: {name!r} is unknown, expected one of {', '.join(known)}, or --via-proxy URL")
    apart = f"judge:{name}"
    return Respondent(replace(facts, deployment_id=apart), replace(target, deployment_id=apart))


def _check_prices(asked: Sequence[Respondent]) -> None:
    for who in asked:
        if not is_priced(who.facts):
            raise BenchError(
                f"--budget-usd: the price of {who.facts.deployment_id} is unknown, expected input_cost_per_token and "
                "output_cost_per_token, or gpu_usd_per_hour"
            )


def _partiality(name: str, judge: Respondent, judged: Sequence[ManagedDeployment]) -> list[str]:
    """Remarks on deployments that may judge themselves, for models favour their own answers."""
    return [
        f"{one.facts.deployment_id}: judged by {name}, which may be itself; expect a bias for it"
        for one in judged
        if name in {one.facts.deployment_id, one.group} or judge.facts.model == one.facts.model
    ]


def _in_turn(items: Suite) -> tuple[Item, ...]:
    """The items, with the categories taking turns."""
    ranked = [(rank, item) for name in items.categories for rank, item in enumerate(items.of_category(name))]
    return tuple(item for _, item in sorted(ranked, key=lambda pair: pair[0]))


def _cell(facts: Facts, items: Suite, category: str) -> CellScores:
    planned = len(items.of_category(category))
    return CellScores(facts.deployment_id, facts.model, category, items.fingerprint(category), planned)
