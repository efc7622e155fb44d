"""Command line of the agent: the list of its subcommands."""

from __future__ import annotations

import typer

from slo_bench.commands import quality_options
from slo_bench.commands.compare import HELP as COMPARE_HELP
from slo_bench.commands.compare import compare
from slo_bench.commands.history import HELP as HISTORY_HELP
from slo_bench.commands.history import history
from slo_bench.commands.quality import quality
from slo_bench.commands.report import HELP as REPORT_HELP
from slo_bench.commands.report import report
from slo_bench.commands.run import run
from slo_bench.commands.sample import SAMPLE_HELP, sample
from slo_bench.commands.schedule import HELP as SCHEDULE_HELP
from slo_bench.commands.schedule import PASS_THROUGH, schedule
from slo_bench.commands.sweep import sweep
from slo_bench.run import options
from slo_bench.sweep import options as sweep_options

app = typer.Typer(no_args_is_help=True, pretty_exceptions_show_locals=False, rich_markup_mode=None)


@app.callback()
def main() -> None:
    """Measures the deployments of a LiteLLM proxy on your own prompts, for the SLO router to decide by."""


app.command("run", help=options.RUN_HELP)(run)
app.command("quality", help=quality_options.HELP)(quality)
app.command("sample", help=SAMPLE_HELP)(sample)
app.command("sweep", help=sweep_options.HELP)(sweep)
app.command("schedule", help=SCHEDULE_HELP, context_settings=PASS_THROUGH)(schedule)
app.command("compare", help=COMPARE_HELP)(compare)
app.command("history", help=HISTORY_HELP)(history)
app.command("report", help=REPORT_HELP)(report)
