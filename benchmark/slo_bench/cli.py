"""Command line of the agent: options become a plan and limits, results become a table and an exit code."""

from __future__ import annotations

import json
import sys

import typer
from rich.console import Console

from slo_bench import options, report
from slo_bench.errors import BenchError
from slo_bench.plan import Plan, Selection, make_plan
from slo_bench.results import NOTHING_MEASURED, CellResult, exit_code
from slo_bench.runner import Limits
from slo_bench.session import Store, run
from slo_bench.targets import Proxy
from slo_bench.workload import load_workload
from slo_router.config import Settings, load_settings
from slo_router.errors import SloRouterError

PLAIN_WIDTH = 140  # columns where the output is no terminal, so that tables in logs stay whole

app = typer.Typer(no_args_is_help=True, pretty_exceptions_show_locals=False, rich_markup_mode=None)


@app.callback()
def main() -> None:
    """Measures the deployments of a LiteLLM proxy on your own prompts, for the SLO router to decide by."""


@app.command("run", help=options.RUN_HELP)
def run_command(
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
    """Plans, measures, publishes, reports. Exits with 0, 1 or 2, see `options.RUN_HELP`."""
    log = _console(stderr=True)
    limits = Limits(concurrency, warmup, max_minutes * 60, parallel)
    try:
        settings = load_settings(config)
        selection = Selection(requests, seed, _names(deployments), _names(categories))
        proxy = None if via_proxy is None else Proxy(via_proxy, proxy_key)
        plan = make_plan(settings.deployments, load_workload(workload), selection, proxy)
        if dry_run:
            _show_plan(plan, limits, as_json=as_json)
            return
        store = None if no_publish else _store(settings, redis_url)
        results = run(plan, limits, timeout_s, store, log)
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
    _console().print(report.plan_table(plan, title))


def _show_results(plan: Plan, results: list[CellResult], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report.result_document(plan, results), indent=2))
    else:
        _console().print(report.result_table(results))


def _store(settings: Settings, redis_url: str | None) -> Store:
    url = redis_url or settings.plugin.redis_url
    if url is None:
        raise BenchError(
            "callback_settings.slo_router.redis_url: missing, expected where to write the results; set it, give "
            "--redis-url, or measure with --no-publish"
        )
    return Store(url, settings.plugin.key_prefix)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _console(*, stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, markup=False, highlight=False, width=None if stream.isatty() else PLAIN_WIDTH)
