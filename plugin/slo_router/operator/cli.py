"""`slo-router`: shows what the router does and why, accounts for it, and tries a policy before it is live.

Exit status: 0 success, 1 something to fix, 2 wrong usage.
"""

from __future__ import annotations

import typer

from slo_router.operator.commands import redis_server, rollout
from slo_router.operator.commands.check import check
from slo_router.operator.commands.explain import explain
from slo_router.operator.commands.replay import replay
from slo_router.operator.commands.report import report
from slo_router.operator.commands.status import status
from slo_router.operator.estimate.command import estimate
from slo_router.operator.evaluating.command import evaluate
from slo_router.operator.feedback.command import feedback
from slo_router.operator.page.command import page
from slo_router.operator.training.command import train

HELP = """Routes each request of a LiteLLM proxy to the cheapest deployment that meets its SLO.

Start with: slo-router check litellm_config.yaml
"""

app = typer.Typer(no_args_is_help=True, add_completion=False, help=HELP, rich_markup_mode=None)
COMMANDS = check, estimate, evaluate, train, status, explain, feedback, report, replay, page, rollout.off, rollout.on
for command in COMMANDS:
    app.command()(command)
app.add_typer(rollout.app, name="policy")
app.add_typer(redis_server.app, name="redis")
