"""Command line of the agent: the list of its subcommands."""

from __future__ import annotations

import typer

from slo_bench import options
from slo_bench.commands.quality import quality
from slo_bench.commands.run import run
from slo_bench.commands.sample import sample
from slo_bench.commands.sample_options import SAMPLE_HELP
from slo_bench.quality import options as quality_options

app = typer.Typer(no_args_is_help=True, pretty_exceptions_show_locals=False, rich_markup_mode=None)


@app.callback()
def main() -> None:
    """Measures the deployments of a LiteLLM proxy on your own prompts, for the SLO router to decide by."""


app.command("run", help=options.RUN_HELP)(run)
app.command("quality", help=quality_options.HELP)(quality)
app.command("sample", help=SAMPLE_HELP)(sample)
