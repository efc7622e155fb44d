"""The sentences below the demo's tables. They say what the tables do not show, good and bad."""

from __future__ import annotations

from collections.abc import Sequence

from evaluation.demo.accounts import Served, account, below_floor, met
from evaluation.demo.report import usd
from evaluation.demo.scenario import VirtualKey
from slo_router.contract.model import Facts
from slo_router.contract.settings.tasks.own import UNSURE


def remarks(
    served: Sequence[Served], keys: Sequence[VirtualKey], deployments: Sequence[Facts], best: Facts
) -> list[str]:
    """The sentences below the tables."""
    whole = account(served, deployments, best)
    lines = ["why: what ruled cheaper ones out, else x-slo-reason. TTFT: the client's, of what was streamed."]
    lines.append(
        f"cost: from the records in Redis. all to {best.deployment_id}: the same prompt and completion tokens at its "
        "prices, though it might answer at another length."
    )
    if whole.even_usd is not None:
        lines.append(
            f"Spread evenly over the {len(deployments)} it would have cost {usd(whole.even_usd)}, with about "
            f"{below_floor(served, deployments):.0f} of {len(served)} answers below the quality asked for."
        )
    for key in keys:
        saved = account([one for one in served if one.answer.ask.case.key == key.alias], deployments, best).saved
        if saved is not None and saved < 0.01:
            lines.append(f"Routing saved nothing for {key.alias} ({key.wants}): there is only one place to go.")
    return [*lines, *_decisions(served), _categories(served)]


def _decisions(served: Sequence[Served]) -> list[str]:
    """How many decisions were wrong, were a fallback, were clamped or have no record."""
    promised = [one for one in served if one.answer.headers.get("x-slo-decision") == "met"]
    broken = sum(not met(one) for one in promised)
    lines = [f"{broken} of the {len(promised)} requests that were predicted to meet their SLO missed it."]
    if fallbacks := sum(answer.headers.get("x-slo-decision") == "fallback" for answer, _ in served):
        lines.append(f"{fallbacks} fallback: no deployment was predicted to meet it all, so the best quality answered.")
    if clamped := sum("x-slo-clamped" in answer.headers for answer, _ in served):
        lines.append(f"{clamped} clamped: they asked for more quality than their team's slo_limits allow.")
    if missing := sum(answer.error is None and record is None for answer, record in served):
        lines.append(f"{missing} answers have no record in Redis, so they count as missed and cost nothing here.")
    return lines


def _categories(served: Sequence[Served]) -> str:
    """How many categories were right. Pooled measurements and the default floor decided the unsure requests."""
    seen = [(answer.ask.case.category, record.category) for answer, record in served if record is not None]
    right, unsure = sum(sent == found for sent, found in seen), sum(found == UNSURE for _, found in seen)
    return (
        f"Categories were inferred from the prompts: {right} of {len(seen)} as labelled, {unsure} unsure, "
        f"{len(seen) - right - unsure} taken for another, which is why some lines have strays."
    )
