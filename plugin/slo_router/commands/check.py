"""`slo-router check`: is the YAML right, what is known of each managed deployment, and what is missing?"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer
import yaml

from slo_router.commands.measured import Measured, read_measured
from slo_router.commands.running import Running, running
from slo_router.commands.terminal import (
    DEFAULT_CONFIG,
    AsJson,
    console,
    make_table,
    print_json,
    problems,
    remarks,
    span,
)
from slo_router.config import load_settings
from slo_router.domain import Facts, Snapshot
from slo_router.installed import litellm_notes
from slo_router.reporting.gaps import find_gaps

Ages = dict[str, float]  # by category, in seconds


def check(
    config: Annotated[Path, typer.Argument(help="The proxy's YAML file.")] = DEFAULT_CONFIG,
    *,
    offline: Annotated[bool, typer.Option("--offline", help="Look at the file only, not at Redis or LiteLLM.")] = False,
    as_json: AsJson = False,
) -> None:
    """Validates the YAML, shows what is known of each managed deployment, and says what is missing or cannot work.

    The LiteLLM that is installed here is looked at too: whether it has what the plugin needs, and was tested.

    Where another policy was published over the YAML, that one is looked at, and every difference is named.

    Example: slo-router check litellm_config.yaml
    """
    with problems():
        own = load_settings(config)
        live = Running(own, {}) if offline else running(own)
        settings = live.settings
        found = Measured(Snapshot(), {}, 0) if offline else asyncio.run(read_measured(settings))
    if settings.plugin.redis_url is None:
        remarks.print("no redis_url: only the file is checked")
    notes = [*live.notes, *([] if offline else litellm_notes(_router_settings(config)))]
    now_s = time.time()
    gaps = [] if offline else find_gaps(settings, found.snapshot, now_s)
    known = [(one.group, one.facts, _ages(one.facts, found.snapshot, now_s)) for one in settings.deployments]
    if as_json:
        missing = [{"where": gap.where, "what": gap.what} for gap in gaps]
        policy = {"in_force": settings.plugin.policy, "notes": live.notes, "off": sorted(live.off)}
        litellm = notes[len(live.notes) :]
        print_json(
            {"policy": policy, "litellm": litellm, "deployments": [_as_json(*one) for one in known], "missing": missing}
        )
        return
    table = make_table("Deployments", "group", "deployment", "price", "quality", "context", "measured categories")
    for group, facts, ages in known:
        measured = ", ".join(f"{category} ({span(age_s)} ago)" for category, age_s in ages.items()) or "none"
        quality = ", ".join(f"{name} {value:g}" for name, value in facts.quality.items()) or "unknown"
        context = "unknown" if facts.context_tokens is None else f"{facts.context_tokens:,} tokens"
        shown = "not looked at" if offline else measured
        table.add_row(group, facts.deployment_id, _price(facts), quality, context, shown)
    console.print(table)
    for note in notes:
        console.print(f"· {note}", markup=False, highlight=False)
    if live.off:
        console.print(f"· switched off, so that LiteLLM alone routes: {', '.join(sorted(live.off))}", markup=False)
    for gap in gaps:
        console.print(f"· {gap.where}: {gap.what}", markup=False, highlight=False)


def _router_settings(config: Path) -> dict[str, object]:
    found = yaml.safe_load(config.read_text(encoding="utf-8")).get("router_settings")
    return found if isinstance(found, dict) else {}


def _ages(facts: Facts, snapshot: Snapshot, now_s: float) -> Ages:
    measured = snapshot.measured.get(facts.deployment_id, {})
    return {category: max(now_s - metrics.measured_at_s, 0.0) for category, metrics in measured.items()}


def _as_json(group: str, facts: Facts, ages: Ages) -> dict[str, object]:
    return {
        "group": group,
        "deployment": facts.deployment_id,
        "model": facts.model,
        "input_usd_per_token": facts.input_usd_per_token,
        "output_usd_per_token": facts.output_usd_per_token,
        "gpu_usd_per_hour": facts.gpu_usd_per_hour,
        "quality": dict(facts.quality),
        "context_tokens": facts.context_tokens,
        "measured_age_s": ages,
    }


def _price(facts: Facts) -> str:
    if facts.gpu_usd_per_hour is not None:
        return f"${facts.gpu_usd_per_hour:g} per GPU hour"
    if facts.input_usd_per_token is None or facts.output_usd_per_token is None:
        return "unknown"
    return f"${facts.input_usd_per_token * 1e6:g} in, ${facts.output_usd_per_token * 1e6:g} out per 1M tokens"
