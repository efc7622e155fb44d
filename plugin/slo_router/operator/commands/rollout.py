"""`slo-router policy …`, `on` and `off`: changes what the running proxies do, within one refresh interval."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from slo_router.contract.redis.link import BlockingClient
from slo_router.contract.settings.config import Settings, load_settings
from slo_router.errors import SettingsError
from slo_router.operator.commands.terminal import (
    DEFAULT_CONFIG,
    AsJson,
    Config,
    console,
    make_table,
    print_json,
    problems,
    redis_of,
)
from slo_router.worker import rollout
from slo_router.worker.rollout import Policy

app = typer.Typer(no_args_is_help=True, help="Publishes policies to the running proxies, and takes them back.")
GroupName = Annotated[str, typer.Argument(help="A group of model_list.")]


@app.command()
def publish(
    policy: Annotated[Path, typer.Argument(help="A whole proxy YAML, whose `groups` are published.")],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Puts the groups of another YAML in force, without a restart.

    They hold until the proxy restarts with another policy in its own YAML. Try them before with slo-router replay.

    Example: slo-router policy publish new.yaml --config litellm_config.yaml
    """
    with _running(config) as (settings, client):
        groups = load_settings(policy).plugin.groups
        if groups.keys() != settings.plugin.groups.keys():
            expected = ", ".join(sorted(settings.plugin.groups))
            raise SettingsError(f"{policy}: groups {', '.join(sorted(groups))}, expected those of {config}: {expected}")
        done = rollout.publish(client, settings.plugin, groups)
        console.print(f"policy {done.version} is in force within {settings.plugin.refresh_interval_s:g} s")


@app.command()
def rollback(config: Config = DEFAULT_CONFIG) -> None:
    """Puts the previous policy in force again. A second call takes that back.

    Example: slo-router policy rollback
    """
    with _running(config) as (settings, client):
        done = rollout.roll_back(client, settings.plugin)
        if done is None:
            raise SettingsError("nothing to roll back: no policy was published over this YAML")
        console.print(f"policy {done.version} is in force within {settings.plugin.refresh_interval_s:g} s")


@app.command("list")
def list_policies(config: Config = DEFAULT_CONFIG, *, as_json: AsJson = False) -> None:
    """Shows the last five policies, the newest first, and which is in force.

    Example: slo-router policy list
    """
    with _running(config) as (settings, client):
        policies, own = rollout.history(client, settings.plugin.key_prefix), settings.plugin.policy
    counts = bool(policies) and policies[0].base == own
    if as_json:
        rows = [{**policy._asdict(), "groups": sorted(policy.groups)} for policy in policies]
        print_json({"yaml": own, "in_force": policies[0].version if counts else own, "policies": rows})
        return
    table = make_table("Policies", "version", "published", "groups", "")
    for number, policy in enumerate(policies):
        table.add_row(policy.version, _when(policy), ", ".join(sorted(policy.groups)), _note(policy, own, number))
    table.add_row(own, "the YAML", ", ".join(sorted(settings.plugin.groups)), "" if counts else "in force")
    console.print(table)


def off(group: GroupName, config: Config = DEFAULT_CONFIG) -> None:
    """Lets LiteLLM alone route a group, at once and without a restart.

    Example: slo-router off smart
    """
    _switch(group, config, on=False)


def on(group: GroupName, config: Config = DEFAULT_CONFIG) -> None:
    """Lets the plugin route a switched-off group again.

    Example: slo-router on smart
    """
    _switch(group, config, on=True)


def _switch(group: str, config: Path, *, on: bool) -> None:
    with _running(config) as (settings, client):
        if group not in settings.plugin.groups:
            raise SettingsError(f"{group}: no managed group, expected one of {', '.join(settings.plugin.groups)}")
        rollout.switch(client, settings.plugin.key_prefix, group, on=on)
        who = "the plugin routes" if on else "LiteLLM routes"
        console.print(f"{who} {group} within {settings.plugin.refresh_interval_s:g} s")


@contextmanager
def _running(config: Path) -> Iterator[tuple[Settings, BlockingClient]]:
    with problems():
        settings = load_settings(config)
        with redis_of(settings) as client:
            if client is None:
                raise SettingsError(f"{config}: no redis_url, expected one: the proxies are told through Redis")
            yield settings, client


def _when(policy: Policy) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(policy.at_s))


def _note(policy: Policy, own: str, number: int) -> str:
    if policy.base != own:
        return "over another YAML"
    return "in force" if number == 0 else ""
