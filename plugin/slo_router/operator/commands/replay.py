"""`slo-router replay`: what another policy would have done with recorded requests."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from slo_router.contract.settings.config import Settings, load_settings
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
)
from slo_router.operator.replay.counterfactual import Counterfactual
from slo_router.operator.replay.policy_change import PolicyChange
from slo_router.operator.replay.redecision import Draws
from slo_router.operator.replay.replay import Replay
from slo_router.operator.replay.replay_outcome import Outcome, outcome_of

NewPolicy = Annotated[
    Path, typer.Option("--policy", help="The YAML to try: a whole proxy configuration with your changes.")
]


def replay(
    *,
    policy: NewPolicy,
    since: Since = "7d",
    group: Group = None,
    team: Team = None,
    key: Key = None,
    log: LogFile = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Decides recorded requests again under another YAML: share, cost, SLO and quality, and where the log can't tell.

    Predictions and load are those recorded. A value that equals the old YAML's (--config) is replaced by the new
    YAML's. What a request or key asked for stays.

    Example: slo-router replay --policy stricter.yaml --since 7d
    """
    with problems():
        old, new = load_settings(config), load_settings(policy)
        here = {"redis_url": old.plugin.redis_url, "key_prefix": old.plugin.key_prefix}
        now = replace(new, plugin=new.plugin.model_copy(update=here))
        change = PolicyChange(old, new, observe(now, asyncio.run(measured_if_there(now))).judged)
        done = Replay(change, _accounts(old), _accounts(new), Draws(0))
        with open_journal(old, Choice(since, group, team, key, log)) as journal:
            for record in journal:
                done.add(record)
        outcome = outcome_of(done)
    notes = _notes(done, outcome, change, journal.broken)
    if as_json:
        print_json(outcome.as_json() | {"notes": notes})
        return
    if not done.counts.replayed:
        console.print(f"nothing to replay in {journal.read:,} lines")
    else:
        _print(outcome)
    for note in notes:
        console.print(f"· {note}", highlight=False, markup=False)


def _accounts(settings: Settings) -> Counterfactual:
    return Counterfactual([one.facts for one in settings.deployments])


def _print(outcome: Outcome) -> None:
    counts = outcome.counts
    console.print(
        f"[bold]{counts.replayed:,} requests[/], {counts.moved:,} of which would have gone elsewhere", highlight=False
    )
    table = make_table("Share of requests", "deployment", ">recorded", ">new", ">change")
    for name, (before, after) in outcome.shares.items():
        table.add_row(name, percent(before), percent(after), f"{100 * (after - before):+.1f} points")
    console.print(table)
    table = make_table("What it comes to", "", ">recorded", ">new", ">95 % interval", ">told for")
    cost, kept = outcome.cost, outcome.attainment
    told = kept.judged / (kept.judged + kept.untold) if kept.judged + kept.untold else None
    table.add_row("cost", usd(cost.recorded_usd), usd(cost.new_usd), f"change {between(cost.change_interval)}", "")
    table.add_row(
        "SLO kept", percent(outcome.attained_before), percent(kept.share), between(kept.interval), percent(told)
    )
    believed = [number(value, 3) for value in outcome.quality]
    table.add_row("quality", *believed, between(outcome.quality_interval), percent(outcome.quality_measured_share))
    bounds = [number(value, 3) for value in outcome.quality_bound]
    table.add_row("at least, as min_quality is held against it", *bounds, "", "")
    console.print(table)


def _notes(done: Replay, outcome: Outcome, change: PolicyChange, broken: int) -> list[str]:
    counts, untold = done.counts, outcome.attainment.untold
    counted = (
        (untold, "requests would go where too few such requests were answered: the log cannot tell their SLO"),
        (counts.never_measured, "requests would go to a deployment that was never measured"),
        (
            counts.close,
            "picks depend on a latency from few samples, near a limit or another score: they may differ live",
        ),
        (counts.drawn, "picks depend on a draw between equals or a trial, and were drawn again"),
        (counts.other_policy, f"requests were decided by another policy than --config's ({change.old_policy})"),
        (counts.no_candidate, "requests have no candidate under the new policy, and were left out"),
        (counts.not_decided, "requests were not routed by SLO, and were left out"),
        (counts.unpriced, "requests are in no cost: a price, or the number of tokens, is unknown"),
        (broken, "lines are not records, and were skipped"),
    )
    notes = [f"{count:,} {what}." for count, what in counted if count]
    return [*notes, *(f"{note}." for note in change.cannot_follow())]
