"""`slo-bench compare A B`: two deployments, or two runs of one, figure by figure."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from slo_bench.commands.past import asked, histories, run_named
from slo_bench.commands.terminal import console, ending_on_faults, names, store_of
from slo_bench.errors import BenchError
from slo_bench.gate.comparison import Compared, is_same_work, rows_of
from slo_bench.gate.entry import Entry
from slo_bench.run import options
from slo_bench.summary.figures import UNMEASURED, table
from slo_router.contract.redis.link import AsyncClient
from slo_router.contract.settings.config import load_settings

HELP = """Compares two runs in the history, figure by figure, and shows which differences are more than chance.

\b
The last runs of two deployments; the last run of one against the one before, or against an earlier one:
  slo-bench compare qwen-7b gpt-4o-mini --config litellm_config.yaml
  slo-bench compare qwen-7b@1 qwen-7b --config litellm_config.yaml
  slo-bench compare qwen-7b@2026-11-01 qwen-7b --config litellm_config.yaml --categories ner

Quality is compared item by item, on the common items. Latencies and rates are compared by their own intervals. Each
single interval has a confidence of 95 %.
"""

First = Annotated[str, typer.Argument(metavar="A", help="A deployment, with @N or @DATE for an earlier run.")]
Second = Annotated[str, typer.Argument(metavar="B", help="The other one, named alike; differences are B − A.")]
_VERDICTS = {True: "told apart", False: "not told apart", None: UNMEASURED}


def compare(
    a: First,
    b: Second,
    *,
    config: options.Config,
    categories: options.Categories = "",
    redis_url: options.RedisUrl = None,
    as_json: options.AsJson = False,
) -> None:
    """Compares two runs. Exits with 0, or with 2 where there is nothing to compare."""
    log = console(stderr=True)

    async def ask(link: AsyncClient, prefix: str) -> list[tuple[Entry, Entry]]:
        found = await histories(link, prefix, categories=names(categories))
        first, second = run_named(a, found), run_named(b, found)
        pairs = [(entry, second[key]) for key, entry in first.items() if key in second]
        if not pairs:
            raise BenchError(f"{a} and {b} have no category in common, expected one that both were measured in")
        return pairs

    with ending_on_faults():
        pairs = asked(store_of(load_settings(config), redis_url), ask)
    rows = rows_of(pairs)
    if as_json:
        documents = [row._asdict() | {"difference": row.difference, "told_apart": row.told_apart} for row in rows]
        typer.echo(json.dumps(documents, indent=2))
    else:
        console().print(_table(a, b, rows))
    for one, other in pairs:
        if not is_same_work(one, other):
            log.print(f"{one.category}: {one.kind} runs of different prompts; a difference may be theirs")


def _table(a: str, b: str, rows: list[Compared]) -> Table:
    columns = ("category", "figure", f">{a}", f">{b}", ">difference", ">95 % interval", ">n", "")
    made = table(*columns, title=f"{b} against {a}; each interval holds with 95 %")
    for row in rows:
        interval = UNMEASURED if row.low is None or row.high is None else f"{row.low:+.3g} to {row.high:+.3g}"
        values = (f"{row.a:.4g}", f"{row.b:.4g}", f"{row.difference:+.3g}", interval, row.n)
        made.add_row(row.category, row.figure, *values, _VERDICTS[row.told_apart])
    return made
