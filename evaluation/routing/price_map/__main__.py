"""Whether a request costs what LiteLLM bills for it, for every model of its price map and for every way to write one.

    LITELLM_LOCAL_MODEL_COST_MAP=True python -m evaluation.routing.price_map [--usages N] [--every N]

Each chat and responses model with a price gets N random usages (20). They cover prompts on both sides of every step of
its price, tokens read from and written to a cache for five minutes and an hour, reasoning, audio and images, at each
service tier. The peer is LiteLLM's own calculator, called as LiteLLM's log of a request calls it. Some prices do not
follow from a model's name (base models, Azure names, Bedrock ARNs, prices of one's own, discounts, margins): LiteLLM's
`Router` bills these, with mocked answers. Models priced by the character have no price by the token and are left out.
Two costs of ours are compared with the peer:

    proxy      the price function of the proxy, made from LiteLLM's answers when a deployment is read (`billing`)
    commands   what `slo-router report` and `replay` read from YAML and price map alone, for plain and cached text

Exit status 1: LiteLLM bills a usage, and the proxy's cost differs from that by more than 1e-9 USD.
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections import Counter
from importlib.metadata import version
from typing import Annotated

import litellm
import typer
from rich.console import Console
from rich.table import Table

from evaluation.routing.price_map.forms import of_forms
from evaluation.routing.price_map.sides import GOOD, VERDICTS, Compared, of_map
from evaluation.shared.results import Save, save


def main(
    usages: Annotated[int, typer.Option(help="Of each model.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the usages.")] = 1,
    every: Annotated[int, typer.Option(help="Of so many models one.")] = 1,
    *,
    is_saved: Save = False,
) -> None:
    """Prints how many costs are equal, and every model where one is not."""
    logging.disable(logging.ERROR)  # LiteLLM's errors about models without a price
    litellm.suppress_debug_info = True
    warnings.simplefilter("ignore")
    found = [*of_map(usages, seed, every), *asyncio.run(of_forms(usages, seed))]
    table = Table("", *VERDICTS)
    proxy = Counter(one.verdict(one.proxy_usd) for one in found)
    commands = Counter(one.verdict(one.commands_usd) for one in found if one.asked.is_text)
    for name, counts in (("the proxy's, everything", proxy), ("the commands', text", commands)):
        table.add_row(name, *(f"{counts[verdict]:,}" for verdict in VERDICTS))
    console = Console(width=120)
    console.print(f"LiteLLM {version('litellm')}: {len({one.model for one in found}):,} models and forms", table)
    shown: dict[tuple[str, str], list[Compared]] = {}
    for one in found:
        verdict = one.verdict(one.proxy_usd)
        if verdict not in GOOD:
            shown.setdefault((one.model, verdict), []).append(one)
    for (model, verdict), ones in shown.items():
        worst = max(ones, key=lambda one: abs((one.proxy_usd or 0.0) - (one.litellm_usd or 0.0)))
        console.print(
            f"{model}: {verdict} in {len(ones)}, such as {worst.proxy_usd} for {worst.litellm_usd}", soft_wrap=True
        )
    if is_saved:
        save({"models": len({one.model for one in found}), "proxy": dict(proxy), "commands": dict(commands)})
    raise typer.Exit(proxy["differs"] > 0)


if __name__ == "__main__":
    typer.run(main)
