"""`slo-bench quality`: asks a suite's items, grades the answers, compares and publishes the scores."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated

import typer

from slo_bench.commands import quality_options as own
from slo_bench.commands.run import most_usd
from slo_bench.commands.terminal import console, ending_on_faults, names, store_of
from slo_bench.gate.ruling import ALLOW_DROP, GatePolicy
from slo_bench.measure.targets import Proxy
from slo_bench.quality import score_tables
from slo_bench.quality.answers import clear_store, default_path
from slo_bench.quality.plan import QualityPlan, Wanted, make_quality_plan
from slo_bench.quality.runner import Found, exit_code
from slo_bench.quality.scores import compare
from slo_bench.quality.session import QualityTerms
from slo_bench.quality.session import run as run_session
from slo_bench.quality.suite import load_suite
from slo_bench.run import options
from slo_bench.summary.results import ALL_MEASURED
from slo_router.contract.settings.config import load_settings


def clear(value: bool) -> None:  # noqa: FBT001  # typer's signature
    """Deletes the kept answers and ends. It needs no configuration."""
    if value:
        with ending_on_faults():
            path = default_path()
            typer.echo(f"{path}: {'deleted' if clear_store(path) else 'there is no such file'}")
        raise typer.Exit(ALL_MEASURED)


ClearCache = Annotated[
    bool, typer.Option("--clear-cache", is_eager=True, callback=clear, help="Delete the kept answers, and end.")
]


def quality(
    *,
    config: options.Config,
    suite: own.SuiteFile = None,
    deployments: options.Deployments = "",
    categories: options.Categories = "",
    items: own.Items = None,
    via_proxy: options.ViaProxy = None,
    proxy_key: options.ProxyKey = None,
    judge: own.JudgeName = None,
    allow_code: own.AllowCode = False,
    concurrency: options.Concurrency = 4,
    timeout_s: options.TimeoutS = 120.0,
    max_minutes: options.MaxMinutes = 30.0,
    budget_usd: options.BudgetUsd = None,
    max_age_hours: own.MaxAgeHours = 20.0,
    allow_drop: own.AllowDrop = ALLOW_DROP,
    no_cache: own.NoCache = False,
    clear_cache: ClearCache = False,  # noqa: ARG001  # has ended the command
    redis_url: options.RedisUrl = None,
    no_publish: options.NoPublish = False,
    dry_run: options.DryRun = False,
    as_json: options.AsJson = False,
) -> None:
    """Runs a quality suite. Exits with 0, 1, 2 or 3, see `quality_options.HELP`."""
    log = console(stderr=True)
    policy = GatePolicy(allow_drop)
    terms = QualityTerms(
        None, max_age_hours * 3_600, concurrency, timeout_s, max_minutes * 60, most_usd(budget_usd), policy
    )
    wanted = Wanted(names(deployments), names(categories), judge, allow_code, budget_usd, items)
    with ending_on_faults():
        settings = load_settings(config)
        proxy = None if via_proxy is None else Proxy(via_proxy, proxy_key)
        plan = make_quality_plan(settings.deployments, load_suite(suite), wanted, proxy)
        if dry_run:
            _show_plan(plan, as_json=as_json)
            return
        store = None if no_publish else store_of(settings, redis_url)
        kept = None if no_cache else default_path()
        found = run_session(plan, replace(terms, answers=kept), store, log)
    _show(plan, found, as_json=as_json)
    for line in score_tables.remarks(plan, found):
        log.print(line)
    raise typer.Exit(exit_code(plan, found))


def _show_plan(plan: QualityPlan, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(score_tables.plan_document(plan), indent=2))
    else:
        console().print(score_tables.plan_table(plan))
    for line in plan.remarks:
        console(stderr=True).print(line)


def _show(plan: QualityPlan, found: Found, *, as_json: bool) -> None:
    differences = compare(found.cells)
    if as_json:
        typer.echo(json.dumps(score_tables.document(plan, found, differences), indent=2))
        return
    console().print(score_tables.score_table(found.cells))
    if differences:
        console().print(score_tables.difference_table(differences))
