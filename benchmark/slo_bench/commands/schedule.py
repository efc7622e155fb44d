"""`slo-bench schedule`: prints a crontab line or a Kubernetes CronJob for another command. Installs nothing."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import yaml

from slo_bench.commands.cron import CONFIG_PATH, Job, check_cron, cron_job, crontab_line, variables_of
from slo_bench.commands.terminal import ending_on_faults
from slo_bench.errors import BenchError
from slo_router.contract.settings.yaml_document import read_raw

HELP = """Prints a crontab line or a Kubernetes CronJob that runs a command of the agent at fixed times.

\b
The command and its options come last. They are checked now:
  slo-bench schedule --cron "0 2 * * *" run --config litellm_config.yaml --max-minutes 30 --budget-usd 2
  slo-bench schedule --cron "0 2 * * *" --kind kubernetes run --config litellm_config.yaml --max-minutes 30

\b
Install it where it belongs:
  (crontab -l; slo-bench schedule --cron "0 2 * * *" run --config litellm_config.yaml) | crontab -
  slo-bench schedule --cron "0 2 * * *" --kind kubernetes run --config litellm_config.yaml | kubectl apply -f -

The CronJob reads the configuration from the ConfigMap `litellm-config`, and the variables in it from the Secret
`slo-router`, like the manifests in deploy/kubernetes.
"""
PASS_THROUGH = {"allow_interspersed_args": False}  # everything after the command's name is the command's
DEFAULT_MINUTES = 30.0


class Form(StrEnum):
    """The form to print."""

    CRON = "cron"
    KUBERNETES = "kubernetes"


def schedule(
    context: typer.Context,
    command: Annotated[list[str], typer.Argument(metavar="COMMAND OPTIONS...", help="The command, such as `run`.")],
    *,
    cron: Annotated[str, typer.Option(metavar="FIELDS", help="Minute, hour, day of month, month, day of week.")],
    kind: Annotated[Form, typer.Option(help="A line for crontab, or a manifest.")] = Form.CRON,
    image: Annotated[str, typer.Option(help="The CronJob's image.")] = "litellm-slo-router",
) -> None:
    """Prints a schedule. Exits with 0, or 2 where the command or the times are wrong."""
    with ending_on_faults(soft_wrap=True):
        parameters = _parsed(context, command)
        config = Path(str(parameters["config"]))
        variables = variables_of(read_raw(config).fields, via_proxy=parameters.get("via_proxy") is not None)
        minutes = parameters.get("max_minutes")
        minutes = float(minutes) if isinstance(minutes, int | float) else DEFAULT_MINUTES
        job = Job(check_cron(cron), command, minutes, image, secrets=variables)
        if kind is Form.KUBERNETES:
            inside = [CONFIG_PATH if word == str(parameters["config"]) else word for word in command]
            typer.echo(yaml.safe_dump(cron_job(job._replace(arguments=inside)), sort_keys=False), nl=False)
        else:
            if variables:
                typer.echo(f"# needs {', '.join(variables)}: put NAME=value above")
            program = shutil.which(sys.argv[0])
            absolute = "slo-bench" if program is None else str(Path(program).absolute())
            typer.echo(crontab_line(job, absolute, str(Path.cwd())))


def _parsed(context: typer.Context, words: Sequence[str]) -> Mapping[str, object]:
    """The options as the command itself parses them. Raises BenchError for a command that cannot be scheduled."""
    root = context.find_root()
    known = {name: one for name, one in getattr(root.command, "commands", {}).items() if name != context.info_name}
    name, *arguments = words
    if name not in known:
        raise BenchError(f"{name!r} is no command that can be scheduled, expected one of {', '.join(known)}")
    if any(word.partition("=")[0] == "--proxy-key" for word in arguments):
        raise BenchError("--proxy-key: it would be readable in the schedule; set LITELLM_MASTER_KEY instead")
    parameters: Mapping[str, object] = known[name].make_context(name, list(arguments), parent=root).params
    if parameters.get("config") is None:
        raise BenchError(f"{name} reads no configuration, expected a command with --config")
    return parameters
