"""`slo-bench run`: plans, measures, publishes, reports."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from slo_bench.commands.report import write_report
from slo_bench.commands.terminal import console, ending_on_faults, names, store_of, tell_unknown
from slo_bench.guard.budget import is_priced
from slo_bench.guard.guard import Terms
from slo_bench.guard.lock import endpoint_of
from slo_bench.load.plan import Limits, Plan, Selection, make_plan, slos_of
from slo_bench.load.shape import Shape, shaped
from slo_bench.measure.targets import Proxy
from slo_bench.prompts.workload import load_workload
from slo_bench.run import options, telling
from slo_bench.run.order import Order, Outcome
from slo_bench.run.session import foresee
from slo_bench.run.session import run as run_session
from slo_bench.show import result_tables
from slo_bench.show.measured import histories_of
from slo_bench.store import Store
from slo_bench.summary.results import NOTHING_MEASURED, SOME_FAILED, exit_code
from slo_router.contract.settings.config import Settings, load_settings

DEFAULT_BUDGET_USD = 10.0
UNPRICED = "no price is known, so it cannot be kept within --budget-usd"


def run(
    *,
    config: options.Config,
    workload: options.WorkloadFile = None,
    via_proxy: options.ViaProxy = None,
    proxy_key: options.ProxyKey = None,
    requests: options.Requests = 10,
    concurrency: options.Concurrency = 4,
    rate: options.Rate = None,
    burstiness: options.Burstiness = 1.0,
    trace: options.Trace = None,
    speed: options.Speed = 1.0,
    warmup: options.Warmup = 1,
    timeout_s: options.TimeoutS = 60.0,
    max_minutes: options.MaxMinutes = 30.0,
    budget_usd: options.BudgetUsd = None,
    pause_above: options.PauseAbove = 8,
    max_pause_minutes: options.MaxPauseMinutes = 10.0,
    deployments: options.Deployments = "",
    categories: options.Categories = "",
    seed: options.Seed = 0,
    parallel: options.Parallel = False,
    skip_locked: options.SkipLocked = False,
    fresh: options.Fresh = False,
    redis_url: options.RedisUrl = None,
    no_publish: options.NoPublish = False,
    dry_run: options.DryRun = False,
    utilization: options.Utilization = 1.0,
    full: options.Full = False,
    html: options.Html = None,
    as_json: options.AsJson = False,
) -> None:
    """Measures deployments. Exits with 0, 1 or 2, see `options.RUN_HELP`."""
    terms = Terms(most_usd(budget_usd), pause_above, max_pause_minutes * 60, wait_for_lock=not skip_locked, fresh=fresh)
    with ending_on_faults():
        settings = load_settings(config)
        tell_unknown(settings)
        selection = Selection(requests, seed, names(deployments), names(categories))
        proxy = None if via_proxy is None else Proxy(via_proxy, proxy_key)
        arrivals = Shape(rate, burstiness, trace, speed).arrivals(requests, seed)
        limits = Limits(concurrency, warmup, max_minutes * 60, parallel, arrivals)
        plan = shaped(make_plan(settings.deployments, load_workload(workload), selection, proxy), arrivals)
        plan = plan.judged_by(slos_of(settings), utilization)
        order = Order(plan if budget_usd is None else priced(plan), limits, timeout_s, terms, endpoints_of(settings))
        if dry_run:
            _show_plan(order, _known_store(settings, redis_url), as_json=as_json)
            return
        outcome = _carried_out(order, None if no_publish else store_of(settings, redis_url), html)
    _show(outcome, as_json=as_json, full=full)
    raise typer.Exit(_exit_code(outcome))


def most_usd(budget_usd: float | None) -> float:
    """The most USD that a run may cost: the option, else the default."""
    return DEFAULT_BUDGET_USD if budget_usd is None else budget_usd


def priced(plan: Plan) -> Plan:
    """The plan without the deployments of unknown price."""
    unpriced = {cell.facts.deployment_id for cell in plan.cells if not is_priced(cell.facts)}
    return plan.leave_out(unpriced, UNPRICED)


def endpoints_of(settings: Settings) -> dict[str, str]:
    """Each deployment's endpoint, see `lock.endpoint_of`."""
    return {deployment.facts.deployment_id: endpoint_of(deployment) for deployment in settings.deployments}


def _known_store(settings: Settings, redis_url: str | None) -> Store | None:
    url = redis_url or settings.plugin.redis_url
    return None if url is None else Store(url, settings.plugin.key_prefix)


def _show_plan(order: Order, store: Store | None, *, as_json: bool) -> None:
    forecast = foresee(order, store)
    if as_json:
        typer.echo(json.dumps(telling.forecast_document(order, forecast), indent=2))
        return
    out = console()
    out.print(telling.heading(order), soft_wrap=True)
    out.print(telling.forecast_table(order, forecast))
    for line in telling.warnings(order, forecast):
        out.print(line, soft_wrap=True)


def _carried_out(order: Order, store: Store | None, html: Path | None) -> Outcome:
    outcome = run_session(order, store, console(stderr=True))
    if html is not None:
        write_report(html, store, histories_of(outcome.results, order.limits))
    return outcome


def _show(outcome: Outcome, *, as_json: bool, full: bool) -> None:
    if as_json:
        document = result_tables.result_document(outcome.plan, outcome.results) | telling.outcome_document(outcome)
        typer.echo(json.dumps(document, indent=2))
    else:
        for table in result_tables.result_tables(outcome.results, full=full):
            console().print(table)
    for line in (*result_tables.remarks(outcome.plan, outcome.results, outcome.stopped), *telling.closing(outcome)):
        console(stderr=True).print(line, soft_wrap=True)


def _exit_code(outcome: Outcome) -> int:
    """The exit code. Cells that an interrupted run finished count as measured."""
    if outcome.finished and not outcome.plan.cells and not outcome.plan.skipped:
        return 0
    code = exit_code(outcome.plan, outcome.results)
    return SOME_FAILED if code == NOTHING_MEASURED and outcome.finished else code
