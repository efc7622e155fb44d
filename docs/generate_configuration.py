"""Writes docs/configuration.md from the models that read the YAML, so that the page has every option.

    python -m docs.generate_configuration

`WORDS` adds what a model's field does not say itself. tests/project/test_docs.py fails where the page is outdated.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

from slo_router.contract.settings.config import LogSettings, MetricSettings, PluginSettings
from slo_router.contract.settings.deployments import ModelFacts
from slo_router.contract.settings.group import (
    CONFIDENCES,
    Canary,
    GroupSettings,
    RescueSettings,
    ShadowEvaluationSettings,
    SloSettings,
    Target,
    Weights,
)
from slo_router.contract.settings.tasks.categorizer import Trained
from slo_router.contract.settings.tasks.own import Condition, OwnCategory

PAGE = Path(__file__).with_name("configuration.md")


class Section(NamedTuple):
    """A model, its path in the YAML, and the text above its table."""

    path: str
    model: type[BaseModel]
    text: str


SECTIONS = (
    Section(
        "callback_settings.slo_router",
        PluginSettings,
        "What the whole plugin does. Without this section the proxy does not start with the plugin in its callbacks.",
    ),
    Section(
        "callback_settings.slo_router.groups.NAME",
        GroupSettings,
        "How one group is routed. NAME is a `model_name` of `model_list`. LiteLLM routes groups that are not listed.",
    ),
    Section(
        "callback_settings.slo_router.groups.NAME.mode",
        Canary,
        "A mapping instead of a word: the plugin routes a part of the traffic. For the rest it only records decisions.",
    ),
    Section(
        "callback_settings.slo_router.groups.NAME.slo",
        SloSettings,
        "The SLO of requests that set none, field by field. A field that is absent limits nothing.",
    ),
    Section(
        "callback_settings.slo_router.groups.NAME.weights",
        Weights,
        "Only with `objective: weighted`. Only the ratios of the three matter.",
    ),
    Section(
        "callback_settings.slo_router.groups.NAME.target",
        Target,
        "Needed with `objective: value`, and only there: one of the two, see [value](value.md).",
    ),
    Section(
        "callback_settings.slo_router.groups.NAME.categorizer",
        Trained,
        "A mapping instead of a word: a classifier of your own tasks, see [tasks](tasks.md).",
    ),
    Section(
        "callback_settings.slo_router.groups.NAME.categories.CATEGORY",
        OwnCategory,
        "A task of your own, see [tasks](tasks.md), or more words for one that is built in. A list in its place is its "
        "words.",
    ),
    Section(
        "callback_settings.slo_router.groups.NAME.categories.CATEGORY.when",
        Condition,
        "All that must hold of a request, so that it is of the category. `*` stands for any name. Conditions come "
        "before all text, in the order of the file; `x-slo-category` comes before them.",
    ),
    Section(
        "callback_settings.slo_router.groups.NAME.rescue",
        RescueSettings,
        "What becomes of a request that its deployment lets wait, see [rescue](rescue.md). With `rescue: off` "
        "nothing is done: LiteLLM's own timeouts end such an attempt.",
    ),
    Section(
        "callback_settings.slo_router.groups.NAME.shadow_evaluation",
        ShadowEvaluationSettings,
        "Compares answers with those of another deployment to the same prompts, after they went out, see [shadow "
        "evaluation](shadow-evaluation.md).",
    ),
    Section("callback_settings.slo_router.log", LogSettings, "Where the record of each request goes."),
    Section(
        "callback_settings.slo_router.metrics",
        MetricSettings,
        "Attainment and spend by team and key in LiteLLM's `/metrics`. LiteLLM's callbacks must include `prometheus`.",
    ),
    Section(
        "model_list[*].model_info.slo_router",
        ModelFacts,
        "Facts for which LiteLLM has no field. Measurements are kept under `model_info.id`. Without an id, LiteLLM's "
        "generated one is used until a parameter or a key changes. `slo-router check` proposes a readable id.",
    ),
)

WORDS: Mapping[str, str] = {
    "PluginSettings.redis_url": "a URL, see [operations](operations.md#redis), or `embedded`: one Valkey per host, "
    "started on demand. `os.environ/NAME` reads a variable. Absent: LiteLLM's own Redis, however it is configured "
    "([operations](operations.md#redis)), else this process's memory",
    "PluginSettings.key_prefix": "goes before every Redis key, for several proxies on one server",
    "PluginSettings.refresh_interval_s": "how often a worker reads Redis and writes to it; requests never wait for it",
    "PluginSettings.groups": "the groups to route, by name",
    "PluginSettings.log": "see below",
    "PluginSettings.metrics": "see below",
    "GroupSettings.slo": "see below",
    "GroupSettings.objective": "among the deployments that meet the SLO: lowest cost, highest weighted score, or the "
    "most quality for its price ([value](value.md))",
    "GroupSettings.confidence": "the probability with which a deployment must keep the SLO, where live traffic can "
    f"tell; one of {', '.join(map(str, CONFIDENCES))}",
    "GroupSettings.weights": "see below",
    "GroupSettings.target": "see below",
    "GroupSettings.categorizer": "how the category is told from the text; `article` is the heuristic by length, kept "
    "for comparison; or a trained classifier, see below",
    "GroupSettings.shadow_evaluation": "see below; absent: no answer is compared",
    "GroupSettings.rescue": "see below; `off`: no rescue",
    "Weights.quality": "weight of the expected quality",
    "Weights.cost": "weight of the expected cost",
    "Weights.latency": "weight of the predicted latency",
    "LogSettings.jsonl_max_mb": "size at which the file is rotated, MiB",
    "LogSettings.jsonl_backups": "rotated files that are kept",
    "ModelFacts.quality": "one number, or one per category and `default` for the rest; measured or estimated",
    "ModelFacts.gpu_usd_per_hour": "self-hosted: USD per hour of all its GPUs; the agent makes USD per token of it, at "
    "the throughput that it measures",
    "ModelFacts.metrics_url": "vLLM's `/metrics`: tells its running and waiting requests, also those of other clients",
}

HEAD = """# Configuration

<!-- Generated by `python -m docs.generate_configuration`. Change the models or that script, not this page. -->

All settings are in LiteLLM's own YAML. `litellm_config.yaml` at the repository's root shows every option in its place.
An unknown key, a wrong type or a value out of range stops the start, with the YAML path, the value and what was
expected. `slo-router check FILE` reports the same and starts no proxy.

Prices, context windows and abilities are LiteLLM's fields (`input_cost_per_token`, `output_cost_per_token`,
`max_input_tokens`, `max_output_tokens`, `supports_function_calling`, `supports_vision`, `supports_response_schema`,
`supports_audio_input`). `litellm_params` wins over `model_info`, which wins over LiteLLM's price map. A missing price
is unknown, not zero. So are prices that are all 0 in the map. For a free model, set `input_cost_per_token: 0`
and `output_cost_per_token: 0`.

The expected cost of a request is what LiteLLM will bill. The plugin asks LiteLLM's own calculator when it reads a
deployment, and every ten minutes. So `base_model`, the service tier, steps such as
`input_cost_per_token_above_200k_tokens`, cached tokens, discounts and margins count as in LiteLLM's spend logs. Where
the calculator has no answer, YAML and price map count. So they do for the commands, which do not load LiteLLM: with
`cost_discount_config` and `cost_margin_config` of `litellm_settings`, but without what LiteLLM's database changes.

The same model may be listed twice, each with its own `id`, and one with `service_tier: flex` (or `priority`) in
`litellm_params`. Then it is two candidates, each with its own price and its own latency. A request that can wait gets
the cheap one; a request that cannot gets the fast one. A request that names a tier goes to a deployment with that tier:
one that sets it, or one that sets none and whose model has a price for it. `auto` and `default` go to deployments that
set no tier. `slo-router check` shows the prices, and reports a tier without a known price.
"""


def render() -> str:
    """The whole page."""
    return HEAD + "".join(_section(section) for section in SECTIONS)


def _section(section: Section) -> str:
    rows = "".join(
        f"| `{name}` | {kind} | {default} | {words} |\n" for name, kind, default, words in _rows(section.model)
    )
    return f"\n## `{section.path}`\n\n{section.text}\n\n| option | value | default | |\n|---|---|---|---|\n{rows}"


def _rows(model: type[BaseModel]) -> Iterator[tuple[str, str, str, str]]:
    schema = model.model_json_schema()
    for name, field in model.model_fields.items():
        words = WORDS.get(f"{model.__name__}.{name}") or field.description
        if words is None:
            raise LookupError(f"{model.__name__}.{name}: no description, expected one on the field or in WORDS")
        default = "required" if field.is_required() else _default(field.default)
        yield name, _kind(schema["properties"][name]), default, words


def _default(value: object) -> str:
    if value in (None, {}, []) or isinstance(value, BaseModel):
        return ""
    return f"`{json.dumps(value)}`"


def _kind(schema: Mapping[str, object]) -> str:
    """The accepted values of a field, in words, from its JSON schema."""
    choices = schema.get("anyOf")
    if isinstance(choices, list):
        return _kind(next(choice for choice in choices if choice != {"type": "null"}))
    options = schema.get("enum")
    if isinstance(options, list):
        return " or ".join(f"`{option}`" for option in options)
    kind = schema.get("type", "object")
    if kind == "array":
        return "list"
    names = {"number": "number", "integer": "whole number", "string": "text", "boolean": "`true` or `false`"}
    if kind == "object":
        values = schema.get("additionalProperties")
        is_quality = isinstance(values, Mapping) and values.get("type") == "number"
        return "number 0 to 1, or a mapping of them" if is_quality else "mapping"
    return names[str(kind)] + _bounds(schema)


def _bounds(schema: Mapping[str, object]) -> str:
    low = schema.get("minimum")
    low_text = f" from {low:g}" if isinstance(low, int | float) else ""
    above = schema.get("exclusiveMinimum")
    if isinstance(above, int | float):
        low_text = f" above {above:g}"
    high = schema.get("maximum")
    return low_text + (f" to {high:g}" if isinstance(high, int | float) else "")


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
