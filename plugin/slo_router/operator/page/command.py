"""`slo-router page`: the decision page, served by one process."""

from __future__ import annotations

import os
import secrets
from typing import Annotated

import typer

from slo_router.errors import SettingsError
from slo_router.operator.commands.terminal import DEFAULT_CONFIG, Config, problems, remarks
from slo_router.operator.page.access import Access, check_claim_key, check_token, read_address, read_origin

Listen = Annotated[str, typer.Option("--listen", metavar="HOST:PORT", help="The page's address.")]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="SLO_ROUTER_PAGE_TOKEN",
        help="The token to log in with, at least 16 characters. Better set the environment variable: other users can "
        "see a command line. Without a token the page listens only on this host, and makes a token up.",
    ),
]
LiteLlmUrl = Annotated[
    str | None, typer.Option("--litellm-url", help="LiteLLM's address in the browser: its admin UI may frame the page.")
]
PluginName = Annotated[str, typer.Option("--plugin-name", help="The page's name in general_settings.plugins.")]


def page(
    *,
    config: Config = DEFAULT_CONFIG,
    listen: Listen = "127.0.0.1:4180",
    token: Token = None,
    litellm_url: LiteLlmUrl = None,
    plugin_name: PluginName = "slo-router",
) -> None:
    """Serves the decision page: share, cost, SLO, predictions, the last decisions with reasons, and a what-if form.

    The page only reads. LiteLLM's admin UI shows it as a plugin (general_settings.plugins). Administrators there need
    no second login if SLO_ROUTER_PAGE_CLAIM_KEY holds the key that LiteLLM derives for the plugin.

    Example: slo-router page --config litellm_config.yaml
    """
    with problems():
        try:
            import uvicorn  # noqa: PLC0415  # LiteLLM's proxy brings it and Starlette; the other commands need neither

            from slo_router.operator.page.app import make_app  # noqa: PLC0415
            from slo_router.operator.page.reading import Source  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise SettingsError(
                f"{error.name} is not installed, expected litellm[proxy] or litellm-slo-router[page]"
            ) from error
        address = read_address(listen)
        check_token(token, address)
        claim_key = os.environ.get("SLO_ROUTER_PAGE_CLAIM_KEY") or None
        check_claim_key(claim_key)
        origin = read_origin(litellm_url)
        source = Source(config)
        source.settings()  # an unusable YAML stops the start
        access = Access(token or secrets.token_urlsafe(16), origin, plugin_name, claim_key)
    log_in = "" if token else f", token {access.token}"
    remarks.print(f"page: {address.url}{log_in}", highlight=False, markup=False, soft_wrap=True)
    app = make_app(source, access)
    uvicorn.run(app, host=address.host, port=address.port, access_log=False, server_header=False, log_level="warning")
