"""What trained categories are worth: USD at equal quality beside the built-in rules and one model for everything.

It is the study of `slo-router evaluate`: each router learns from training prompts which model serves its groups. Its
operating point is chosen on validation prompts, and read on test prompts. If the classifier was trained on a prompt,
the prompt has the category that a fit told that had not seen it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from slo_router.contract.settings.tasks.own import UNSURE
from slo_router.operator.evaluating.grouping import LENGTH, Groups, by_length, inferred, numbered
from slo_router.operator.evaluating.study import CONSTANT, MIX, ORACLE, Figure, Point, points, split
from slo_router.operator.evaluating.table import Table
from slo_router.operator.training.fitting import Fitted
from slo_router.request.categories import Instruction, instruction_windows, rules
from slo_router.request.trained import trained

TRAINED, RULES, LABELS = "trained", "built-in rules", "the table's categories"
PEERS = (RULES, CONSTANT)
TARGETS = (0.95, 0.99)
PROMPTS = 1_000  # costs are for this many prompts


class Worth(NamedTuple):
    """At a share of the strongest model's quality: USD for `PROMPTS` prompts, and the quality that was reached."""

    target: float
    usd: Mapping[str, Figure]  # by router
    quality: Mapping[str, Figure]
    over: Mapping[str, Figure]  # USD of the trained categories less each peer's

    @property
    def is_kept(self) -> bool:
        """Whether the quality is not missed by more than noise."""
        return _upper(self.quality[TRAINED]) >= self.target

    @property
    def beaten(self) -> list[str]:
        """The peers that cost more, by more than noise."""
        return [peer for peer, over in self.over.items() if _upper(over) < 0]


def worth(
    table: Table, fitted: Fitted, seen: Mapping[Instruction, str], targets: Sequence[float], seeds: int
) -> list[Worth]:
    """The worth at each target. `seen`: what was told of each prompt of the training, held out."""
    groups = groups_of(table, fitted, seen)
    strata = groups.get(LABELS, groups[TRAINED])
    by_seed = [points(table, groups, split(strata, seed), targets) for seed in range(seeds)]
    usd = PROMPTS * float(table.cost_usd[:, table.strongest].mean())
    return [_at(i, target, by_seed, usd) for i, target in enumerate(targets)]


def groups_of(table: Table, fitted: Fitted, seen: Mapping[Instruction, str]) -> dict[str, Groups]:
    """How each router sorts the prompts."""
    tell = trained(fitted.classifier)
    windows = [instruction_windows(prompt) for prompt in table.prompts]
    told = [seen[one] if one in seen else tell(one) or UNSURE for one in windows]
    by_rules = inferred(table.prompts, rules())
    found = {TRAINED: numbered(told), RULES: numbered(by_rules), LENGTH: by_length(table.prompts)}
    return found if table.categories is None else {**found, LABELS: numbered(table.categories)}


def verdict(found: Sequence[Worth]) -> list[str]:
    """The verdict in words, for each target."""
    return [f"at {one.target:.0%} of the strongest model's quality {_ruling(one)}" for one in found]


def _ruling(one: Worth) -> str:
    if not one.is_kept:
        return f"they are worth nothing: they reach {one.quality[TRAINED].mean:.1%}, less by more than noise"
    costs = f"{PROMPTS:,} prompts cost ${one.usd[TRAINED].mean:.4g}"
    left = [f"by {_said(peer)} (${one.usd[peer].mean:.4g})" for peer in PEERS if peer not in one.beaten]
    if left:
        return f"they are worth nothing: {costs}, not less by more than noise than {' nor than '.join(left)}"
    return f"{costs}: {' and '.join(f'${-one.over[peer].mean:.4g} less than by {_said(peer)}' for peer in PEERS)}"


def _said(router: str) -> str:
    return "the best constant model" if router == CONSTANT else f"the {router}"


def _upper(figure: Figure) -> float:
    return figure.mean if figure.high is None else figure.high


def _at(i: int, target: float, by_seed: Sequence[Mapping[str, Point]], usd: float) -> Worth:
    routers = [router for router in by_seed[0] if router not in (MIX, ORACLE)]
    return Worth(
        target,
        {router: Figure.of([usd * one[router].costs[i] for one in by_seed]) for router in routers},
        {router: Figure.of([one[router].qualities[i] for one in by_seed]) for router in routers},
        {peer: Figure.of([usd * (one[TRAINED].costs[i] - one[peer].costs[i]) for one in by_seed]) for peer in PEERS},
    )
