"""Switches and policies reach every worker through Redis, are validated, and can be rolled back."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis
import yaml
from typer.testing import CliRunner

from evaluation.shared.valkey_server import ValkeyServer
from slo_router.contract.keys import POLICIES_KEY
from slo_router.contract.redis.link import AsyncClient, connect
from slo_router.contract.settings.config import PluginSettings
from slo_router.contract.settings.group import GroupSettings, SloSettings
from slo_router.operator.cli import app
from slo_router.worker.rollout import KEPT, Rollout, history, publish, roll_back, switch, switched_off

YAML = PluginSettings(groups={"smart": GroupSettings()}, key_prefix="t:")


def limited(ttft_ms: float) -> dict[str, GroupSettings]:
    return {"smart": GroupSettings(slo=SloSettings(ttft_ms=ttft_ms), min_quality={"default": 0.5})}


def version_of(groups: dict[str, GroupSettings]) -> str:
    return PluginSettings(groups=groups).policy


@pytest.fixture
def blocking(server: ValkeyServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        yield client


@pytest.fixture
async def client(server: ValkeyServer) -> AsyncIterator[AsyncClient]:
    connected = connect(server.url)
    yield connected
    await connected.aclose()


async def test_a_worker_says_where_it_lacks_the_classifier_of_a_published_policy(
    client: AsyncClient, blocking: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Rollout(YAML)
    await worker.refresh(client)
    publish(
        blocking, YAML, {"smart": GroupSettings.model_validate({"categorizer": {"trained": "/nowhere/tasks.json"}})}
    )
    await worker.refresh(client)
    assert worker.policy.groups["smart"].trained is not None
    assert "groups.smart.categorizer.trained: /nowhere/tasks.json: No such file or directory" in caplog.text


async def test_a_published_policy_is_in_force_after_the_next_refresh_and_rolls_back(
    client: AsyncClient, blocking: redis.Redis
) -> None:
    worker = Rollout(YAML)
    await worker.refresh(client)
    assert worker.policy.version == YAML.policy
    publish(blocking, YAML, limited(100))
    published = publish(blocking, YAML, limited(200))
    await worker.refresh(client)
    assert worker.policy.version == published.version == version_of(limited(200))
    assert worker.policy.groups == limited(200)
    back = [roll_back(blocking, YAML) for _ in range(2)]
    await worker.refresh(client)
    assert [policy.version for policy in back if policy] == [version_of(limited(100)), version_of(limited(200))]
    assert worker.policy.version == version_of(limited(200))  # a rollback is a policy too, and can be rolled back


async def test_the_first_rollback_leads_to_the_yaml_and_without_a_policy_there_is_none(
    client: AsyncClient, blocking: redis.Redis
) -> None:
    assert roll_back(blocking, YAML) is None
    publish(blocking, YAML, limited(100))
    assert roll_back(blocking, YAML) is not None
    worker = Rollout(YAML)
    await worker.refresh(client)
    assert worker.policy.version == YAML.policy


def test_the_last_five_are_kept(blocking: redis.Redis) -> None:
    for ttft_ms in range(100, 107):
        publish(blocking, YAML, limited(ttft_ms))
    kept = [policy.version for policy in history(blocking, "t:")]
    assert kept == [version_of(limited(ttft_ms)) for ttft_ms in range(106, 106 - KEPT, -1)]


async def test_whoever_changes_the_yaml_and_restarts_has_the_last_word(
    client: AsyncClient, blocking: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    publish(blocking, YAML, limited(100))
    edited = YAML.model_copy(update={"groups": limited(50)})
    worker = Rollout(edited)
    await worker.refresh(client)
    await worker.refresh(client)
    assert worker.policy.version == edited.policy
    assert sum("another YAML" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no JSON", "Expecting value"),
        ("[]", "expected JSON with version, base, at_s and groups"),
        (json.dumps({"base": YAML.policy, "at_s": 1, "groups": {"smart": {"tie_band": 2}}}), "groups.smart.tie_band"),
        (json.dumps({"base": YAML.policy, "at_s": "now", "groups": {}}), "could not convert"),
    ],
)
async def test_what_does_not_validate_is_refused_and_the_policy_before_stays(
    client: AsyncClient, blocking: redis.Redis, caplog: pytest.LogCaptureFixture, text: str, says: str
) -> None:
    publish(blocking, YAML, limited(100))
    worker = Rollout(YAML)
    await worker.refresh(client)
    blocking.lpush("t:" + POLICIES_KEY, text)
    with caplog.at_level(logging.WARNING):
        await worker.refresh(client)
        await worker.refresh(client)
    assert worker.policy.version == version_of(limited(100))
    said = [record.message for record in caplog.records if "refused" in record.message]
    assert len(said) == 1
    assert says in said[0]


async def test_a_group_is_switched_off_and_on(client: AsyncClient, blocking: redis.Redis) -> None:
    worker = Rollout(YAML)
    for on, expected in ((False, {"smart"}), (True, set())):
        switch(blocking, "t:", "smart", on=on)
        await worker.refresh(client)
        assert worker.off == switched_off(blocking, "t:") == expected


@pytest.fixture
def yaml_file(server: ValkeyServer, blocking: redis.Redis, tmp_path: Path) -> Path:
    """A proxy's YAML that uses this server. `new.yaml` beside it asks for more quality."""
    assert blocking.ping()
    model = {"model_name": "smart", "litellm_params": {"model": "openai/small"}, "model_info": {"id": "small"}}
    for name, group in (("old.yaml", {}), ("new.yaml", {"min_quality": 0.5})):
        section = {"redis_url": server.url, "groups": {"smart": group}}
        document = {"model_list": [model], "callback_settings": {"slo_router": section}}
        (tmp_path / name).write_text(yaml.safe_dump(document), encoding="utf-8")
    return tmp_path / "old.yaml"


def run(*arguments: str) -> str:
    found = CliRunner().invoke(app, list(arguments))
    assert found.exit_code == 0, found.output
    return found.output


def test_the_commands_publish_list_and_roll_back(yaml_file: Path) -> None:
    config = ("--config", str(yaml_file))
    new = version_of({"smart": GroupSettings(min_quality={"default": 0.5})})
    assert f"policy {new} is in force within 1 s" in run(
        "policy", "publish", str(yaml_file.parent / "new.yaml"), *config
    )
    assert json.loads(run("policy", "list", "--json", *config))["in_force"] == new
    assert YAML.policy in run("policy", "rollback", *config)
    assert json.loads(run("policy", "list", "--json", *config))["in_force"] == YAML.policy
    assert "in force" in run("policy", "list", *config)


def test_a_group_is_switched_by_command_and_a_wrong_name_is_refused(yaml_file: Path, blocking: redis.Redis) -> None:
    assert "LiteLLM routes smart within 1 s" in run("off", "smart", "--config", str(yaml_file))
    assert switched_off(blocking, "") == {"smart"}
    assert "the plugin routes smart" in run("on", "smart", "--config", str(yaml_file))
    assert switched_off(blocking, "") == set()
    refused = CliRunner().invoke(app, ["off", "smrat", "--config", str(yaml_file)])
    assert refused.exit_code == 1
    assert "smrat: no managed group, expected one of smart" in refused.output
