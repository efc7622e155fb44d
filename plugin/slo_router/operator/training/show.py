"""What a training found, for the terminal. It shows no word of a prompt: the artefact has the words of a cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.table import Table

from slo_router.contract.settings.tasks.own import UNSURE
from slo_router.operator.commands.terminal import make_table
from slo_router.operator.training.fitting import Fitted
from slo_router.operator.training.reading import Prompt
from slo_router.operator.training.worth import PROMPTS, Worth, verdict

MOST_COLUMNS = 20  # of the table that shows all pairs


def tables(prompts: Sequence[Prompt], fitted: Fitted, found: Sequence[Worth]) -> Iterator[Table]:
    """How many prompts were told as which category, and what that is worth."""
    names, counts = fitted.classifier.categories, Counter(zip((p.category for p in prompts), fitted.told, strict=True))
    if not fitted.classifier.held_out:
        yield _sizes(names, Counter(fitted.told))
    elif len(names) <= MOST_COLUMNS:
        yield _pairs(names, counts)
    else:
        yield _mistakes(names, counts)
    if found:
        table = make_table(f"USD for {PROMPTS:,} prompts, and the quality reached", "router", *_targets(found))
        for router in found[0].usd:
            cells = (f"{one.usd[router].mean:.4g}  at {one.quality[router].mean:.3f}" for one in found)
            table.add_row(router, *cells)
        yield table


def lines(fitted: Fitted, found: Sequence[Worth]) -> Iterator[str]:
    """The result in sentences."""
    said = fitted.classifier.held_out
    if said:
        yield (
            f"of {said['prompts']:,.0f} prompts, each told by a fit that had not seen it: sure of {said['sure']:.0%}, "
            f"{said['right']:.0%} of these right"
        )
    else:
        yield "clusters are no labels: which of them need the dear model shows when answers are graded or rated"
    yield from verdict(found)
    if not found:
        yield "what they are worth in USD: --outcomes TABLE tells, from prompts that several models answered"


def _sizes(names: Sequence[str], counts: Counter[str]) -> Table:
    table = make_table("Clusters", "category", "prompts")
    for name in names:
        table.add_row(name, f"{counts[name]:,}")
    return table


def _pairs(names: Sequence[str], counts: Counter[tuple[str, str]]) -> Table:
    columns = [*(name for name in names if name != UNSURE), UNSURE]
    heads = [str(place) for place in range(1, len(columns))]
    table = make_table("Category (rows) and what it was taken for, held out", "", "category", *heads, UNSURE)
    for place, name in enumerate(names, 1):
        table.add_row(str(place), name, *(str(counts[name, told] or "·") for told in columns))
    return table


def _mistakes(names: Sequence[str], counts: Counter[tuple[str, str]]) -> Table:
    table = make_table("Categories, held out", "category", "prompts", "right", "unsure", "most taken for")
    for name in names:
        told = {other: n for (said, other), n in counts.items() if said == name}
        wrong = {other: n for other, n in told.items() if other not in (name, UNSURE)}
        most = max(wrong, key=lambda other: wrong[other], default="")
        said = f"{most} {wrong[most]}" if most else "–"
        table.add_row(name, str(sum(told.values())), str(told.get(name, 0)), str(told.get(UNSURE, 0)), said)
    return table


def _targets(found: Sequence[Worth]) -> list[str]:
    return [f"at {one.target:.0%} quality" for one in found]
