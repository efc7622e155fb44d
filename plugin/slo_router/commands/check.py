"""`slo-router check`: is the YAML right, and what is known and missing for each managed deployment?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from slo_router.commands.terminal import (
    DEFAULT_CONFIG,
    AsJson,
    console,
    make_table,
    print_json,
    problems,
    redis_of,
    remarks,
)
from slo_router.config import Settings, load_settings
from slo_router.contract import metrics_key, read_metrics
from slo_router.domain import Facts

Measurements = dict[str, dict[str, float]]  # deployment id → category → age in seconds


def check(
    config: Annotated[Path, typer.Argument(help="The proxy's YAML file.")] = DEFAULT_CONFIG,
    *,
    offline: Annotated[bool, typer.Option("--offline", help="Look at the file only, not at Redis.")] = False,
    as_json: AsJson = False,
) -> None:
    """Validates the YAML and says what is known and what is missing for each managed deployment.

    Example: slo-router check litellm_config.yaml
    """
    with problems():
        settings = load_settings(config)
        if settings.plugin.redis_url is None:
            remarks.print("no redis_url: only the file is checked")
        measured = {} if offline else _measured(settings)
    if as_json:
        print_json([_as_json(one.group, one.facts, measured) for one in settings.deployments])
        return
    table = make_table(
        "Managed deployments", "group", "deployment", "price", "quality", "context", "measured categories"
    )
    for deployment in settings.deployments:
        facts = deployment.facts
        ages = measured.get(facts.deployment_id, {})
        found = ", ".join(f"{category} ({age_s / 3600:.1f} h ago)" for category, age_s in ages.items())
        quality = ", ".join(f"{name} {value:g}" for name, value in facts.quality.items()) or "unknown"
        context = "unknown" if facts.context_tokens is None else f"{facts.context_tokens:,} tokens"
        shown = found or ("not looked at" if offline else "none")
        table.add_row(deployment.group, facts.deployment_id, _price(facts), quality, context, shown)
    console.print(table)


def _measured(settings: Settings) -> Measurements:
    found: Measurements = {}
    now_s = time.time()
    with redis_of(settings) as client:
        for deployment in settings.deployments if client is not None else ():
            name = deployment.facts.deployment_id
            for category in settings.plugin.groups[deployment.group].known_categories:
                key = metrics_key(settings.plugin.key_prefix, name, category)
                metrics, bad = read_metrics(client.hgetall(key), now_s)  # type: ignore[arg-type,union-attr]  # not a coroutine here
                for value in bad:
                    remarks.print(f"{key}: {value.field} is {value.value!r}, expected {value.expected}", markup=False)
                if metrics is not None:
                    found.setdefault(name, {})[category] = now_s - metrics.measured_at_s
    return found


def _as_json(group: str, facts: Facts, measured: Measurements) -> dict[str, object]:
    return {
        "group": group,
        "deployment": facts.deployment_id,
        "model": facts.model,
        "input_usd_per_token": facts.input_usd_per_token,
        "output_usd_per_token": facts.output_usd_per_token,
        "gpu_usd_per_hour": facts.gpu_usd_per_hour,
        "quality": dict(facts.quality),
        "context_tokens": facts.context_tokens,
        "measured_age_s": measured.get(facts.deployment_id, {}),
    }


def _price(facts: Facts) -> str:
    if facts.gpu_usd_per_hour is not None:
        return f"${facts.gpu_usd_per_hour:g} per GPU hour"
    if facts.input_usd_per_token is None or facts.output_usd_per_token is None:
        return "unknown"
    return f"${facts.input_usd_per_token * 1e6:g} in, ${facts.output_usd_per_token * 1e6:g} out per 1M tokens"
