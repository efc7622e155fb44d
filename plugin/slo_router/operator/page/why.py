"""One decision with its reasons, and the list of the last decisions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from time import time
from urllib.parse import quote

from slo_router.operator.commands.terminal import UNKNOWN, number, percent, span, usd
from slo_router.operator.page.cells import Cell, Table, ms, plain
from slo_router.operator.replay.explanation import IN_SHADOW, Explanation
from slo_router.operator.replay.recorded import AskedSlo, Recorded
from slo_router.operator.reporting.graded import quality_in_words


def decisions(records: Sequence[Recorded]) -> Table:
    """The newest decided requests, each linked to its reasons."""
    columns = ("request", "ended", "group", "category", "deployment", "decision", "SLO", "TTFT", "cost")
    return Table("Last decisions", columns, tuple(_decision(record) for record in records), "No decided request yet.")


def candidates(made: Explanation) -> Table:
    """Every candidate: its prediction, why it was not chosen, and by how much."""
    columns = ("deployment", "why", "TTFT", "total", "answer tokens", "cost", "quality", "evidence")
    rows = []
    for line in made.candidates:
        one = line.predicted
        age = "" if one.age_s is None else f", {span(one.age_s)} old"
        samples = "" if one.samples is None else f", {one.samples:,} samples"
        rows.append(
            (
                Cell(line.deployment),
                Cell(line.verdict, tone="good" if line.is_chosen else ""),
                ms(one.ttft_ms),
                ms(one.e2e_ms),
                plain(number(one.output_tokens)),
                plain(usd(one.cost_usd)),
                plain(quality_in_words(one.quality, one.quality_bound, one.quality_answers, one.quality_at_s, time())),
                Cell(one.basis + samples + age),
            )
        )
    return Table("Candidates", columns, tuple(rows))


def facts(made: Explanation) -> list[tuple[str, str]]:
    """The decision itself, as names and values."""
    would = ", ".join(f"{name} by {value:.4g}" for name, value in made.would_do.items())
    size, spread = f"{made.prompt_tokens:,} + {made.output_tokens:,} tokens", made.cost_interval_usd
    known = [
        ("Decision", f"{made.kind}: {made.deployment}; {made.reason}"),
        ("Shadow", IN_SHADOW if made.shadow else ""),
        ("Request", f"{made.category} ({made.category_source}), about {size}"),
        ("SLO", in_words(made.slo)),
        ("Too tight", would),
        ("Nine in ten cost", "" if spread is None else f"{usd(spread[0])} to {usd(spread[1])}"),
        ("P(SLO kept)", "" if made.probability is None else percent(made.probability)),
        ("Conversation", made.conversation),
        ("Policy", made.policy),
    ]
    return [(name, text) for name, text in known if text]


def outcome(record: Recorded) -> list[tuple[str, str]]:
    """The outcome of a recorded request, as names and values."""
    tokens = f"{number(record.prompt_tokens)} + {number(record.completion_tokens)} tokens"
    return [
        ("Request id", record.request_id),
        ("Ended", moment(record.ts)),
        ("Key and team", f"{record.key_alias or UNKNOWN}, {record.team_id or UNKNOWN}"),
        (
            "What came",
            f"{record.outcome} from {record.deployment or UNKNOWN}, {record.attempts} attempts, SLO {_kept(record)}",
        ),
        (
            "Measured",
            f"TTFT {number(record.ttft_ms)} ms, total {number(record.e2e_ms)} ms, {usd(record.cost_usd)}, {tokens}",
        ),
    ]


def in_words(slo: AskedSlo) -> str:
    """The SLO's limits as text: `ttft_ms 300, min_quality 0.8`, or `none`."""
    limits = [(name, getattr(slo, name)) for name in slo.__struct_fields__]
    return ", ".join(f"{name} {value:g}" for name, value in limits if value is not None) or "none"


def moment(unix_s: float) -> str:
    """Unix seconds as date and time, UTC."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _decision(record: Recorded) -> tuple[Cell, ...]:
    decision = record.decision
    kind = UNKNOWN if decision is None else f"shadow: {decision.deployment}" if decision.shadow else decision.kind
    tone = {True: "good", False: "bad", None: ""}[record.slo_met]
    return (
        Cell(record.request_id, href=f"decision?id={quote(record.request_id, safe='')}"),
        Cell(moment(record.ts)),
        Cell(record.model_group or UNKNOWN),
        Cell(record.category or UNKNOWN),
        Cell(record.deployment or UNKNOWN),
        Cell(kind, tone="bad" if kind == "fallback" else ""),
        Cell(_kept(record), tone=tone),
        ms(record.ttft_ms),
        plain(usd(record.cost_usd)),
    )


def _kept(record: Recorded) -> str:
    return {True: "kept", False: "broken", None: "not measured"}[record.slo_met]
