"""`slo-router check`: validates the YAML, and shows what is known and what is missing of each managed deployment."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from slo_router.contract.model import Facts, Snapshot
from slo_router.contract.settings.config import Settings, load_settings
from slo_router.contract.settings.config_notes import proposed_ids
from slo_router.contract.settings.installed import LookedAt, look_at_litellm
from slo_router.contract.settings.yaml_document import read_document
from slo_router.operator.commands.measured import Measured, read_measured
from slo_router.operator.commands.running import Running, running
from slo_router.operator.commands.terminal import (
    DEFAULT_CONFIG,
    AsJson,
    console,
    make_table,
    print_json,
    problems,
    remarks,
    span,
)
from slo_router.operator.reporting.gaps import Gap, find_gaps

Ages = dict[str, float]  # by category, in seconds


def check(
    config: Annotated[Path, typer.Argument(help="The proxy's YAML file.")] = DEFAULT_CONFIG,
    *,
    offline: Annotated[bool, typer.Option("--offline", help="Check only the file, not Redis or LiteLLM.")] = False,
    as_json: AsJson = False,
) -> None:
    """Validates the YAML, and shows what is known of each managed deployment and what is missing or cannot work.

    The file is read as by the proxy: with its includes, and with `os.environ/` resolved. The command reports a plugin
    that is configured but not loaded, a repeated key, and a group without a deployment or that cannot be routed. It
    proposes a readable id for a deployment without one.

    It also checks whether the installed LiteLLM has what the plugin needs, and was tested.

    If another policy was published over the YAML, that policy is checked, and its differences are listed.

    Exit status 1: the proxy would not start with this file, or the plugin would not do what the file says. Those lines
    have a ✗. For lines that only tell what is missing or worth knowing the status is 0.

    Example: slo-router check litellm_config.yaml
    """
    with problems():
        own = load_settings(config)
        live = Running(own, {}) if offline else running(own)
        found = Measured(Snapshot(), {}, 0) if offline else asyncio.run(read_measured(live.settings))
    if live.settings.plugin.redis_url is None:
        remarks.print("no redis_url: only the file is checked")
    checked = Checked(
        own,
        live,
        found.snapshot,
        LookedAt([], []) if offline else look_at_litellm(_router_settings(config)),
        [] if offline else find_gaps(live.settings, found.snapshot, time.time(), found.fed, found.pairs),
        time.time(),
    )
    if as_json:
        print_json(_document(checked))
    else:
        _show(checked, offline=offline)
    if checked.broken:
        raise typer.Exit(1)


class Checked(NamedTuple):
    """All findings. `own` is the file, `live` the policy in force. `now_s` is Unix seconds."""

    own: Settings
    live: Running
    snapshot: Snapshot
    of_litellm: LookedAt
    gaps: list[Gap]
    now_s: float

    @property
    def broken(self) -> list[str]:
        """What the file says and the plugin does not do."""
        return [*self.own.broken, *self.of_litellm.broken]


def _document(found: Checked) -> dict[str, object]:
    settings = found.live.settings
    by_path = proposed_ids(settings.deployments)
    return {
        "broken": found.broken,
        "configuration": found.own.notes,
        "policy": {"in_force": settings.plugin.policy, "notes": found.live.notes, "off": sorted(found.live.off)},
        "litellm": [*found.of_litellm.broken, *found.of_litellm.said],
        "deployments": [
            {
                **_as_json(one.group, one.facts, _ages(one.facts, found.snapshot, found.now_s)),
                "proposed_id": by_path.get(one.path),
            }
            for one in settings.deployments
        ],
        "missing": [{"where": gap.where, "what": gap.what} for gap in found.gaps],
    }


def _show(found: Checked, *, offline: bool) -> None:
    table = make_table("Deployments", "group", "deployment", "price", "quality", "context", "measured categories")
    for one in found.live.settings.deployments:
        facts, ages = one.facts, _ages(one.facts, found.snapshot, found.now_s)
        measured = ", ".join(f"{category} ({span(age_s)} ago)" for category, age_s in ages.items()) or "none"
        quality = ", ".join(f"{name} {value:g}" for name, value in facts.quality.items()) or "unknown"
        context = "unknown" if facts.context_tokens is None else f"{facts.context_tokens:,} tokens"
        shown = "not looked at" if offline else measured
        table.add_row(one.group, facts.name, _price(facts), quality, context, shown)
    console.print(table)
    said = [note for note in found.own.notes if note not in found.own.broken]
    lines = [*said, *found.live.notes, *found.of_litellm.said]
    if found.live.off:
        lines.append(f"switched off, so that LiteLLM alone routes: {', '.join(sorted(found.live.off))}")
    for line in found.broken:
        console.print(f"✗ {line}", markup=False, highlight=False)
    for line in (*lines, *(f"{gap.where}: {gap.what}" for gap in found.gaps)):
        console.print(f"· {line}", markup=False, highlight=False)


def _router_settings(config: Path) -> dict[str, object]:
    found = read_document(config).fields.get("router_settings")
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
        "tiers": [{**tier._asdict(), "extra_usd": dict(tier.extra_usd)} for tier in facts.tiers],
        "usd_per_second": facts.usd_per_second,
        "service_tier": facts.service_tier,
        "gpu_usd_per_hour": facts.gpu_usd_per_hour,
        "quality": dict(facts.quality),
        "context_tokens": facts.context_tokens,
        "measured_age_s": ages,
    }


def _price(facts: Facts) -> str:
    if facts.gpu_usd_per_hour is not None:
        return f"${facts.gpu_usd_per_hour:g} per GPU hour"
    if facts.input_usd_per_token is None or facts.output_usd_per_token is None:
        return "unknown" if facts.usd_per_second is None else f"${facts.usd_per_second:g} per second"
    tiers = [f"; above {t.above_tokens:,} ${t.input_usd * 1e6:g} in, ${t.output_usd * 1e6:g} out" for t in facts.tiers]
    flat = f"${facts.input_usd_per_token * 1e6:g} in, ${facts.output_usd_per_token * 1e6:g} out per 1M tokens"
    asked = "" if facts.service_tier is None else f", service tier {facts.service_tier}"
    return flat + "".join(tiers) + asked
