"""`slo-bench sweep`: raises the rate for each prompt length until saturation, finds the knee, and fits the latency."""

from __future__ import annotations

import json
from collections.abc import Sequence

import typer

from slo_bench.commands.report import write_report
from slo_bench.commands.run import endpoints_of, most_usd, priced
from slo_bench.commands.terminal import console, ending_on_faults, names, store_of
from slo_bench.errors import BenchError
from slo_bench.guard.guard import Terms
from slo_bench.load.plan import Plan, Selection, make_plan, slos_of
from slo_bench.measure.targets import Proxy
from slo_bench.prompts.workload import load_workload
from slo_bench.run import options
from slo_bench.show.measured import rates_of
from slo_bench.summary.results import ALL_MEASURED, NOTHING_MEASURED, SOME_FAILED
from slo_bench.sweep import options as own
from slo_bench.sweep import sweep_tables
from slo_bench.sweep.course import Grid, Swept
from slo_bench.sweep.regression import LEAST_SPREAD
from slo_bench.sweep.session import SweepOrder
from slo_bench.sweep.session import run as run_session
from slo_router.contract.settings.config import load_settings


def sweep(
    *,
    config: options.Config,
    deployments: options.Deployments = "",
    categories: options.Categories = "",
    lengths: own.Lengths = "128,1024,4096",
    rates: own.Rates = "",
    burstiness: options.Burstiness = 1.0,
    step_s: own.StepS = 10.0,
    output_tokens: own.OutputTokens = 64,
    target: own.TargetShare = 0.9,
    workload: options.WorkloadFile = None,
    via_proxy: options.ViaProxy = None,
    proxy_key: options.ProxyKey = None,
    timeout_s: options.TimeoutS = 60.0,
    max_minutes: options.MaxMinutes = 30.0,
    budget_usd: options.BudgetUsd = None,
    pause_above: options.PauseAbove = 8,
    max_pause_minutes: options.MaxPauseMinutes = 10.0,
    skip_locked: options.SkipLocked = False,
    seed: options.Seed = 0,
    redis_url: options.RedisUrl = None,
    no_publish: options.NoPublish = False,
    html: options.Html = None,
    as_json: options.AsJson = False,
) -> None:
    """Sweeps deployments. Exits with 0, 1 or 2, see `sweep.options.HELP`."""
    log = console(stderr=True)
    terms = Terms(most_usd(budget_usd), pause_above, max_pause_minutes * 60, wait_for_lock=not skip_locked)
    with ending_on_faults():
        settings = load_settings(config)
        prompts = load_workload(workload)
        grid = Grid(_lengths(lengths), _rates(rates), burstiness, step_s, output_tokens, target, seed)
        selection = Selection(len(prompts.prompts), seed, names(deployments), names(categories))
        proxy = None if via_proxy is None else Proxy(via_proxy, proxy_key)
        plan = make_plan(settings.deployments, prompts, selection, proxy).judged_by(slos_of(settings))
        if budget_usd is not None:
            plan = priced(plan)
        store = None if no_publish else store_of(settings, redis_url)
        order = SweepOrder(plan, grid, timeout_s, max_minutes * 60, terms, endpoints_of(settings))
        log.print(sweep_tables.heading(plan, grid, order.total_s, terms.budget_usd), soft_wrap=True)
        found = run_session(order, store, log)
        if html is not None:
            write_report(html, store, rates=rates_of(found))
    _show(plan, found, as_json=as_json)
    for line in sweep_tables.remarks(plan, found):
        log.print(line, soft_wrap=True)
    raise typer.Exit(_exit_code(plan, found))


def _show(plan: Plan, found: Sequence[Swept], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(sweep_tables.document(plan, found), indent=2))
        return
    for table in (sweep_tables.step_table(found), sweep_tables.knee_table(found), sweep_tables.fit_table(found)):
        console().print(table)


def _exit_code(plan: Plan, found: Sequence[Swept]) -> int:
    if not any(swept.judged for swept in found):
        return NOTHING_MEASURED
    whole = all(s.fit is not None and s.ended_early is None and s.published is not False for s in found)
    return ALL_MEASURED if whole and not plan.skipped else SOME_FAILED


def _lengths(text: str) -> tuple[int, ...]:
    lengths = tuple(sorted({int(value) for value in _numbers("--lengths", text)}))
    if len(lengths) < 2 or lengths[-1] < LEAST_SPREAD * lengths[0]:
        raise BenchError(
            f"--lengths: {text!r}, expected two lengths at least, the longest {LEAST_SPREAD:g} × the shortest"
        )
    return lengths


def _rates(text: str) -> tuple[float, ...]:
    return tuple(sorted(set(_numbers("--rates", text))))


def _numbers(option: str, text: str) -> list[float]:
    try:
        found = [float(part) for part in names(text)]
    except ValueError:
        found = [0.0]
    if not all(0 < value <= 1e6 for value in found):
        raise BenchError(f"{option}: {text!r}, expected numbers above 0, with commas between them")
    return found
