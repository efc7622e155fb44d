"""`slo-router feedback`: rates the answer to one request, in the operator's name."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from slo_router.contract.settings.config import Settings, load_settings
from slo_router.errors import FeedbackError, SettingsError
from slo_router.operator.commands.measured import linked
from slo_router.operator.commands.terminal import DEFAULT_CONFIG, AsJson, Config, console, print_json, problems
from slo_router.worker.learning.rating import ANYBODY, DOWN, UP, Rated, Rating, rate

RequestId = Annotated[str, typer.Argument(help="A response's `id`, as in its record.", show_default=False)]
Score = Annotated[float | None, typer.Option("--score", help="How good the answer is, 0 to 1.", show_default=False)]
Up = Annotated[bool, typer.Option("--up", help="The same as --score 1.")]
Down = Annotated[bool, typer.Option("--down", help="The same as --score 0.")]


def feedback(
    request_id: RequestId,
    *,
    score: Score = None,
    up: Up = False,
    down: Down = False,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Rates the answer to one request, as its user could with `POST /slo-router/feedback` on the proxy.

    The YAML must say `feedback: true`. Each request is rated once, whoever rates it. This command may rate the requests
    of every key: who may write to Redis may do more than that.

    Example: slo-router feedback chatcmpl-8f3a --up
    Example: slo-router feedback chatcmpl-8f3a --score 0.4
    """
    if (score is not None) + up + down != 1:
        raise typer.BadParameter("expected one of --score, --up and --down")
    with problems():
        settings = load_settings(config)
        rated = asyncio.run(
            _rate(settings, Rating(request_id, (UP if up else DOWN) if score is None else score, ANYBODY))
        )
    if as_json:
        print_json({"request_id": rated.request_id, "deployment": rated.deployment, "category": rated.category})
    else:
        console.print(f"counted for {rated.deployment}, {rated.category}", markup=False, highlight=False)


async def _rate(settings: Settings, rating: Rating) -> Rated:
    url = settings.plugin.redis_url
    if not settings.plugin.feedback:
        raise SettingsError("feedback: false, so no rating counts; expected feedback: true in the YAML")
    if url is None:
        raise SettingsError("no redis_url in the YAML: there is no record of a request")
    async with linked(url) as client:
        try:
            return await rate(client, settings.plugin, rating)
        except FeedbackError as error:
            raise SettingsError(str(error)) from error
