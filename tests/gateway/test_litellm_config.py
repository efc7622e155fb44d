"""The proxy's configuration and LiteLLM's own reading of it: the plugin logs what LiteLLM does not tell.

`make test-lowest` and `make test-newest` run these on the other versions.
"""

from __future__ import annotations

import asyncio
import copy
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # no download of the price map
os.environ.setdefault("LITELLM_MODE", "PRODUCTION")  # no .env file of whoever runs this
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # LiteLLM's own
    import litellm
    from litellm.proxy import proxy_server
    from litellm.router import Router
    from litellm.types.router import Deployment, LiteLLM_Params, ModelInfo

    from slo_router.gateway import router as litellm_router
    from slo_router.gateway.config import proxy_settings
    from slo_router.gateway.hooks import Plugin

from slo_router.contract.settings.config import load_settings
from slo_router.contract.settings.deployments import generated_id
from slo_router.contract.settings.yaml_document import read_document
from slo_router.errors import SettingsError

pytestmark = pytest.mark.filterwarnings("ignore")  # LiteLLM's own
SECTION = {"redis_url": "redis://h:1/0", "groups": {"smart": {}}}


@pytest.fixture(autouse=True)
def _litellm() -> Iterator[None]:
    """LiteLLM's settings, put back afterwards."""
    before, path = litellm.callback_settings, proxy_server.user_config_file_path
    yield
    litellm.callback_settings, proxy_server.user_config_file_path = before, path
    proxy_server.proxy_config.update_config_state({})


def started(path: Path) -> dict[str, object]:
    """The file as LiteLLM reads it at its start, up to where it loads callbacks."""
    config = dict(asyncio.run(proxy_server.proxy_config.get_config(config_file_path=str(path))))
    litellm.callback_settings = config.get("callback_settings") or {}
    return config


def write(folder: Path, *entries: object, **section: object) -> Path:
    document = {"model_list": list(entries), "callback_settings": {"slo_router": {**SECTION, **section}}}
    document["litellm_settings"] = {"callbacks": ["slo_router.proxy.callback"]}
    path = folder / "c.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def entry(**params: object) -> dict[str, object]:
    return {"model_name": "smart", "litellm_params": {"model": "openai/x", "api_key": "none", **params}}


def test_litellms_own_loader_merges_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLO_TEST_MODEL", "openai/x")
    path = tmp_path / "c.yaml"
    path.write_text("include: [more.yaml]\nmodel_list: [{model_name: a}]\nrouter_settings: {num_retries: 1}")
    more = "{model_list: [{model_name: os.environ/SLO_TEST_MODEL}], x: os.environ/UNSET_X}"
    (tmp_path / "more.yaml").write_text(more)
    theirs = started(path)
    ours = dict(read_document(path).fields)
    assert (theirs.pop("x"), ours.pop("x")) == (None, "os.environ/UNSET_X")
    assert {name: ours[name] for name in ours} == {name: theirs[name] for name in ours}


def test_a_generated_id_is_litellms_in_the_proxy_and_in_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLO_TEST_KEY", "secret")
    more = {"extra_body": {"a": {"b": False}}, "tags": ["x", "y"], "rpm": 4, "timeout": 1.5, "stream": None}
    path = write(tmp_path, entry(api_key="os.environ/SLO_TEST_KEY", api_base="os.environ/SLO_TEST_NOT_SET", **more))
    model_list = started(path)["model_list"]
    router = Router(model_list=model_list)
    (held,) = litellm_router.model_list(router)
    (in_proxy,), (in_cli,) = proxy_settings().deployments, load_settings(path).deployments
    assert in_proxy.facts.deployment_id == in_cli.facts.deployment_id == litellm_router.deployment_id(held)
    params = {"model": "openai/x", **more}
    assert generated_id("smart", params) == litellm_router.generated_id("smart", params)


def test_a_variable_that_is_not_set_is_refused_by_name_though_litellm_says_none(tmp_path: Path) -> None:
    path = write(tmp_path, entry(), redis_url="os.environ/SLO_TEST_NOT_SET")
    config = started(path)
    assert litellm.callback_settings["slo_router"]["redis_url"] is None
    assert config
    with pytest.raises(SettingsError, match=r"slo_router\.redis_url: 'os\.environ/SLO_TEST_NOT_SET', expected the env"):
        proxy_settings()


def test_numbers_from_variables_are_numbers_and_a_block_counts_once_litellm_set_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLO_TEST_S", "2.5")
    monkeypatch.setenv("SLO_TEST_M", "900")
    group = {"slo": {"ttft_ms": "os.environ/SLO_TEST_M"}}
    path = write(
        tmp_path,
        entry(),
        refresh_interval_s="os.environ/SLO_TEST_S",
        groups={"smart": group},
        redis_url="os.environ/SLO_TEST_BLOCK",
    )
    started(path)
    monkeypatch.setenv("SLO_TEST_BLOCK", "redis://later:1/0")  # as LiteLLM does between reading and loading callbacks
    plugin = proxy_settings().plugin
    assert (plugin.refresh_interval_s, plugin.groups["smart"].slo.ttft_ms) == (2.5, 900)
    assert plugin.redis_url == "redis://later:1/0"


def test_what_the_file_lost_is_said_with_the_error_or_with_the_notes(tmp_path: Path) -> None:
    path = write(tmp_path, entry())
    path.write_text(path.read_text() + "router_settings: {num_retries: 1}\nrouter_settings: {}\n")
    started(path)
    assert proxy_settings().notes[0].startswith("c.yaml: router_settings stands twice, in lines ")
    path.write_text(path.read_text() + "callback_settings:\n")
    started(path)
    with pytest.raises(SettingsError, match="callback_settings stands twice, in lines "):
        proxy_settings()


def test_a_deployment_that_the_database_adds_joins_under_litellms_id(tmp_path: Path) -> None:
    path = write(tmp_path)
    started(path)
    settings = proxy_settings()
    assert settings.deployments == ()
    before, router = proxy_server.llm_router, Router(model_list=[])
    try:
        proxy_server.llm_router = router
        made = Plugin(settings)
        made.take_over()
        assert made.strategy.facts == {}
        params = LiteLLM_Params(model="openai/gpt-4o", api_key="none")
        team = {"team_id": "t", "team_public_model_name": "smart"}
        router.add_deployment(Deployment("smart", params, ModelInfo()))
        router.add_deployment(Deployment("model_name_t_1", params, ModelInfo(id="of-a-team", **team)))
        made.take_over()
        assert set(made.strategy.facts) == {
            litellm_router.deployment_id(one) for one in litellm_router.model_list(router)
        }
        assert len(made.strategy.facts) == 2
        assert {one.context_tokens for one in made.strategy.facts.values()} == {128_000}
    finally:
        proxy_server.llm_router = before


def test_what_a_deployment_says_of_itself_is_not_taken_for_what_its_model_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LiteLLM keeps a deployment's facts in its price map, under the name of the model."""
    monkeypatch.setattr(litellm, "model_cost", copy.deepcopy(litellm.model_cost))  # as after a reload
    says = {"max_input_tokens": 2_000, "supports_vision": False, "mode": "embedding"}
    listed, unlisted = entry(model="openai/gpt-4o"), entry(model="openai/only-here")
    entries = [
        {**one, "model_info": {"id": f"{name}-{index}", **info}}
        for index, info in enumerate((says, {}))
        for name, one in (("listed", listed), ("unlisted", unlisted))
    ]
    started(path := write(tmp_path, *entries))
    settings = proxy_settings()
    before = proxy_server.llm_router
    try:
        proxy_server.llm_router = Router(model_list=copy.deepcopy(entries))
        made = Plugin(settings)
        made.take_over()
        facts = made.strategy.facts
    finally:
        proxy_server.llm_router = before
    assert {name: one.context_tokens for name, one in facts.items()} == {
        "listed-0": 2_000,
        "unlisted-0": 2_000,
        "listed-1": 128_000,
        "unlisted-1": None,
    }
    assert {name: bool(one.unsupported) for name, one in facts.items()} == {
        "listed-0": True,
        "unlisted-0": True,
        "listed-1": False,
        "unlisted-1": False,
    }
    assert facts["listed-1"].unsupported == load_settings(path).deployments[2].facts.unsupported
