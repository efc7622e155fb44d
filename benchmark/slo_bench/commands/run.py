"""`slo-bench run`: plans, measures, publishes, reports."""

from __future__ import annotations

import json

import typer

from slo_bench import options, report
from slo_bench.commands.terminal import console, names, store_of
from slo_bench.plan import Plan, Selection, make_plan
from slo_bench.results import NOTHING_MEASURED, CellResult, exit_code
from slo_bench.runner import Limits
from slo_bench.session import run as run_session
from slo_bench.targets import Proxy
from slo_bench.workload import load_workload
from slo_router.config import load_settings
from slo_router.errors import SloRouterError


def run(
    *,
    config: options.Config,
    workload: options.WorkloadFile = None,
    via_proxy: options.ViaProxy = None,
    proxy_key: options.ProxyKey = None,
    requests: options.Requests = 10,
    concurrency: options.Concurrency = 4,
    warmup: options.Warmup = 1,
    timeout_s: options.TimeoutS = 60.0,
    max_minutes: options.MaxMinutes = 30.0,
    deployments: options.Deployments = "",
    categories: options.Categories = "",
    seed: options.Seed = 0,
    parallel: options.Parallel = False,
    redis_url: options.RedisUrl = None,
    no_publish: options.NoPublish = False,
    dry_run: options.DryRun = False,
    as_json: options.AsJson = False,
) -> None:
    """Exits with 0, 1 or 2, see `options.RUN_HELP`."""
    log = console(stderr=True)
    limits = Limits(concurrency, warmup, max_minutes * 60, parallel)
    try:
        settings = load_settings(config)
        selection = Selection(requests, seed, names(deployments), names(categories))
        proxy = None if via_proxy is None else Proxy(via_proxy, proxy_key)
        plan = make_plan(settings.deployments, load_workload(workload), selection, proxy)
        if dry_run:
            _show_plan(plan, limits, as_json=as_json)
            return
        store = None if no_publish else store_of(settings, redis_url)
        results = run_session(plan, limits, timeout_s, store, log)
    except SloRouterError as error:
        log.print(str(error))
        raise typer.Exit(NOTHING_MEASURED) from error
    _show_results(plan, results, as_json=as_json)
    for line in report.remarks(plan, results):
        log.print(line)
    raise typer.Exit(exit_code(plan, results))


def _show_plan(plan: Plan, limits: Limits, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report.plan_document(plan), indent=2))
        return
    order = "all deployments at once" if limits.parallel else "one deployment after another"
    bound = f"at most {limits.total_s / 60:g} minutes"
    title = f"{plan.requests} requests, {limits.concurrency} in flight per deployment, {order}, {bound}"
    console().print(report.plan_table(plan, title))


def _show_results(plan: Plan, results: list[CellResult], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report.result_document(plan, results), indent=2))
    else:
        console().print(report.result_table(results))
