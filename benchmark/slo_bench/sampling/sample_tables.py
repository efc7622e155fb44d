"""The output of `slo-bench sample`: the strata as a table or JSON, and remarks on what is not in the sample."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from slo_bench.sampling.extraction import Extract
from slo_bench.sampling.strata import BANDS


def remarks(extract: Extract) -> list[str]:
    """What was left out and why, and what was replaced, as numbers and kinds without text."""
    lines = [f"left out {count:,} of {extract.entries:,}: {why.value}" for why, count in extract.left_out.most_common()]
    found = ", ".join(f"{count} {kind}" for kind, count in extract.replaced.most_common()) or "nothing"
    return [*lines, f"replaced in {extract.prompts_changed} of {len(extract.lines)} prompts: {found}"]


def table(extract: Extract, output: Path) -> Table:
    """One line per stratum."""
    found = Table("category", "prompt tokens", "streamed", title=f"{len(extract.lines)} prompts in {output}")
    for name in ("seen", "taken"):
        found.add_column(name, justify="right")
    for (category, band, stream), seen, taken in extract.shares:
        found.add_row(category, BANDS[band], "yes" if stream else "no", f"{seen:,}", str(taken))
    return found


def document(extract: Extract, output: Path) -> dict[str, object]:
    """The strata and the remarks' numbers as JSON values."""
    strata = [
        {
            "category": where.category,
            "prompt_tokens": BANDS[where.band],
            "stream": where.stream,
            "seen": seen,
            "taken": taken,
        }
        for where, seen, taken in extract.shares
    ]
    left_out = {why.name.lower(): count for why, count in extract.left_out.items()}
    return {
        "output": str(output),
        "prompts": len(extract.lines),
        "entries": extract.entries,
        "left_out": left_out,
        "replaced": dict(extract.replaced),
        "strata": strata,
    }
