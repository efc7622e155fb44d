"""What starts and is probably not meant is said, by `slo-router check` and in the proxy's log."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from slo_bench.cli import app as bench
from slo_router.contract.settings.config import parse_settings
from slo_router.operator.cli import app

RUNNER = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"})
CALLBACK = "slo_router.proxy.callback"
LOADED = {"callbacks": [CALLBACK]}
GROUPS = "callback_settings.slo_router.groups"


def entry(name: str = "smart", model: str = "openai/org/Gpt_X", **info: object) -> dict[str, object]:
    return {"model_name": name, "litellm_params": {"model": model}, **({"model_info": info} if info else {})}


def notes(group: str = "smart", **sections: object) -> list[str]:
    document = {
        "model_list": [entry(id="a")],
        "litellm_settings": LOADED,
        "callback_settings": {"slo_router": {"groups": {group: {}}}},
        **sections,
    }
    return list(parse_settings(document, {}).notes)


@pytest.mark.parametrize(
    ("sections", "why"),
    [
        ({"router_settings": {"num_retries": 0}}, "router_settings.num_retries is 0, so nobody is given up"),
        ({"litellm_settings": LOADED | {"num_retries": 0}}, "litellm_settings.num_retries is 0, so nobody is given up"),
        ({"router_settings": {"num_retries": "0"}}, "router_settings.num_retries is 0, so nobody is given up"),
        (
            {"router_settings": {"retry_policy": {"TimeoutErrorRetries": 0}}},
            "router_settings.retry_policy.TimeoutErrorRetries is 0, so nobody is given up",
        ),
        (
            {"router_settings": {"model_group_retry_policy": {"smart": {"TimeoutErrorRetries": 0}}}},
            "router_settings.model_group_retry_policy.smart.TimeoutErrorRetries is 0, so nobody is given up",
        ),
        ({}, None),
        (
            {
                "router_settings": {
                    "retry_policy": {"TimeoutErrorRetries": 0},
                    "model_group_retry_policy": {"smart": {"TimeoutErrorRetries": 1}},
                }
            },
            None,
        ),
        ({"router_settings": {"num_retries": 1}}, None),
    ],
)
def test_where_rescue_can_do_nothing_that_is_said(sections: dict[str, object], why: str | None) -> None:
    asked: dict[str, Any] = {"callback_settings": {"slo_router": {"groups": {"smart": {"rescue": {}}}}}}
    assert notes(**{**asked, **sections}) == ([] if why is None else [f"{GROUPS}.smart.rescue: {why}"])
    off: dict[str, Any] = {"callback_settings": {"slo_router": {"groups": {"smart": {"rescue": "off"}}}}}
    assert notes(**{**off, **sections}) == []


def test_rescue_needs_what_live_traffic_tells() -> None:
    asked = {"slo_router": {"groups": {"smart": {"rescue": {}}}, "live_measurements": False}}
    why = f"{GROUPS}.smart.rescue: it needs live_measurements, which are off: nobody is given up"
    assert notes(callback_settings=asked) == [why]


@pytest.mark.parametrize("callbacks", [CALLBACK, [CALLBACK], ["prometheus", CALLBACK], ("my.own", CALLBACK)])
def test_every_form_of_the_callback_list_loads_the_plugin(callbacks: object) -> None:
    listed = list(callbacks) if isinstance(callbacks, tuple) else callbacks
    assert notes(litellm_settings={"callbacks": listed}) == []


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({}, "is missing"),
        (None, "is missing"),
        ({"callbacks": ["prometheus"]}, "is missing"),
        (
            {"success_callback": [CALLBACK]},
            "stands under litellm_settings.success_callback only, which is asked nothing",
        ),
    ],
)
def test_a_plugin_that_is_configured_and_not_loaded_is_said(settings: object, why: str) -> None:
    (note,) = notes(litellm_settings=settings)
    assert note.startswith(f"litellm_settings.callbacks: {CALLBACK} {why}")
    assert note.endswith(f'so the plugin is not loaded; add callbacks: ["{CALLBACK}"]')


def test_a_group_that_cannot_be_routed_is_said() -> None:
    wild = [entry("openai/*", "openai/*"), entry(id="a")]
    assert notes("openai/*", model_list=wild) == [
        f"{GROUPS}.openai/*: a wildcard, which the plugin does not route; name a group of your own",
    ]
    assert notes("openai/gpt-x", model_list=wild) == [
        f"{GROUPS}.openai/gpt-x: only a wildcard of model_list serves it, so LiteLLM alone routes it"
    ]
    aliases = {"model_group_alias": {"fast": "smart", "quick": {"model": "smart", "hidden": True}}}
    for alias in ("fast", "quick"):
        assert notes(alias, router_settings=aliases) == [
            f"{GROUPS}.{alias}: an alias in router_settings.model_group_alias; name the group behind it"
        ]


def test_a_group_that_hands_its_requests_on_is_said_not_to_be_routed() -> None:
    routing = {"routing_groups": [{"group_name": "all", "models": ["smart"], "routing_strategy": "least-busy"}]}
    assert notes("all", router_settings=routing) == [
        f"{GROUPS}.all: a routing group of router_settings.routing_groups, which LiteLLM routes; name those in it"
    ]
    listed = [entry(id="a"), entry("auto", "auto_router/complexity_router", id="b")]
    assert notes("auto", model_list=listed) == [
        f"{GROUPS}.auto: an auto router, which has other groups answer; name those"
    ]
    shadowed = {"model_group_alias": {"smart": "plain"}}  # LiteLLM asks the aliases first
    assert notes(router_settings=shadowed) == [
        f"{GROUPS}.smart: an alias in router_settings.model_group_alias; name the group behind it"
    ]
    assert not notes(router_settings=routing)


def test_a_fallback_that_leaves_the_managed_groups_is_said() -> None:
    (note,) = notes(router_settings={"fallbacks": [{"smart": ["plain", "smart"]}, {"plain": ["smart"]}]})
    assert note.startswith("router_settings.fallbacks: smart falls back to plain, which the plugin does not route")


@pytest.mark.parametrize(
    "chains",
    [
        {"fallbacks": [{"*": ["plain"]}]},
        {"default_fallbacks": ["plain"]},
        {"fallbacks": [{"smart": [{"model": "plain", "temperature": 0}]}]},
        {"context_window_fallbacks": [{"smart": ["plain"]}], "default_fallbacks": ["smart"]},
    ],
)
def test_every_form_of_a_fallback_is_said(chains: dict[str, object]) -> None:
    (note,) = notes(litellm_settings={"callbacks": [CALLBACK], **chains})
    assert note.startswith(f"litellm_settings.{next(iter(chains))}: smart falls back to plain, which the plugin")


def test_what_every_group_falls_back_to_is_not_said_of_one_with_a_chain_of_its_own() -> None:
    assert not notes(router_settings={"fallbacks": [{"*": ["plain"]}, {"smart": ["smart"]}]})


def test_facts_that_stand_where_litellm_sends_them_to_the_provider_are_said() -> None:
    listed = entry(id="a")
    listed["litellm_params"] = {"model": "openai/x", "slo_router": {"quality": 0.9}}
    (note,) = notes(model_list=[listed])
    assert note.startswith("model_list[0].litellm_params.slo_router: is not read, and LiteLLM sends it to the provider")


def test_an_id_that_another_group_has_too_is_said() -> None:
    listed = [entry(id="a"), entry("plain", "openai/other", id="a"), entry("plain", id="b"), entry("plain")]
    (said,) = (note for note in notes(model_list=listed) if "model_info.id" in note)
    assert said == (
        "model_list[0].model_info.id: 'a' is model_list[1]'s, too, and LiteLLM tells one price for an id, so decisions "
        "may count the other's"
    )


def test_a_deployment_that_makes_no_text_is_said() -> None:
    listed = [entry(id="a"), {**entry(id="b"), "model_info": {"id": "b", "mode": "embedding"}}]
    assert notes(model_list=listed) == [
        "model_list[1]: b has mode embedding, so no chat goes there while another can answer"
    ]


@pytest.mark.parametrize(
    "path", ["litellm_params.max_parallel_requests", "litellm_params.weight", "model_info.tpm", "rpm"]
)
def test_a_number_that_stays_text_and_breaks_litellm_is_said(path: str) -> None:
    listed: list[Any] = [entry(id="a"), entry("plain", id="b")]
    for one in listed:
        *section, name = path.split(".")
        (one[section[0]] if section else one)[name] = "5"
    (note,) = notes(model_list=listed)
    assert note.startswith(f"model_list[0].{path}: text, from a variable or in quotes, and LiteLLM fails over it")
    (note,) = notes(router_settings={"default_max_parallel_requests": "5", "num_retries": "2", "timeout": "60"})
    assert note.startswith("router_settings.default_max_parallel_requests: text")


def test_a_number_of_which_litellm_makes_one_is_not_said() -> None:
    listed: list[Any] = [entry(id="a", max_input_tokens="8000", max_parallel_requests="5")]
    listed[0]["litellm_params"] |= {"rpm": "5", "tpm": "5", "timeout": "60", "order": "1", "max_retries": "1"}
    assert not notes(model_list=listed)


@pytest.mark.parametrize("hope", ["", ", unless LiteLLM's database has it"])
def test_a_credential_that_nobody_has_is_said(hope: str) -> None:
    listed: list[Any] = [entry(id="a"), entry(id="b")]
    for one, name in zip(listed, ("known", "gone"), strict=True):
        one["litellm_params"]["litellm_credential_name"] = name
    known = [{"credential_name": "known", "credential_values": {"api_key": "sk-x"}}]
    (note,) = notes(model_list=listed, credential_list=known, general_settings={"store_model_in_db": bool(hope)})
    assert note == (
        "model_list[1].litellm_params.litellm_credential_name: 'gone' is not in credential_list, so LiteLLM sends what "
        f"stands in litellm_params alone{hope}"
    )


def test_a_readable_id_is_proposed_for_each_deployment_without_one() -> None:
    listed = [entry(), entry(model="azure/gpt-x"), entry(id="gpt-x-2"), entry(model="bedrock/us.x-v1:0[1m]")]
    (note,) = notes(model_list=listed)
    for path, proposed in (("[0] Gpt_X~", "gpt-x)"), ("[1] gpt-x~", "gpt-x-3)"), ("[3] us.x-v1", "us.x-v1-0-1m)")):
        assert f"model_list{path}" in note
        assert f"(say {proposed}" in note


def test_a_tier_without_a_price_of_its_own_is_said_and_its_name_proposed(tmp_path: Path) -> None:
    priced = {"model": "openai/gpt-x", "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
    flex = {**priced, "service_tier": "flex"}
    listed = [{"model_name": "smart", "litellm_params": params} for params in (priced, flex)]
    said = notes(model_list=listed)
    assert "(say gpt-x-flex)" in said[0]
    why = "so it counts at the standard one; say input_cost_per_token_flex and output_…"
    assert said[1:] == [f"model_list[1].litellm_params.service_tier: no price of flex is known for openai/gpt-x, {why}"]
    flex |= {"input_cost_per_token_flex": 5e-7, "output_cost_per_token_flex": 1e-6}
    assert len(notes(model_list=listed)) == 1
    written = {
        "model_list": listed,
        "litellm_settings": LOADED,
        "callback_settings": {"slo_router": {"groups": {"smart": {}}}},
    }
    (tmp_path / "c.yaml").write_text(json.dumps(written))
    shown = RUNNER.invoke(app, ["check", "--offline", str(tmp_path / "c.yaml")])
    assert "$0.5 in, $1 out per 1M tokens, service tier flex" in " ".join(shown.stdout.split())


TWICE = """
litellm_settings: {callbacks: [slo_router.proxy.callback]}
model_list: [{model_name: smart, litellm_params: {model: openai/gpt-x, api_key: os.environ/SLO_TEST_NOT_SET}}]
callback_settings: {slo_router: {redis_url: "redis://127.0.0.1:1/0", groups: {smart: {}}}}
litellm_settings: {drop_params: true}
"""


def test_check_says_everything_at_once(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(TWICE)
    shown = RUNNER.invoke(app, ["check", str(tmp_path / "c.yaml"), "--offline", "--json"])
    assert shown.exit_code == 1, shown.output
    found = json.loads(shown.stdout)
    twice, loading, ids, unset = found["configuration"]
    assert found["broken"] == [twice, loading]
    assert twice == "c.yaml: litellm_settings stands twice, in lines 2 and 5: only the last counts"
    assert loading.startswith("litellm_settings.callbacks: slo_router.proxy.callback is missing")
    assert ids.startswith("model_info.id: without one")
    assert unset.startswith("model_list[0]: its generated id depends on SLO_TEST_NOT_SET, not set here")
    (one,) = found["deployments"]
    assert (len(one["deployment"]), one["proposed_id"]) == (64, "gpt-x")
    table = RUNNER.invoke(app, ["check", str(tmp_path / "c.yaml"), "--offline"]).stdout
    assert f"gpt-x~{one['deployment'][:8]}" in table
    assert f"✗ {twice}" in table
    assert f"· {unset}" in table


SMART = "[{model_name: smart, litellm_params: {model: openai/gpt-x}}]"
LOADING = "litellm_settings: {callbacks: [slo_router.proxy.callback]}"


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ("", 0),  # a deployment without an id of its own
        ("router_settings: {fallbacks: [{smart: [plain]}]}", 0),
        ("litellm_settings: {callbacks: [prometheus]}", 1),  # stands twice, and lacks the plugin
        ("litellm_settings: {callbacks: [slo_router.proxy.callback]}", 1),  # stands twice
        ("include: [more.yaml]", 1),  # overwrites the callbacks
        ("callback_settings: {slo_router: {groups: {smart: {}, 'openai/*': {}}}}", 1),
        ("router_settings: {routing_strategy: simple-shuffle}", 0),
    ],
)
def test_check_fails_where_the_plugin_does_not_do_what_the_file_says(tmp_path: Path, changed: str, status: int) -> None:
    own = "" if changed.startswith("callback_settings") else "callback_settings: {slo_router: {groups: {smart: {}}}}"
    (tmp_path / "more.yaml").write_text("litellm_settings: {drop_params: true}")
    (tmp_path / "c.yaml").write_text(f"model_list: {SMART}\n{LOADING}\n{own}\n{changed}\n")
    done = RUNNER.invoke(app, ["check", str(tmp_path / "c.yaml"), "--offline"])
    assert (done.exit_code, "✗" in done.stdout) == (status, status == 1), done.output


def test_check_says_what_is_twice_with_what_it_broke(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(TWICE + "callback_settings: {}\n")
    done = RUNNER.invoke(app, ["check", str(tmp_path / "c.yaml"), "--offline"])
    assert done.exit_code == 1
    assert "callback_settings.slo_router: None, expected a mapping with at least `groups`" in done.stderr
    assert "c.yaml: callback_settings stands twice, in lines 4 and 6: only the last counts" in done.stderr


def test_the_agent_sees_what_the_proxy_includes_and_says_which_variable_an_id_lacks(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(TWICE.splitlines()[2])
    text = "\n".join(line for line in TWICE.splitlines() if not line.startswith("model_list"))
    (tmp_path / "c.yaml").write_text(f"include: [models.yaml]\n{text}")
    done = RUNNER.invoke(bench, ["run", "--config", str(tmp_path / "c.yaml"), "--dry-run", "--json"])
    assert "its generated id depends on SLO_TEST_NOT_SET, not set here" in done.stderr
    assert re.search('"[0-9a-f]{64}"', done.stdout) is not None
