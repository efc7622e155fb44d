"""`slo-router report`: what was spent, what the baseline would have cost, and whether the SLOs were kept."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from slo_router.contract.settings.config import load_settings
from slo_router.contract.units import minute
from slo_router.operator.commands.measured import measured_if_there
from slo_router.operator.commands.observer import observe
from slo_router.operator.commands.sources import Choice, Group, Key, LogFile, Since, Team, open_journal
from slo_router.operator.commands.terminal import (
    DEFAULT_CONFIG,
    AsJson,
    Config,
    between,
    console,
    make_table,
    number,
    percent,
    print_json,
    problems,
    usd,
    writing,
)
from slo_router.operator.drift.drift import drift_of
from slo_router.operator.drift.mix import Mix
from slo_router.operator.replay.counterfactual import Counterfactual
from slo_router.operator.reporting.page import as_html
from slo_router.operator.reporting.report import Evidence, make_report
from slo_router.operator.reporting.report_csv import write_csv
from slo_router.operator.reporting.rows import Lines, Report
from slo_router.operator.reporting.tables import tables
from slo_router.operator.reporting.tally import Tallies

MOST_ROWS = 20  # of a table in the terminal

Baseline = Annotated[
    str | None,
    typer.Option(
        "--baseline",
        metavar="DEPLOYMENT",
        help="The deployment to compare with; default: each request's dearest candidate.",
    ),
]


def report(
    *,
    since: Since = "30d",
    baseline: Baseline = None,
    group: Group = None,
    team: Team = None,
    key: Key = None,
    log: LogFile = None,
    config: Config = DEFAULT_CONFIG,
    html: Annotated[Path | None, typer.Option("--html", help="Also write one self-contained page with plots.")] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Also write every row.")] = None,
    as_json: AsJson = False,
) -> None:
    """Shows spend, savings against a baseline with a 95 % interval, SLO attainment and quality, from request records.

    It says where the later half of the period has another mix of tasks than the earlier half, by more than chance, and
    whose quality fell. The bound beside a quality is the one that decisions hold min_quality against.

    The baseline's cost uses exact prices. It assumes that the baseline would have written as many output tokens.

    Example: slo-router report --since 7d --baseline gpt-4o --html report.html
    """
    with problems():
        settings = load_settings(config)
        facts = [one.facts for one in settings.deployments]
        measured = asyncio.run(measured_if_there(settings))
        judged = observe(settings, measured).judged
        accounts, tallies, mix = Counterfactual(facts, baseline, judged), Tallies(), Mix()
        with open_journal(settings, Choice(since, group, team, key, log)) as journal:
            for record in journal:
                tallies.add(record, accounts.account(record))
                mix.see(record)
        lines = Lines(journal.read, journal.broken, journal.left_out)
        drift = drift_of(mix, judged, measured.snapshot, time.time())
        made = make_report(tallies, lines, baseline, facts, Evidence(measured.snapshot, judged, drift))
    if as_json:
        print_json(asdict(made))
    else:
        _print(made)
    if html is not None:
        with writing(html):
            html.write_text(as_html(made), encoding="utf-8")
    if csv_file is not None:
        with writing(csv_file):
            write_csv(csv_file, made)


def _print(made: Report) -> None:
    total = made.total
    if made.first_s is None or made.last_s is None:
        console.print(f"no request in {made.lines_read:,} lines ({made.lines_broken:,} broken)")
        return
    console.print(f"[bold]{total.requests:,} requests[/], {minute(made.first_s)} to {minute(made.last_s)} UTC")
    if total.saved_share is not None:
        console.print(
            f"spent {usd(total.spent_usd)}; at {made.baseline} {usd(total.baseline_usd)}: "
            f"[bold]saved {usd(total.saved_usd)}, {percent(total.saved_share)}[/] "
            f"({between(total.saved_interval)} with 95 % confidence, from {made.interval_basis})",
            highlight=False,
        )
    console.print(
        f"SLO kept: {percent(total.attainment)} ({between(total.attainment_interval)}) of {total.judged:,} judged; "
        f"quality {number(total.quality, 3)}, at least {number(total.quality_bound, 3)} (the bound that min_quality is "
        f"held against), the baseline's {number(total.baseline_quality, 3)}",
        highlight=False,
    )
    for line in made.drift.lines():
        console.print(f"! {line}", highlight=False, markup=False)
    for title, columns, rows in tables(made):
        table = make_table(title, *columns)
        shown = rows[:MOST_ROWS] if title.startswith("By ") else rows
        if len(shown) < len(rows):
            table.caption = f"{len(rows) - len(shown)} more; --json and --csv have all"
        for row in shown:
            table.add_row(*row)
        console.print(table)
    for note in made.assumptions:
        console.print(f"· {note}", highlight=False)
    if made.lines_broken:
        console.print(f"· {made.lines_broken:,} of {made.lines_read:,} lines are not records and were skipped.")
