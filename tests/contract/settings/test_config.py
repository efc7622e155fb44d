"""The YAML is read strictly: whatever is wrong stops start-up with its path, its value and what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from slo_router.contract.model import LEVELS
from slo_router.contract.settings.config import Settings, load_settings, parse_settings
from slo_router.contract.settings.group import CONFIDENCES, GroupSettings, Weights
from slo_router.errors import SettingsError

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
        ({"objectiv": "x"}, "groups.smart.objectiv: unknown key, expected one of mode, slo, min_quality, "),
        ({"slo": {"ttft": 5}}, "groups.smart.slo.ttft: unknown key, expected one of ttft_ms, tpot_ms, e2e_ms, "),
        ({"slo": {"min_quality": 0.5}}, "groups.smart.slo.min_quality: unknown key, expected one of ttft_ms, "),
        ({"slo": {"ttft_ms": "150"}}, "groups.smart.slo.ttft_ms: '150', expected a valid number"),
        ({"slo": {"ttft_ms": True}}, "groups.smart.slo.ttft_ms: True, expected a valid number"),
        ({"slo": {"ttft_ms": -1}}, "groups.smart.slo.ttft_ms: -1, expected greater than 0"),
        ({"slo": {"ttft_ms": 0}}, "groups.smart.slo.ttft_ms: 0, expected greater than 0"),
        ({"slo": {"ttft_ms": float("inf")}}, "groups.smart.slo.ttft_ms: inf, expected a finite number"),
        ({"slo": {"cost_per_1k": float("nan")}}, "groups.smart.slo.cost_per_1k: nan, expected a finite number"),
        ({"slo": {"cost_per_1k": -0.1}}, "groups.smart.slo.cost_per_1k: -0.1, expected greater than or equal to 0"),
        ({"slo": 5}, "groups.smart.slo: 5, expected a mapping"),
        ({"min_quality": "high"}, "groups.smart.min_quality: 'high', expected a number from 0 to 1, or a mapping"),
        ({"min_quality": 1.5}, "groups.smart.min_quality.default: 1.5, expected less than or equal to 1"),
        ({"min_quality": {"ner": "high"}}, "groups.smart.min_quality.ner: 'high', expected a valid number"),
        ({"objective": "best"}, "groups.smart.objective: 'best', expected 'cheapest', 'weighted' or 'value'"),
        ({"objective": "value"}, "groups.smart: expected a target where the objective is `value`, and no other"),
        (
            {"target": {"usd_per_day": 4}},
            "groups.smart: expected a target where the objective is `value`, and no other",
        ),
        ({"objective": "value", "target": {}}, "groups.smart.target: expected either quality_of_best or usd_per_day"),
        (
            {"objective": "value", "target": {"quality_of_best": 0.9, "usd_per_day": 4}},
            "groups.smart.target: expected either quality_of_best or usd_per_day",
        ),
        (
            {"objective": "value", "target": {"quality_of_best": 1.5}},
            "groups.smart.target.quality_of_best: 1.5, expected",
        ),
        ({"weights": {"cost": 1}}, "groups.smart: expected objective: weighted where weights are given"),
        ({"objective": "weighted", "weights": {"cost": -1}}, "groups.smart.weights.cost: -1, expected greater than or"),
        (
            {"objective": "weighted", "weights": {"quality": 0, "cost": 0, "latency": 0}},
            "groups.smart.weights: expected at least one weight above 0",
        ),
        # a name that no client can send in x-slo-category
        ({"categories": {"Legal": ["x"]}}, "groups.smart.categories.Legal.[key]: 'Legal', expected match pattern"),
        ({"categories": {"legal": [" "]}}, r"groups.smart.categories.legal.words.0: ' ', expected match pattern '\S'"),
        ({"categories": {"unsure": ["x"]}}, "groups.smart.categories.unsure.[key]: 'unsure', expected another name: "),
        (
            {"categories": {"a": {"wehn": {}}}},
            "groups.smart.categories.a.wehn: unknown key, expected one of when, words",
        ),
        ({"categories": {"a": {"when": {}}}}, "groups.smart.categories.a.when.0: expected one of header, tag, tool, "),
        (
            {"categories": {"a": {"when": {"tag": 3}}}},
            "groups.smart.categories.a.when.0.tag: 3, expected a valid string",
        ),
        (
            {"categories": {"a": {"when": {"system_sha256": "abc"}}}},
            "groups.smart.categories.a.when.0.system_sha256: 'abc', expected match pattern '^[0-9a-f]{8,64}$'",
        ),
        (
            {"categories": {"a": {"when": [{"header": "x-app: b"}]}}},
            "groups.smart.categories.a.when.0.header: 'x-app: b', expected a mapping",
        ),
        ({"rescue": {"deadlines": 1}}, "groups.smart.rescue.deadlines: unknown key, expected one of deadline, hedge, "),
        ({"rescue": {"budget": 3}}, "groups.smart.rescue.budget: 3, expected less than or equal to 1"),
        ({"rescue": {"min_ms": 0}}, "groups.smart.rescue.min_ms: 0, expected greater than 0"),
        ({"rescue": {"min_ms": 140_000}}, "groups.smart.rescue: expected min_ms of at most max_ms"),
        ({"rescue": {"hedge": True}}, "groups.smart.rescue: expected hedge: false; LiteLLM has no safe way"),
        ({"rescue": "maybe"}, "groups.smart.rescue: 'maybe', expected a mapping"),
        ({"shadow_evaluation": {"judge": "smart"}}, "groups.smart.shadow_evaluation.usd_per_day: missing"),
        (
            {"shadow_evaluation": {"judge": "nobody", "usd_per_day": 1}},
            "groups.smart.shadow_evaluation.judge: 'nobody', expected a model_name of model_list: ",
        ),
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
        ({"groups": []}, "groups: [], expected a mapping"),
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
        (
            (SMART | {"model_info": {"id": None}},),
            "model_list[0].model_info.id: empty, expected a name, or no such line",
        ),
        (
            (SMART | {"model_info": {"id": "os.environ/NO"}},),
            "model_list[0].model_info.id: 'os.environ/NO', expected a",
        ),
        (
            (SMART, SMART),
            "model_list: id 'small' is used twice, expected ids to be unique: model_list[0].model_info.id and ",
        ),
        ((SMART, {"model_name": "smart"}), "model_list[1].litellm_params.model: missing, expected a model name"),
        ("smart", "model_list: str, expected a list of deployments"),
        (
            (SMART | {"model_name": "smrat"},),
            "groups.smart: no such group, expected a model_name of model_list: ['smrat'",
        ),
    ],
)
def test_a_wrong_model_list_is_named(entries: object, message: str) -> None:
    assert fault(entries=entries).startswith(message)


def test_a_group_with_nothing_under_its_name_has_the_defaults() -> None:
    section = {"groups": {"smart": None}}
    read = parse_settings({"model_list": [SMART], "callback_settings": {"slo_router": section}}, {})
    assert read.plugin == settings().plugin


@pytest.mark.parametrize(
    "group",
    [
        dict.fromkeys(("slo", "min_quality", "objective", "mode", "categories", "trial_share", "rescue", "weights")),
        {"slo": {"ttft_ms": None}, "min_quality": {"default": None}},
    ],
)
def test_a_key_with_nothing_behind_it_is_none(group: dict[str, object]) -> None:
    """As where all that stood below it is commented out."""
    section = {"groups": {"smart": group}, "log": None, "metrics": None, "key_prefix": None}
    listed = {**SMART, "model_info": {"id": "a", "slo_router": {"quality": None, "metrics_url": None}}}
    read = parse_settings({"model_list": [listed], "callback_settings": {"slo_router": section}}, {})
    assert read.plugin == settings().plugin
    assert read.deployments[0].facts.quality == {}


@pytest.mark.parametrize("entries", [None, (), [SMART | {"model_name": "other"}]])
def test_a_group_may_be_empty_where_a_database_may_fill_it(entries: object) -> None:
    document = {
        "model_list": entries and list(entries),  # type: ignore[call-overload]
        "callback_settings": {"slo_router": {"groups": {"smart": {}}}},
        "litellm_settings": {"callbacks": ["slo_router.proxy.callback"]},
        "general_settings": {"store_model_in_db": True},
    }
    found = parse_settings(document, {})
    assert found.deployments == ()
    assert found.notes == (
        "callback_settings.slo_router.groups.smart: no deployment yet in group smart; LiteLLM's database may add one",
    )


@pytest.mark.parametrize("by", ["environment", "block"])
def test_a_group_may_be_empty_where_a_variable_says_that_a_database_may_fill_it(
    monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    if by == "environment":
        monkeypatch.setenv("STORE_MODEL_IN_DB", "True")
    document = {
        "model_list": [SMART | {"model_name": "other"}],
        "callback_settings": {"slo_router": {"groups": {"smart": {}}}},
        "environment_variables": {"STORE_MODEL_IN_DB": "True"} if by == "block" else {},
    }
    assert parse_settings(document, {}).deployments == ()


def test_all_faults_of_a_configuration_are_told_at_once() -> None:
    own = {"quality": 2, "qualities": 1}
    wrong = SMART | {"model_info": {"id": "", "max_input_tokens": "32k", "slo_router": own}}
    groups = {"smart": {"slo": {"ttft": 1, "tpot": 2, "e2e_ms": -1}}, "gone": {}}
    document = {
        "model_list": [wrong, {"model_name": "smart"}, SMART, SMART],
        "callback_settings": {"slo_router": {"redis_url": "http://h", "redis": "", "groups": groups}},
    }
    with pytest.raises(SettingsError) as error:
        parse_settings(document, {})
    assert [line.partition(":")[0] for line in str(error.value).splitlines()] == [
        "callback_settings.slo_router.redis",
        "callback_settings.slo_router.redis_url",
        "callback_settings.slo_router.groups.smart.slo.ttft",
        "callback_settings.slo_router.groups.smart.slo.tpot",
        "callback_settings.slo_router.groups.smart.slo.e2e_ms",
        "model_list[0].model_info.id",
        "model_list[0].model_info.slo_router.qualities",
        "model_list[0].model_info.slo_router.quality.default",
        "model_list[0].model_info.max_input_tokens",
        "model_list[1].litellm_params.model",
        "callback_settings.slo_router.groups.gone",
        "model_list",  # two with one id
    ]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://user:hunter2@h:6379", "redis_url: http://…/0, expected embedded, redis://[user:password@]host"),
        ("localhost:6379", "redis_url: …, expected embedded, redis://"),
        ("", "redis_url: empty, expected embedded, redis://"),
        ("redis://:hunter2@h:port/0", "redis_url: redis://…/0, expected embedded, redis://"),
        ("redis+sentinel://h", "redis_url: redis+sentinel://…/0, expected embedded, redis://"),
    ],
)
def test_a_redis_url_that_cannot_be_right_is_refused_without_its_password(
    url: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLO_TEST_URL", url)
    found = fault(redis_url=url)
    assert found.startswith(message)
    assert "hunter2" not in found
    named = fault(redis_url="os.environ/SLO_TEST_URL")
    assert named.startswith("redis_url: ")
    assert "os.environ/SLO_TEST_URL" in named
    assert "hunter2" not in named


def test_a_variable_may_stand_where_a_number_or_a_boolean_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"S": "0.5", "B": "false", "N": "7", "Q": "0.6", "M": "120", "P": "2024"}
    for name, value in values.items():
        monkeypatch.setenv(f"SLO_TEST_{name}", value)
    path = tmp_path / "c.yaml"
    path.write_text("""
model_list:
  - model_name: smart
    litellm_params: {model: openai/x}
    model_info: {id: x, max_input_tokens: os.environ/SLO_TEST_M, slo_router: {quality: os.environ/SLO_TEST_Q}}
callback_settings:
  slo_router:
    redis_url: redis://h:1/0
    key_prefix: os.environ/SLO_TEST_P
    refresh_interval_s: os.environ/SLO_TEST_S
    freeze_heap: os.environ/SLO_TEST_B
    log: {jsonl_backups: os.environ/SLO_TEST_N, jsonl_path: os.environ/SLO_TEST_P}
    groups: {smart: {slo: {ttft_ms: os.environ/SLO_TEST_M}, min_quality: {chat: os.environ/SLO_TEST_Q}}}
""")
    found = load_settings(path)
    plugin, facts = found.plugin, found.deployments[0].facts
    assert (plugin.refresh_interval_s, plugin.freeze_heap, plugin.key_prefix) == (0.5, False, "2024")
    assert (plugin.log.jsonl_backups, plugin.log.jsonl_path) == (7, "2024")
    assert (plugin.groups["smart"].slo.ttft_ms, plugin.groups["smart"].min_quality) == (120, {"chat": 0.6})
    assert (facts.context_tokens, facts.quality_for("chat")) == (120, 0.6)
    monkeypatch.setenv("SLO_TEST_S", "fast")
    with pytest.raises(SettingsError, match=r"refresh_interval_s: 'fast', expected a valid number"):
        load_settings(path)


def test_litellms_redis_is_used_where_the_section_names_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_HOST", raising=False)
    path = tmp_path / "c.yaml"
    path.write_text("""
environment_variables: {REDIS_HOST: cache}
model_list: [{model_name: smart, litellm_params: {model: openai/x}, model_info: {id: x}}]
litellm_settings: {cache: true, callbacks: slo_router.proxy.callback}
callback_settings: {slo_router: {groups: {smart: {}}}}
""")
    found = load_settings(path)
    assert (found.plugin.redis_url, found.notes) == ("redis://cache:6379/0", ())


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


@pytest.mark.parametrize(
    ("said", "is_on"),
    [
        ("off", False),
        (False, False),
        ({"budget": 0}, False),
        ({"deadline": False}, False),
        (None, True),
        ("on", True),
        (True, True),
        ({}, True),
        ({"min_ms": 500}, True),
    ],
)
def test_rescue_is_on_unless_a_group_says_off(said: object, is_on: bool) -> None:
    found = GroupSettings.model_validate({"rescue": said})
    assert found.rescue.is_on is is_on
    assert GroupSettings.model_validate(found.model_dump()) == found  # as a published policy is read
    assert GroupSettings().rescue.is_on


def test_default_weights_are_the_articles() -> None:
    assert Weights().model_dump() == {"quality": 0.5, "cost": 0.3, "latency": 0.2}


def test_every_confidence_is_a_quantile_that_is_kept() -> None:
    assert set(CONFIDENCES) <= set(LEVELS)
    with pytest.raises(ValidationError, match=r"one of 0\.5, 0\.65, 0\.8, 0\.9, 0\.95, 0\.975, 0\.99"):
        GroupSettings(confidence=0.85)


def test_answers_are_compared_only_where_a_group_says_so_and_by_a_share_above_0() -> None:
    assert GroupSettings().shadow_evaluation is None
    found = settings({"shadow_evaluation": {"judge": "smart", "usd_per_day": 1}}).plugin.groups["smart"]
    assert found.shadow_evaluation is not None
    assert found.shadow_evaluation.share == 0
