"""The YAML is read strictly: whatever is wrong stops start-up with its path, its value and what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from slo_router.config import CONFIDENCES, GroupSettings, Settings, Weights, load_settings, parse_settings
from slo_router.errors import SettingsError
from slo_router.latency import LEVELS

SMART = {"model_name": "smart", "litellm_params": {"model": "openai/small"}, "model_info": {"id": "small"}}
EXAMPLE = """
model_list:
  - model_name: smart
    litellm_params: {model: openai/Qwen/Qwen2.5-7B, api_base: "http://qwen:8000/v1", input_cost_per_token: 1.0e-7}
    model_info: {id: qwen-7b, max_input_tokens: 32768, slo_router: {quality: {default: 0.72, reasoning: 0.55}}}
  - {model_name: plain, litellm_params: {model: openai/other}}
litellm_settings: {callbacks: ["slo_router.proxy.callback"]}
callback_settings:
  slo_router:
    redis_url: redis://localhost:6379/0
    groups:
      smart:
        slo: {ttft_ms: 150, cost_per_1k: 0.02}
        min_quality: {default: 0.6, reasoning: 0.8}
        objective: weighted
        weights: {quality: 0.5, cost: 0.3, latency: 0.2}
        categories: {legal: [contract, clause]}
    log: {jsonl_path: requests.jsonl}
"""


def settings(group: object = None, entries: object = (SMART,), **plugin: object) -> Settings:
    """One managed group, `smart`, with these settings."""
    section = {"groups": {"smart": {} if group is None else group}, **plugin}
    listed = list(entries) if isinstance(entries, tuple) else entries
    return parse_settings({"model_list": listed, "callback_settings": {"slo_router": section}}, {})


def fault(group: object = None, entries: object = (SMART,), **plugin: object) -> str:
    with pytest.raises(SettingsError) as error:
        settings(group, entries, **plugin)
    return str(error.value).removeprefix("callback_settings.slo_router.")


def test_the_documented_example_is_read(tmp_path: Path) -> None:
    path = tmp_path / "litellm_config.yaml"
    path.write_text(EXAMPLE)
    found = load_settings(path)
    (deployment,) = found.deployments  # `plain` is not managed, and needs no id
    assert (found.deployments, deployment.group) == ((deployment,), "smart")
    assert (deployment.facts.deployment_id, deployment.facts.quality_for("reasoning")) == ("qwen-7b", 0.55)
    group = found.plugin.groups["smart"]
    assert (group.slo.ttft_ms, group.slo.e2e_ms, group.objective) == (150, None, "weighted")
    assert (group.quality_floor("reasoning"), group.quality_floor("ner")) == (0.8, 0.6)
    assert (found.plugin.log.jsonl_path, found.plugin.refresh_interval_s) == ("requests.jsonl", 1.0)


def test_one_number_is_a_quality_for_every_category_and_none_is_no_floor() -> None:
    assert settings({"min_quality": 0.7}).plugin.groups["smart"].quality_floor("code") == 0.7
    assert GroupSettings().quality_floor("code") is None


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ({"objectiv": "x"}, "groups.smart.objectiv: unknown key, expected one of mode, slo, min_quality, objective, "),
        ({"slo": {"ttft": 5}}, "groups.smart.slo.ttft: unknown key, expected one of ttft_ms, tpot_ms, e2e_ms, "),
        ({"slo": {"min_quality": 0.5}}, "groups.smart.slo.min_quality: unknown key, expected one of ttft_ms, "),
        ({"slo": {"ttft_ms": "150"}}, "groups.smart.slo.ttft_ms: '150', expected a valid number"),
        ({"slo": {"ttft_ms": True}}, "groups.smart.slo.ttft_ms: True, expected a valid number"),
        ({"slo": {"ttft_ms": -1}}, "groups.smart.slo.ttft_ms: -1, expected greater than 0"),
        ({"slo": {"ttft_ms": 0}}, "groups.smart.slo.ttft_ms: 0, expected greater than 0"),
        ({"slo": {"ttft_ms": float("inf")}}, "groups.smart.slo.ttft_ms: inf, expected a finite number"),
        ({"slo": {"cost_per_1k": float("nan")}}, "groups.smart.slo.cost_per_1k: nan, expected a finite number"),
        ({"slo": {"cost_per_1k": -0.1}}, "groups.smart.slo.cost_per_1k: -0.1, expected greater than or equal to 0"),
        ({"slo": 5}, "groups.smart.slo: 5, expected a valid dictionary or instance of SloSettings"),
        ({"min_quality": 1.5}, "groups.smart.min_quality.default: 1.5, expected less than or equal to 1"),
        ({"min_quality": {"ner": "high"}}, "groups.smart.min_quality.ner: 'high', expected a valid number"),
        ({"objective": "best"}, "groups.smart.objective: 'best', expected 'cheapest' or 'weighted'"),
        ({"weights": {"cost": 1}}, "groups.smart: expected objective: weighted where weights are given"),
        ({"objective": "weighted", "weights": {"cost": -1}}, "groups.smart.weights.cost: -1, expected greater than or"),
        (
            {"objective": "weighted", "weights": {"quality": 0, "cost": 0, "latency": 0}},
            "groups.smart.weights: expected at least one weight above 0",
        ),
        ({"categorizer": "magic"}, "groups.smart.categorizer: 'magic', expected 'rules' or 'article'"),
        # a name that no client can send in x-slo-category
        ({"categories": {"Legal": ["x"]}}, "groups.smart.categories.Legal.[key]: 'Legal', expected match pattern"),
        ({"categories": {"legal": [" "]}}, r"groups.smart.categories.legal.0: ' ', expected match pattern '\S'"),
        ({"max_error_rate": 2}, "groups.smart.max_error_rate: 2, expected less than or equal to 1"),
    ],
)
def test_a_wrong_group_setting_is_named_with_its_value_and_what_was_expected(group: object, message: str) -> None:
    assert fault(group).startswith(message)


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        ({"redisurl": "redis://:secret@h"}, "redisurl: unknown key, expected one of redis_url, key_prefix, "),
        ({"refresh_interval_s": 0}, "refresh_interval_s: 0, expected greater than 0"),
        ({"refresh_interval_s": "1"}, "refresh_interval_s: '1', expected a valid number"),
        ({"log": {"queue_size": 1.5}}, "log.queue_size: 1.5, expected a valid integer"),
        ({"log": {"stream_maxlen": 0}}, "log.stream_maxlen: 0, expected greater than 0"),
        ({"log": {"log_prompts": "yes"}}, "log.log_prompts: 'yes', expected a valid boolean"),
        ({"groups": []}, "groups: [], expected a valid dictionary"),
        ({"groups": {"other": {}}}, "groups.other: no such group, expected a model_name of model_list: ['smart']"),
    ],
)
def test_a_wrong_plugin_setting_is_named_with_its_value_and_what_was_expected(
    plugin: dict[str, object], message: str
) -> None:
    found = fault(**plugin)
    assert found.startswith(message)
    assert "secret" not in found  # the value of an unknown key may be one


def test_every_fault_has_its_line() -> None:
    assert len(fault({"slo": {"ttft_ms": -1, "e2e_ms": "x"}, "max_error_rate": 2}).splitlines()) == 3


def test_an_environment_variable_is_read_and_an_unset_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLO_TEST_URL", "redis://h:1/0")
    assert settings(redis_url="os.environ/SLO_TEST_URL").plugin.redis_url == "redis://h:1/0"
    monkeypatch.delenv("SLO_TEST_URL")
    assert fault(redis_url="os.environ/SLO_TEST_URL") == (
        "redis_url: 'os.environ/SLO_TEST_URL', expected the environment variable SLO_TEST_URL to be set"
    )


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ((SMART | {"model_info": {}},), "model_list[0].model_info.id: missing, expected a stable deployment id"),
        ((SMART, SMART), "model_list: id 'small' is used twice, expected ids to be unique"),
        ((SMART, {"model_name": "smart"}), "model_list[1].litellm_params.model: missing, expected a model name"),
        ("smart", "model_list: str, expected a list of deployments"),
        (None, "groups.smart: no such group, expected a model_name of model_list: []"),
    ],
)
def test_a_wrong_model_list_is_named(entries: object, message: str) -> None:
    assert fault(entries=entries).startswith(message)


def test_an_id_of_an_unmanaged_group_may_be_anything() -> None:
    unmanaged = {"model_name": "plain", "litellm_params": {"model": "x"}, "model_info": {"id": "small"}}
    assert [d.facts.deployment_id for d in settings(entries=(SMART, unmanaged, 5)).deployments] == ["small"]


@pytest.mark.parametrize("document", [{}, {"callback_settings": None}, {"callback_settings": {"slo_router": 5}}])
def test_without_a_plugin_section_it_says_what_is_missing(document: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=r"callback_settings\.slo_router: .*expected a mapping with at least `gr"):
        parse_settings(document, {})
    with pytest.raises(SettingsError, match=r"callback_settings\.slo_router\.groups: missing"):
        parse_settings({"callback_settings": {"slo_router": {"key_prefix": ""}}}, {})


@pytest.mark.parametrize(
    ("text", "message"), [("[1]", "expected a mapping with"), ("a: [", "not valid YAML"), (None, "No such file")]
)
def test_an_unusable_file_is_named(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "c.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingsError, match=message) as error:
        load_settings(path)
    assert str(path) in str(error.value)


def test_the_policy_fingerprint_follows_what_decides_and_nothing_else() -> None:
    def policy(text: str, replacement: str) -> str:
        return parse_settings(yaml.safe_load(EXAMPLE.replace(text, replacement)), {}).plugin.policy

    same = policy("", "")
    assert policy("localhost", "elsewhere") == same
    assert policy("ttft_ms: 150", "ttft_ms: 151") != same
    assert len(same) == 8


def test_default_weights_are_the_articles() -> None:
    assert Weights().model_dump() == {"quality": 0.5, "cost": 0.3, "latency": 0.2}


def test_every_confidence_is_a_quantile_that_is_kept() -> None:
    assert set(CONFIDENCES) <= set(LEVELS)
    with pytest.raises(ValidationError, match=r"one of 0\.5, 0\.65, 0\.8, 0\.9, 0\.95, 0\.975, 0\.99"):
        GroupSettings(confidence=0.85)
