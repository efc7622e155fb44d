"""Whom a suite is put to, decided before the first wanted.

Every deployment gets the same items in the same order, the categories taking turns, so that a run which is stopped has
asked all of them much the same. Items whose grader was not allowed (unit tests) or not given (a judge) are left out of
the plan, not graded as wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from slo_bench.errors import BenchError, UnreachableError
from slo_bench.grading.graders import Code, Judge
from slo_bench.grading.sandbox import isolation
from slo_bench.guard.budget import is_priced
from slo_bench.guard.lock import endpoint_of
from slo_bench.load.plan import Skipped
from slo_bench.measure.targets import Proxy, proxied, target_of
from slo_bench.quality.asking import Respondent
from slo_bench.quality.scores import CellScores
from slo_bench.quality.suite import Item, Suite
from slo_router.contract.model import Facts
from slo_router.contract.settings.deployments import ManagedDeployment


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user asked for; an empty filter takes all."""

    deployments: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    judge: str | None = None
    allow_code: bool = False
    budget_usd: float | None = None
    items: int | None = None  # of each category at most, the first ones


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
        """Answers that are graded in the end."""
        return len(self.respondents) * len(self.items)


def make_quality_plan(
    deployments: Sequence[ManagedDeployment], suite: Suite, wanted: Wanted, proxy: Proxy | None
) -> QualityPlan:
    """Plans a run. Raises BenchError where the user names what does not exist, or a price is missing for a budget."""
    known = {deployment.facts.deployment_id: deployment for deployment in deployments}
    _check("--deployments", wanted.deployments, tuple(known))
    _check("--categories", wanted.categories, suite.categories)
    chosen, remarks = _usable(suite, wanted)
    items = Suite(tuple(chosen))
    if any(isinstance(item.grader, Code) for item in chosen) and not isolation():
        remarks.append("generated code runs with network access: this system lets no user make namespaces")
    respondents, skipped = _callable(wanted.deployments or tuple(known), known, proxy)
    judge = None
    if any(isinstance(item.grader, Judge) for item in items.items) and wanted.judge is not None:
        judge = _judge(known, wanted.judge, proxy)
        remarks.extend(_partiality(wanted.judge, judge, [known[who.facts.deployment_id] for who in respondents]))
    if wanted.budget_usd is not None:
        _check_prices([*respondents, *([judge] if judge else [])])
    return QualityPlan(
        respondents=tuple(respondents),
        items=_in_turn(items),
        cells=tuple(_cell(who.facts, items, category) for who in respondents for category in items.categories),
        judge=judge,
        endpoints={who.facts.deployment_id: endpoint_of(known[who.facts.deployment_id]) for who in respondents},
        skipped=tuple(skipped),
        remarks=tuple(remarks),
    )


def _callable(
    ids: Sequence[str], known: Mapping[str, ManagedDeployment], proxy: Proxy | None
) -> tuple[list[Respondent], list[Skipped]]:
    respondents: list[Respondent] = []
    skipped: list[Skipped] = []
    for deployment_id in ids:
        try:
            respondents.append(Respondent(known[deployment_id].facts, target_of(known[deployment_id], proxy)))
        except UnreachableError as error:
            skipped.append(Skipped(deployment_id, str(error)))
    return respondents, skipped


def _check(option: str, wanted: Sequence[str], known: Sequence[str]) -> None:
    for name in wanted:
        if name not in known:
            raise BenchError(f"{option}: {name!r} is unknown, expected one of {', '.join(known)}")


def _usable(suite: Suite, wanted: Wanted) -> tuple[list[Item], list[str]]:
    """The items that can be graded, and what is said of the others."""
    categories = [name for name in suite.categories if not wanted.categories or name in wanted.categories]
    chosen = [item for name in categories for item in suite.of_category(name)[: wanted.items]]
    needs = ((Code, wanted.allow_code, "--allow-code"), (Judge, wanted.judge is not None, "--judge ID"))
    remarks = []
    for grader, is_given, option in needs:
        left_out = sum(isinstance(item.grader, grader) for item in chosen)
        if left_out and not is_given:
            remarks.append(f"{left_out} items left out: their grader needs {option}")
            chosen = [item for item in chosen if not isinstance(item.grader, grader)]
    if not chosen:
        raise BenchError("; ".join(["no item is left to ask", *remarks]))
    return chosen, remarks


def _judge(known: Mapping[str, ManagedDeployment], name: str, proxy: Proxy | None) -> Respondent:
    """A deployment of the configuration, else any model name that the proxy knows; apart from its own answers."""
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
    """Models favour what they said themselves."""
    return [
        f"{one.facts.deployment_id}: judged by {name}, which may be itself; expect a bias for it"
        for one in judged
        if name in {one.facts.deployment_id, one.group} or judge.facts.model == one.facts.model
    ]


def _in_turn(items: Suite) -> tuple[Item, ...]:
    """An item of each category in turn."""
    ranked = [(rank, item) for name in items.categories for rank, item in enumerate(items.of_category(name))]
    return tuple(item for _, item in sorted(ranked, key=lambda pair: pair[0]))


def _cell(facts: Facts, items: Suite, category: str) -> CellScores:
    planned = len(items.of_category(category))
    return CellScores(facts.deployment_id, facts.model, category, items.fingerprint(category), planned)
