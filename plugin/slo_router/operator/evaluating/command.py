"""`slo-router evaluate`: what a router is worth on recorded outcomes, beside one model and a random mix."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slo_router.contract.settings.config import load_settings
from slo_router.decision.groups import ManagedGroup
from slo_router.errors import SettingsError
from slo_router.operator.commands.terminal import console, make_table, problems, usd, writing

if TYPE_CHECKING:
    from slo_router.operator.evaluating.evaluation import Evaluation
    from slo_router.operator.evaluating.table import Table

TableFile = Annotated[
    Path,
    typer.Argument(
        metavar="TABLE",
        help="Parquet or CSV: prompt_id, source, dataset, category, prompt, score::M, outtok::M, cost::M.",
    ),
]
Models = Annotated[list[str] | None, typer.Option("--models", help="Only these; may hold *; repeatable.")]
LeaveOut = Annotated[list[str] | None, typer.Option("--leave-out", help="Not these; may hold *; repeatable.")]
Targets = Annotated[str, typer.Option("--targets", help="Shares of the strongest model's quality.")]
LeastMeasured = Annotated[
    float,
    typer.Option("--least-measured", min=0.0, max=1.0, help="Models measured on less of the prompts are left out."),
]
Prices = Annotated[
    Path | None,
    typer.Option(
        "--prices", help="CSV: model, usd_per_1m_in, usd_per_1m_out; costs anew from prompt length and outtok::M."
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="The proxy's YAML: ours are told as its group tells tasks, not taken from the table."
    ),
]


def evaluate(
    table: TableFile,
    *,
    models: Models = None,
    leave_out: LeaveOut = None,
    targets: Targets = "0.94,0.95,0.99",
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=100, help="Splits of the prompts.")] = 5,
    least_measured: LeastMeasured = 0.8,
    prices: Prices = None,
    config: Config = None,
    group: Annotated[
        str | None, typer.Option("--group", help="Whose tasks, where --config has several groups.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write all figures.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Also write one self-contained page with plots.")] = None,
) -> None:
    """What routers cost at a share of the strongest model's quality, on prompts they have not seen; nothing is sent.

    Beside ours: a random mix, the best single model, prompt length, the article's heuristic, LiteLLM's complexity
    router and an oracle. It says so where no router beats the best single model.

    Example: slo-router evaluate outcomes.parquet --leave-out 'o1-*' --html evaluation.html
    """
    with problems():
        aims = _read_targets(targets)
        try:
            from slo_router.operator.evaluating.evaluation import evaluate_table  # noqa: PLC0415
            from slo_router.operator.evaluating.table import Choice, read_prices, read_table  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise SettingsError(f"{error.name} is not installed, expected litellm-slo-router[evaluate]") from error
        priced = None if prices is None else read_prices(prices)
        outcomes = read_table(table, Choice(models or (), leave_out or (), least_measured, priced))
        if config is not None:
            outcomes = _told_by(config, group, outcomes)
        made = evaluate_table(outcomes, table.name, aims, seeds)
    _print(made)
    if json_file is not None:
        with writing(json_file):
            json_file.write_text(json.dumps(_plain(asdict(made)), indent=1) + "\n", encoding="utf-8")
    if html is not None:
        from slo_router.operator.evaluating.show import as_html  # noqa: PLC0415

        with writing(html):
            html.write_text(as_html(made), encoding="utf-8")


def _told_by(config: Path, name: str | None, table: Table) -> Table:
    """The table with the categories that a group gives its prompts. Raises SettingsError."""
    groups = load_settings(config).plugin.groups
    name = next(iter(groups)) if name is None and len(groups) == 1 else name
    if name not in groups:
        raise SettingsError(f"--group: {name or 'missing'}, expected one of {', '.join(groups)}")
    group = ManagedGroup(groups[name], "")
    told = [group.category({"prompt": prompt})[0] for prompt in table.prompts]
    counts = ", ".join(f"{count:,} {category}" for category, count in Counter(told).most_common())
    has_conditions = any(own.when for own in groups[name].categories.values())
    note = f"ours are told as {name} tells them ({counts})"
    if has_conditions:
        note += ", by the prompt alone, so none by a condition"
    return replace(table, categories=told, notes=[*table.notes, note])


def _read_targets(text: str) -> list[float]:
    try:
        found = sorted(float(one) for one in text.split(","))
    except ValueError:
        found = []
    if not found or not all(0 < one <= 1 for one in found):
        raise SettingsError(f"--targets: {text!r}, expected shares from 0 to 1 with commas between them")
    return found


def _plain(value: object) -> object:
    """Named tuples as objects, for JSON."""
    if hasattr(value, "_asdict"):
        return {name: _plain(one) for name, one in value._asdict().items()}
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return value


def _print(made: Evaluation) -> None:
    from slo_router.operator.evaluating.show import grids  # noqa: PLC0415

    console.print(
        f"[bold]{made.prompts:,} prompts, {len(made.models)} models[/]; strongest {made.strongest} "
        f"({made.strongest_quality:.3f}, {usd(made.strongest_usd)} a prompt), cheapest {made.cheapest} "
        f"({made.cheapest_quality:.3f}, {usd(made.cheapest_usd)})",
        highlight=False,
    )
    for title, head, rows in grids(made):
        table = make_table(title, *head)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for line in made.verdict:
        console.print(f"[bold]{line}[/]", highlight=False)
    for note in made.notes:
        console.print(f"· {note}", highlight=False, markup=False)
