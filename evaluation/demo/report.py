"""The demo's tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from pydantic import BaseModel
from rich.box import SIMPLE_HEAD
from rich.table import Table

from evaluation.demo.accounts import MS_PER_S, Account, Served, account
from evaluation.demo.endpoints import Endpoint
from evaluation.demo.scenario import Case, VirtualKey
from slo_router.contract.model import Facts
from slo_router.contract.record import RequestRecord

UNKNOWN = "–"


def endpoint_table(endpoints: Sequence[Endpoint]) -> Table:
    """What the configuration tells the router of each endpoint."""
    table = _table()
    for name in ("deployment", "model", "$ per 1M tokens in/out", "quality", "context"):
        table.add_column(name)
    for endpoint in endpoints:
        prices = endpoint.input_cost_per_token, endpoint.output_cost_per_token
        shown = "/".join("LiteLLM's" if price is None else f"{price * 1e6:.2f}" for price in prices)
        quality = ", ".join(f"{name} {value:g}" for name, value in endpoint.quality.items()).removeprefix("default ")
        context = "LiteLLM's" if endpoint.max_input_tokens is None else f"{endpoint.max_input_tokens:,}"
        table.add_row(endpoint.name, endpoint.model, shown, quality, context)
    return table


def routing_table(served: Sequence[Served], cases: Sequence[Case]) -> Table:
    """Which deployment answered each case and why, one line per case."""
    table = _table("Who went where, and why")
    for name in ("key", "requests", "went to", "decision"):
        table.add_column(name, no_wrap=True)
    table.add_column("why")
    before = ""
    for case in cases:
        own = [one for one in served if one.answer.ask.case == case]
        if not own:
            continue
        if before not in ("", case.key):
            table.add_section()
        table.add_row(
            case.key if case.key != before else "",
            f"{len(own)} {case.label}",
            _counts(answer.headers.get("x-slo-selected-model", UNKNOWN) for answer, _ in own),
            _all_or_counts(answer.error or answer.headers.get("x-slo-decision", UNKNOWN) for answer, _ in own),
            Counter(map(_why, own)).most_common(1)[0][0],
        )
        before = case.key
    return table


def account_table(
    served: Sequence[Served], keys: Sequence[VirtualKey], deployments: Sequence[Facts], best: Facts
) -> Table:
    """What it cost and whether the SLOs were met: one line per key, and all together."""
    table = _table("What it cost, and whether the SLOs were met")
    for name in ("key", "its SLO"):
        table.add_column(name)
    for name in ("SLO met", "TTFT p50/p95", "cost", f"all to {best.deployment_id}", "saved"):
        table.add_column(name, justify="right")
    for key in keys:
        own = [one for one in served if one.answer.ask.case.key == key.alias]
        table.add_row(key.alias, key.wants, *_cells(account(own, deployments, best)))
    table.add_section()
    table.add_row("all", "", *_cells(account(served, deployments, best)), style="bold")
    return table


def _why(one: Served) -> str:
    """What kept cheaper candidates out, if the SLO was predicted to be met. Else the reason from the header."""
    answer, record = one
    if answer.error is not None:
        return "failed"
    cheaper = None if record is None or answer.headers.get("x-slo-decision") != "met" else _cheaper(record)
    why = f"not {cheaper}" if cheaper else answer.headers.get("x-slo-reason", UNKNOWN)
    return why + ("; clamped" if "x-slo-clamped" in answer.headers else "")


class _Predicted(BaseModel):
    cost_usd: float | None


class _Candidate(BaseModel):
    deployment: str
    missed: list[str]
    unknown: list[str]
    predicted: _Predicted


class _Rejection(BaseModel):
    deployment: str
    filter: str


class _Decision(BaseModel):
    """What the report reads of a record's decision."""

    deployment: str
    candidates: list[_Candidate]
    rejections: list[_Rejection]


def _cheaper(record: RequestRecord) -> str:
    """The cheaper candidates and why none of them was picked: `small-7b: quality`."""
    if record.decision is None:
        return ""
    decision = _Decision.model_validate(record.decision)
    cost_usd = {candidate.deployment: candidate.predicted.cost_usd or 0.0 for candidate in decision.candidates}
    why = {candidate.deployment: candidate.missed or candidate.unknown for candidate in decision.candidates}
    why |= {rejection.deployment: [rejection.filter] for rejection in reversed(decision.rejections)}  # hardest last
    cheaper = sorted((usd, name) for name, usd in cost_usd.items() if usd < cost_usd[decision.deployment])
    by_reason: dict[str, list[str]] = {}
    for _, name in cheaper:
        by_reason.setdefault(", ".join(why[name]), []).append(name)
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in by_reason.items())


def remark_list(lines: Iterable[str]) -> Table:
    """Lines with a hanging indent."""
    grid = Table.grid(padding=(0, 1))
    for line in lines:
        grid.add_row("·", line)
    return grid


def _table(title: str | None = None) -> Table:
    return Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False
    )


def _all_or_counts(names: Iterable[str]) -> str:
    found = list(names)
    return found[0] if len(set(found)) == 1 else _counts(found)


def _counts(names: Iterable[str]) -> str:
    counts = Counter(names)
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())


def _cells(sums: Account) -> tuple[str, str, str, str, str]:
    ttft = UNKNOWN
    if sums.ttft is not None:
        ttft = f"{sums.ttft.p50_s * MS_PER_S:.0f}/{sums.ttft.p95_s * MS_PER_S:.0f} ms"
    saved = UNKNOWN if sums.saved is None else f"{round(sums.saved, 4) + 0:.0%}"  # + 0: no negative zero
    return f"{sums.met} of {sums.requests}", ttft, usd(sums.cost_usd), usd(sums.best_usd), saved


def usd(amount: float | None) -> str:
    """An amount in USD, with the digits that a demo's small costs need."""
    return UNKNOWN if amount is None else f"${amount:.5f}"
