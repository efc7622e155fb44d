"""What is used of LiteLLM is there, is not announced as deprecated, and where it is missing LiteLLM routes by itself.

`make test-lowest` and `make test-newest` run these on the other versions.
"""

from __future__ import annotations

import os
import random
import sys
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import HTTPException
from prometheus_client import CollectorRegistry

from slo_router.contract.record import RequestRecord
from slo_router.contract.settings.config import parse_settings
from slo_router.request.history import is_signed, may_be_signed
from slo_router.request.slo import cost_ceiling
from tests.shared.request_bodies import random_body

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # no download of the price map
os.environ.setdefault("LITELLM_MODE", "PRODUCTION")  # no .env file of whoever runs this
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # LiteLLM's own
    import litellm
    from litellm.integrations.custom_logger import CustomLogger
    from litellm.proxy import proxy_server
    from litellm.proxy._types import UserAPIKeyAuth
    from litellm.router import Router
    from litellm.router_utils import cooldown_handlers

    from slo_router.gateway import ends, faults, narrowing, pools, requests, seams
    from slo_router.gateway.config import redis_url
    from slo_router.gateway.hooks import Plugin
    from slo_router.gateway.rescue.alarm import give_up
    from slo_router.gateway.router import Deployment, deployment_id
    from slo_router.worker.attempt import Attempt
    from slo_router.worker.trace import find_trace

LITELLM = tuple(int(number) for number in seams.version().split(".")[:2])
MESSAGES = [{"role": "user", "content": "Summarize: the cat sat on the mat."}]


def model_list(**params: object) -> list[dict[str, object]]:
    return [
        {
            "model_name": "smart",
            "litellm_params": {"model": f"openai/{name}", "api_key": "none", "mock_response": "Hi.", **params},
            "model_info": {"id": name},
        }
        for name in ("small", "large")
    ]


@pytest.fixture(autouse=True)
def callbacks() -> Iterator[list[object]]:
    """LiteLLM's callbacks, empty and put back afterwards; the same for the proxy's router."""
    before, router = litellm.callbacks, proxy_server.llm_router
    litellm.callbacks = []
    yield litellm.callbacks
    litellm.callbacks, proxy_server.llm_router = before, router


def plugin(registry: CollectorRegistry | None = None) -> Plugin:
    groups = {"smart": {"min_quality": 0}}
    document = {"model_list": model_list(), "callback_settings": {"slo_router": {"groups": groups}}}
    return Plugin(parse_settings(document, {}), registry)


async def arrive(made: Plugin, **more: object) -> dict[str, object]:
    data: dict[str, object] = {"model": "smart", "messages": MESSAGES, "metadata": {}, **more}
    await made.async_pre_call_hook(UserAPIKeyAuth(), None, data, "acompletion")
    return data


async def pick(router: Any, request: dict[str, object]) -> str:
    newer = hasattr(router, "select")
    select = router.select if newer else router.async_get_available_deployment
    return deployment_id(await select("smart", request_kwargs=request, messages=request.get("messages", MESSAGES)))


# --- the table of names


@pytest.mark.parametrize("seam", seams.SEAMS, ids=lambda seam: seam.what)
def test_each_name_that_is_used_is_there_and_not_deprecated(seam: seams.Seam) -> None:
    router = Router(model_list=model_list())
    owner = router if seam.owner is Router else seam.owner
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        name = next(name for name in seam.names if hasattr(owner, name))  # the first is the one that is used
        assert getattr(owner, name, "") != ""


async def test_a_whole_request_uses_nothing_that_litellm_announces_as_deprecated(callbacks: list[object]) -> None:
    router = proxy_server.llm_router = Router(model_list=model_list(), enable_pre_call_checks=True)
    made = plugin()
    callbacks.append(made)
    uses = getattr(sys.modules.get("litellm.router_deprecated"), "DEPRECATED_ROUTER_MEMBER_USES", {})
    before = dict(uses)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Router", category=DeprecationWarning)
        made.take_over()
        data = await arrive(made)
        answer = await router.acompletion(**data)
        await made.async_post_call_response_headers_hook(data, UserAPIKeyAuth(), answer)
        redis_url()
    assert dict(uses) == before
    assert made.picker.fail_open_count == 0


@pytest.mark.parametrize(
    ("version", "is_newer"), [("1.100.5", False), ("1.110.9", False), ("1.111.0", True), ("2.0.0", True)]
)
def test_a_version_above_the_newest_that_was_tested_is_named_at_the_start(
    version: str, is_newer: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "slo_router")
    newer = f"LiteLLM {version} is newer than {seams.NEWEST_TESTED}.x, the newest tested"
    monkeypatch.setattr(seams, "version", lambda: version)
    proxy_server.llm_router = Router(model_list=model_list())
    plugin().take_over()
    assert f"routing smart on LiteLLM {version}" in caplog.text
    assert (newer in caplog.text) == (newer in seams.untried()) == is_newer
    assert seams.shortcomings() == []


def test_where_litellm_takes_a_broken_stream_for_an_answer_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """As 1.100.5 does, see tests/e2e/test_rescue_broken.py."""
    says = "any stream that simply ends, for an answer: no other deployment is asked"
    assert (says in " ".join(seams.untried())) == (LITELLM < (1, 108))
    monkeypatch.delattr(litellm.router, "FallbackAwareStreamWrapper", raising=False)
    monkeypatch.setattr(seams, "Router", object)
    assert says in " ".join(seams.untried())


def test_where_litellm_counts_an_attempt_that_was_given_up_for_its_cooldown_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert ("allowed_fails: 0" in " ".join(seams.untried())) == (LITELLM < (1, 108))
    monkeypatch.delattr(cooldown_handlers, "is_caller_timeout_408", raising=False)
    assert "allowed_fails: 0" in " ".join(seams.untried())


async def test_a_litellm_that_lacks_a_seam_routes_by_itself_and_log_header_and_metric_say_why(
    callbacks: list[object], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    missing = seams.Seam("the healthy pool of a group", Router, ("choose_from_pool",))
    monkeypatch.setattr(seams, "SEAMS", (missing,))
    router = proxy_server.llm_router = Router(model_list=model_list())
    registry = CollectorRegistry()
    made = plugin(registry)
    callbacks.append(made)
    list(made._tick())
    list(made._tick())
    data = await arrive(made)
    picked = await pick(router, data)
    named: dict[str, object] = {"model_id": picked}
    headers = await made.async_post_call_response_headers_hook(data, UserAPIKeyAuth(), object(), None, named)

    reason = f"LiteLLM {seams.version()} is not supported; it chose by itself"
    assert headers == {"x-slo-decision": "passthrough", "x-slo-reason": reason, "x-slo-selected-model": picked}
    said = "lacks the healthy pool of a group (choose_from_pool): LiteLLM alone routes smart"
    assert caplog.text.count(said) == 1
    assert registry.get_sample_value("slo_router_out_of_action") == 1


# --- the pick


def test_a_plugin_that_is_taken_out_of_the_callbacks_says_so_and_counts_as_out_of_action(
    callbacks: list[object], caplog: pytest.LogCaptureFixture
) -> None:
    """As whoever sets `litellm.callbacks` anew does."""
    proxy_server.llm_router, registry = Router(model_list=model_list()), CollectorRegistry()
    made = plugin(registry)
    list(made._tick())  # LiteLLM makes it before it lists it
    callbacks.append(made)
    for listed, out in (([made], 0), ([], 1), ([], 1), ([made], 0)):
        litellm.callbacks = listed
        list(made._tick())
        list(made._tick())
        assert registry.get_sample_value("slo_router_out_of_action") == out
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        "the plugin was taken out of litellm.callbacks: LiteLLM alone routes"
    ]


async def test_what_litellm_picks_without_asking_is_said_and_counted() -> None:
    """As `usage-based-routing` does up to 1.108, and any way that is added later."""
    proxy_server.llm_router = Router(model_list=model_list())
    registry = CollectorRegistry()
    made = plugin(registry)
    made.take_over()
    data = await arrive(made)
    for _ in range(2):  # LiteLLM may tell of an attempt twice
        await made.async_pre_call_deployment_hook({**data, "model_info": {"id": "large"}}, "acompletion")
    headers = await made.async_post_call_response_headers_hook(data, UserAPIKeyAuth(), object())
    list(made._tick())
    assert headers is not None
    assert headers["x-slo-reason"] == "LiteLLM picked without asking this plugin"
    assert headers["x-slo-selected-model"] == "large"
    assert registry.get_sample_value("slo_router_unasked_total") == 1


async def test_a_pool_that_is_refused_to_us_alone_is_a_failure_of_ours(
    callbacks: list[object], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(*_: object) -> list[object]:
        raise TypeError("select() takes no `kind`")

    monkeypatch.setattr(pools, "healthy_pool", refuse)
    router = proxy_server.llm_router = Router(model_list=model_list(order=1))
    made = plugin()
    callbacks.append(made)
    made.take_over()
    data = await arrive(made)
    answer = await router.acompletion(**data)
    headers = await made.async_post_call_response_headers_hook(data, UserAPIKeyAuth(), answer)
    assert made.picker.fail_open_count == 1
    assert headers is not None
    assert headers["x-slo-reason"] == "the decision failed; LiteLLM chose"
    assert "select() takes no `kind`" in caplog.text


@pytest.mark.parametrize(
    ("region", "chosen", "looks"), [(None, "small", ["small"]), ("eu", "large", ["small", "small", "large"])]
)
async def test_pre_call_checks_look_at_the_chosen_alone_and_at_all_where_it_does_not_pass(
    region: str | None, chosen: str, looks: list[str], callbacks: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look takes half a millisecond."""
    entries = model_list(input_cost_per_token=1e-6, output_cost_per_token=1e-6)
    for entry, place in zip(entries, ("us", "eu"), strict=True):
        entry["litellm_params"] |= {"region_name": place}  # type: ignore[operator]
    entries[1]["litellm_params"]["input_cost_per_token"] = 2e-6  # type: ignore[index]
    router = proxy_server.llm_router = Router(model_list=entries, enable_pre_call_checks=True)
    made = plugin()
    callbacks.append(made)
    made.take_over()
    seen: list[str] = []
    answers = pools.answer_to_us

    def look(deployments: list[Deployment]) -> list[Deployment] | None:
        kept = answers(deployments)
        seen.extend(map(deployment_id, kept or ()))
        return kept

    monkeypatch.setattr(pools, "answer_to_us", look)
    data = await arrive(made, **({"allowed_model_region": region} if region else {}))
    assert await pick(router, data) == chosen
    assert seen == looks
    assert made.picker.fail_open_count == 0


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}


@pytest.mark.parametrize(
    ("content", "counts"),
    [("x" * 900, 1), ("漢" * 200, 1), ("x" * 1_100, 2), ("漢" * 300, 2), ([IMAGE], 2)],
)
async def test_pre_call_checks_count_the_tokens_once_where_the_prompt_fits_whatever_they_are(
    content: object, counts: int, callbacks: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long prompt takes LiteLLM milliseconds."""
    counted: list[object] = []
    count = litellm.token_counter

    def counter(**arguments: Any) -> int:
        counted.append(arguments)
        return int(count(**arguments))

    monkeypatch.setattr(litellm, "token_counter", counter)
    entries = model_list(input_cost_per_token=1e-6, output_cost_per_token=1e-6)
    entries[1]["litellm_params"]["input_cost_per_token"] = 2e-6  # type: ignore[index]
    for entry in entries:
        entry["model_info"] |= {"max_input_tokens": 1_000, "max_output_tokens": 1_000, "supports_vision": True}  # type: ignore[operator]
    router = proxy_server.llm_router = Router(model_list=entries, enable_pre_call_checks=True)
    made = plugin()
    callbacks.append(made)
    made.take_over()
    data = await arrive(made, messages=[{"role": "user", "content": content}])
    assert await pick(router, data) == "small"
    assert len(counted) == counts
    assert made.picker.fail_open_count == 0


async def test_asking_for_the_pool_takes_nothing_out_of_the_request() -> None:
    """LiteLLM's own pick needs the keys that its failover leaves in the request."""
    router = proxy_server.llm_router = Router(model_list=model_list(order=1))
    keys = {"_target_order": 1, "_excluded_deployment_ids": ["small"], "_retry_skipped_deployment_ids": ("small",)}
    request = {"messages": MESSAGES, "metadata": {}, **keys}
    pool = await pools.healthy_pool(router, "smart", request, MESSAGES)
    assert [deployment_id(one) for one in pool] == ["large"]
    assert {name: request[name] for name in keys} == keys
    assert pools.answer_to_us([]) is None


async def test_what_is_not_routed_and_not_managed_is_not_touched_at_all() -> None:
    """A batch's metadata goes to the provider, as the client wrote it."""
    proxy_server.llm_router = Router(model_list=model_list())
    made = plugin()
    data: dict[str, object] = {"model": "other", "metadata": {"slo": "mine"}, "user_slo": 1}
    assert await made.async_pre_call_hook(UserAPIKeyAuth(), None, data, "acreate_batch") is None
    assert data == {"model": "other", "metadata": {"slo": "mine"}, "user_slo": 1}


async def test_a_malformed_wish_after_a_fallback_lifts_no_limit_of_the_key() -> None:
    router = proxy_server.llm_router = Router(model_list=model_list())
    made = plugin()
    litellm.callbacks.append(made)
    made.take_over()
    key = UserAPIKeyAuth(metadata={"slo_limits": {"cost_per_1k": {"max": 0.01}}})
    headers = {"headers": {"x-slo-ttft-ms": "soon"}}
    data: dict[str, object] = {"model": "other", "messages": MESSAGES, "metadata": {}, "proxy_server_request": headers}
    await made.async_pre_call_hook(key, None, data, "acompletion")
    await pick(router, data)
    trace = find_trace(data)
    assert trace is not None
    assert trace.ignored == ("x-slo-ttft-ms",)
    assert cost_ceiling(trace.asked) is not None


async def test_several_models_at_once_are_litellms_alone() -> None:
    """They run side by side with one metadata: what ends the one would be taken for the other's."""
    proxy_server.llm_router = Router(model_list=model_list())
    data = await arrive(plugin(), model="smart,other", user_slo={})
    assert find_trace(data) is None
    assert "user_slo" not in data


async def test_a_call_that_litellm_makes_after_the_answer_leaves_nothing_in_flight() -> None:
    proxy_server.llm_router = Router(model_list=model_list())
    made = plugin()
    made.take_over()
    data = await arrive(made)
    event: dict[str, object] = {"litellm_params": data, "standard_logging_object": payload("success", "small")}
    for _ in range(2):
        await made.async_pre_call_deployment_hook({**data, "model_info": {"id": "small"}}, "acompletion")
        await made.async_log_success_event(event, None, None, None)
    assert made.strategy.live.in_flight("small") == 0
    assert len(await recorded(made)) == 1


# --- a stream that breaks


def payload(status: str, deployment: str) -> dict[str, object]:
    now_s = time.time()
    times = {"startTime": now_s - 1, "completionStartTime": now_s - 0.9, "endTime": now_s}
    tokens = {"prompt_tokens": 10, "completion_tokens": 20, "response_cost": 0.002}
    return {"id": "r1", "status": status, "model_id": deployment, "stream": True, **times, **tokens}


async def broken_stream(made: Plugin) -> dict[str, object]:
    """A stream of `small` that broke after its first words, as LiteLLM tells of it."""
    data = await arrive(made, stream=True)
    await made.async_pre_call_deployment_hook({**data, "model_info": {"id": "small"}}, "acompletion")
    async for _ in made.async_post_call_streaming_iterator_hook(UserAPIKeyAuth(), pieces(), data):
        pass
    event: dict[str, object] = {"litellm_params": data, "standard_logging_object": payload("failure", "small")}
    await made.async_log_failure_event(event, None, None, None)
    return data


async def pieces() -> AsyncIterator[object]:
    yield {"choices": [{"delta": {"role": "assistant"}}]}
    yield {"choices": [{"delta": {"content": "word"}}]}


async def no_word() -> AsyncIterator[object]:
    yield {"choices": [{"delta": {"role": "assistant"}}]}


async def recorded(made: Plugin) -> list[RequestRecord]:
    made.settle()
    return [RequestRecord.model_validate_json(line) for _, line in made.request_log._queue]


async def test_a_stream_that_goes_on_elsewhere_is_one_success_of_who_finished_it() -> None:
    proxy_server.llm_router = Router(model_list=model_list())
    made = plugin()
    made.take_over()
    data = await broken_stream(made)
    assert await recorded(made) == []
    await made.async_pre_call_deployment_hook({**data, "model_info": {"id": "large"}}, "acompletion")
    event: dict[str, object] = {"litellm_params": data, "standard_logging_object": payload("success", "large")}
    await made.async_log_success_event(event, None, None, None)
    (record,) = await recorded(made)
    assert (record.outcome, record.deployment, record.attempts) == ("success", "large", 2)
    assert (record.completion_tokens, record.cost_usd) == (20, 0.002)
    assert made.strategy.live.states["small"].circuit.failures == 1
    assert made.strategy.live.states["large"].circuit.failures == 0


async def test_a_stream_that_does_not_go_on_is_one_error_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy_server.llm_router = Router(model_list=model_list())
    made = plugin()
    made.take_over()
    await broken_stream(made)
    assert await recorded(made) == []
    monkeypatch.setattr(ends, "BROKEN_S", 0.0)
    (record,) = await recorded(made)
    assert (record.outcome, record.deployment, record.attempts) == ("error", "small", 1)
    assert record.ttft_ms is not None


async def given_up(made: Plugin) -> dict[str, object]:
    """A silent stream of `small` that was given up, and ends without a word while `large` is asked."""
    data = await arrive(made, stream=True)
    trace = find_trace(data)
    assert trace is not None
    await made.async_pre_call_deployment_hook({**data, "model_info": {"id": "small"}}, "acompletion")
    assert trace.attempt is not None
    give_up(made.strategy, trace, trace.attempt)
    await made.async_pre_call_deployment_hook({**data, "model_info": {"id": "large"}}, "acompletion")
    event: dict[str, object] = {"litellm_params": data, "standard_logging_object": payload("success", "small")}
    await made.async_log_success_event(event, None, None, None)
    assert await recorded(made) == []
    return data


async def test_a_stream_that_ends_once_it_was_given_up_is_not_what_the_client_got() -> None:
    proxy_server.llm_router = Router(model_list=model_list())
    made = plugin()
    made.take_over()
    data = await given_up(made)
    assert made.strategy.live.in_flight("large") == 1
    event: dict[str, object] = {"litellm_params": data, "standard_logging_object": payload("success", "large")}
    await made.async_log_success_event(event, None, None, None)
    (record,) = await recorded(made)
    assert (record.outcome, record.deployment, record.attempts) == ("success", "large", 2)


async def test_a_stream_that_ended_once_it_was_given_up_saves_no_request_that_failed() -> None:
    proxy_server.llm_router = Router(model_list=model_list())
    made = plugin()
    made.take_over()
    data = await given_up(made)
    await made.async_post_call_failure_hook(data, failure(500, "no"), UserAPIKeyAuth())
    (record,) = await recorded(made)
    assert (record.outcome, record.deployment, record.completion_tokens) == ("error", "large", None)


async def test_a_stream_that_ended_is_what_the_client_got_where_the_other_one_failed() -> None:
    proxy_server.llm_router = Router(model_list=model_list())
    made = plugin()
    made.take_over()
    data = await given_up(made)
    trace = find_trace(data)
    assert trace is not None
    made.strategy.finish(trace, "error")
    trace.begin(Attempt("small", is_sent=True))  # it is read on
    async for _ in made.async_post_call_streaming_iterator_hook(UserAPIKeyAuth(), no_word(), data):
        pass
    (record,) = await recorded(made)
    assert (record.outcome, record.deployment, record.completion_tokens) == ("success", "small", 20)


@pytest.mark.parametrize(("call_type", "records"), [("acompletion", 1), ("acreate_interaction", 0)])
async def test_a_stream_without_a_word_is_empty_only_where_words_are_known(
    call_type: str, records: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LiteLLM may tell of its success late."""
    proxy_server.llm_router = Router(model_list=model_list())
    made = plugin()
    made.take_over()
    data: dict[str, object] = {"model": "smart", "messages": MESSAGES, "metadata": {}, "stream": True}
    await made.async_pre_call_hook(UserAPIKeyAuth(), None, data, call_type)
    await made.async_pre_call_deployment_hook({**data, "model_info": {"id": "small"}}, call_type)
    async for _ in made.async_post_call_streaming_iterator_hook(UserAPIKeyAuth(), no_word(), data):
        pass
    monkeypatch.setattr(ends, "BROKEN_S", 0.0)
    assert [one.error_class for one in await recorded(made)] == ["EmptyStreamError"] * records


# --- a stream on its way to the client


async def test_a_stream_passes_as_it_came_and_its_first_token_is_seen_once() -> None:
    proxy_server.llm_router = Router(model_list=model_list())
    made = plugin()
    data = await arrive(made, stream=True)
    trace = find_trace(data)
    assert trace is not None
    passed = [one async for one in made.async_post_call_streaming_iterator_hook(UserAPIKeyAuth(), pieces(), data)]
    assert passed == [one async for one in pieces()]
    assert trace.first_token_s is not None
    assert trace.arrived_s <= trace.first_token_s <= time.time()
    assert not trace.awaits_token


def test_a_stream_of_an_unmanaged_group_is_not_touched() -> None:
    made, stream = plugin(), pieces()
    assert made.async_post_call_streaming_iterator_hook(UserAPIKeyAuth(), stream, {"metadata": {}}) is stream


async def test_an_answer_from_litellms_cache_has_no_first_token() -> None:
    proxy_server.llm_router = Router(model_list=model_list())
    made = plugin()
    data = await arrive(made, stream=True)
    data["litellm_logging_obj"] = SimpleNamespace(caching_details={"cache_hit": True})
    async for _ in made.async_post_call_streaming_iterator_hook(UserAPIKeyAuth(), pieces(), data):
        pass
    trace = find_trace(data)
    assert trace is not None
    assert (trace.first_token_s, trace.awaits_token) == (None, False)


@pytest.mark.parametrize("before_s", [0.2, None, "soon", -5.0, 3_600.0])
async def test_a_request_counts_from_when_the_proxy_had_it_unless_that_cannot_be(before_s: float | str | None) -> None:
    proxy_server.llm_router = Router(model_list=model_list())
    made, now_s = plugin(), time.time()
    at_s = now_s - before_s if isinstance(before_s, float) else before_s
    data = await arrive(made, proxy_server_request={"arrival_time": at_s})
    trace = find_trace(data)
    assert trace is not None
    assert trace.arrived_s == at_s if before_s == 0.2 else trace.arrived_s >= now_s


# --- where LiteLLM narrows the list after the plugin


@pytest.mark.parametrize(
    ("settings", "narrows"),
    [({}, False), ({"enable_pre_call_checks": True}, False), ({"enable_tag_filtering": True}, True)],
)
def test_a_setting_of_the_router_narrows_every_group(
    settings: dict[str, bool], narrows: bool, callbacks: list[object]
) -> None:
    made = plugin()
    callbacks.append(made)
    assert narrowing.narrows_all(Router(model_list=model_list(), **settings), made) == narrows


def test_a_callback_that_filters_narrows_where_it_comes_after_ours(callbacks: list[object]) -> None:
    class Filter(CustomLogger):  # type: ignore[misc]
        async def async_filter_deployments(self, *_: object, **__: object) -> list[object]:
            return []

    router, made = Router(model_list=model_list()), plugin()
    callbacks += [Filter(), CustomLogger(), made, CustomLogger(), "prometheus"]
    assert not narrowing.narrows_all(router, made)
    callbacks.append(Filter())
    assert narrowing.narrows_all(router, made)


@pytest.mark.parametrize(
    ("params", "info"),
    [
        ({"order": 1}, {}),
        ({}, {"enable_tag_filtering": True}),
        ({}, {"enforce_supported_endpoints": True, "supported_endpoints": ["/v1/responses"]}),
    ],
)
def test_what_a_deployment_says_narrows_its_group(params: dict[str, object], info: dict[str, object]) -> None:
    def entry(group: str, params: dict[str, object], info: dict[str, object]) -> dict[str, object]:
        return {"model_name": group, "litellm_params": params, "model_info": {"id": group, **info}}

    assert narrowing.narrowed_groups([entry("a", {}, {}), entry("b", params, info)]) == {"b"}


@pytest.mark.parametrize(
    ("request_", "messages", "narrows"),
    [
        ({}, MESSAGES, False),
        ({"input": "text"}, None, False),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, MESSAGES, False),
        ({"tools": [{"type": "web_search_preview"}]}, MESSAGES, True),
        ({"tools": [{"googleSearch": {}}]}, MESSAGES, True),
        ({"web_search_options": {}}, MESSAGES, True),
        ({}, [{"role": "user", "content": [{"type": "text", "text": "Hi."}]}], False),
        ({}, [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}], True),
        ({}, [{"role": "assistant", "content": None, "tool_calls": []}], False),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, None, True),
        ({"_target_order": 2}, MESSAGES, True),
        ({"_excluded_deployment_ids": ["a"]}, MESSAGES, True),
        ({"_retry_skipped_deployment_ids": ("a",)}, MESSAGES, True),
        ({"enable_tag_filtering": True}, MESSAGES, True),
        ({"metadata": {"_routing_plugin_candidate_models": []}}, MESSAGES, True),
        ({}, None, True),
    ],
)
def test_what_a_request_says_narrows_the_list(request_: dict[str, object], messages: object, narrows: bool) -> None:
    assert narrowing.narrows(request_, messages) == narrows


# --- whose fault


class ContentPolicyViolationError(Exception):
    """Named as LiteLLM's."""


@pytest.mark.parametrize(
    ("status", "message", "fault"),
    [
        (None, "", "deployment"),
        (500, "", "deployment"),
        (408, "", "deployment"),
        (429, "", "quota"),
        (429, "You exceeded your current quota, please check your plan and billing details.", "account"),
        (429, "Your team has either used all available credits or reached its monthly spending limit.", "account"),
        (429, "You exceeded your current quota, please check your plan. Please retry in 34.07s.", "quota"),  # Gemini
        (400, "messages: field required", "unclear"),
        (422, "", "unclear"),
        (413, "", "request"),
        (401, "", "account"),
        (402, "", "account"),
        (403, "", "unclear"),
        (404, "", "unclear"),
        (402, "You requested up to 64000 tokens, but can only afford 61586", "unclear"),
    ],
)
def test_whose_fault_a_failed_attempt_is(status: int | None, message: str, fault: str) -> None:
    assert faults.fault_of(failure(status, message), {"messages": MESSAGES}) == fault


OF_ACCOUNTS = {  # as providers say it; most of these are a 400 somewhere
    "Anthropic": "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade.",
    "Anthropic, limit": "You have reached your specified API usage limits. You will regain access on 2026-12-01.",
    "Anthropic, disabled": "This organization has been disabled.",
    "OpenAI, images": "Billing hard limit has been reached",
    "OpenAI, billing": "Your account is not active, please check your billing details on our website.",
    "OpenAI, model": "Project `p` does not have access to model `gpt-5`",
    "OpenAI, gone": "The model `gpt-4-32k` does not exist or you do not have access to it.",
    "xAI": "Incorrect API key provided: xa***. You can obtain an API key from https://console.x.ai.",
    "xAI, credits": "Your team has either used all available credits or reached its monthly spending limit.",
    "Gemini": "API key not valid. Please pass a valid API key.",
    "Gemini, key": "API key expired. Please renew the API key.",
    "Gemini, region": "User location is not supported for the API use.",
    "Vertex": "This API method requires billing to be enabled.",
    "Groq": "Organization has been restricted. Please reach out to support if you believe this was in error.",
    "DeepSeek": "Insufficient Balance",
    "OpenRouter": "Insufficient credits. Add more using https://openrouter.ai/settings/credits",
    "Fireworks": "Account a is suspended, possibly due to reaching the monthly spending limit",
    "Azure": "The API deployment for this resource does not exist.",
    "Bedrock": "The security token included in the request is expired",
}


@pytest.mark.parametrize("message", OF_ACCOUNTS.values(), ids=OF_ACCOUNTS)
def test_a_provider_that_speaks_of_the_account_is_believed_unless_it_may_quote_the_request(message: str) -> None:
    error = failure(400, f"litellm.BadRequestError: {message}")
    assert faults.fault_of(error, {"messages": MESSAGES}) == "account"
    assert faults.fault_of(error) == "unclear"  # what was asked is not known
    quoting: list[dict[str, object]] = [
        {"messages": [{"role": "user", "content": [{"type": "text", "text": f"Translate: {message}"}]}]},
        {"input": message.upper()},
        {"tools": [{"function": {"parameters": {message: {}}}}]},
        {"metadata": {"previous_models": [message]}, "system": message},
    ]
    for quoted in quoting:
        assert faults.fault_of(error, quoted) == "unclear"
    assert faults.fault_of(error, {"metadata": {"previous_models": [message]}}) == "account"  # another attempt's


def test_what_a_wrong_request_is_told_is_no_word_of_the_account() -> None:
    for message in (
        "Invalid 'temperature': decimal above maximum value.",
        "This model's maximum context length is 8192 tokens.",
        "Unsupported parameter: 'max_tokens' is not supported with this model.",
        "messages.1.content.0.thinking: Invalid signature in thinking block",
        "Item with id 'rs_1' not found.",
        "Your organization must be verified to stream this model.",
    ):
        assert faults.fault_of(failure(400, message), {"messages": MESSAGES}) == "unclear"


def failure(status: int | None, message: str) -> Exception:
    error = Exception(message)
    error.status_code = status  # type: ignore[attr-defined]
    return error


GROQ = (
    "Request too large for model `m` in organization `org_1` service tier `on_demand` on tokens per minute (TPM): "
    "Limit 6000, Requested 12000, please reduce your message size and try again."
)
VLLM = "This model's maximum context length is 32768 tokens. However, you requested 65,536 tokens (9 in the messages)."


@pytest.mark.parametrize(
    ("status", "message", "share"),
    [
        (413, GROQ, 0.5),
        (429, GROQ, 0.5),
        (413, "<html>413 Request Entity Too Large</html>", faults.UNSAID),
        (413, "Request body too large for gpt-x model. Max size: 8000 tokens.", faults.UNSAID),
        (400, '{"type": "request_too_large", "message": "Request exceeds the maximum size"}', faults.UNSAID),
        (429, "Rate limit reached on tokens per minute (TPM): Limit 6000, Used 3513, Requested 3166.", None),
        (400, "the name of a tool is too long", None),
    ],
)
def test_what_is_too_large_for_one_deployment_is_no_fault_and_no_full_quota(
    status: int, message: str, share: float | None
) -> None:
    error = failure(status, message)
    error.llm_provider = "openai"  # type: ignore[attr-defined]
    assert faults.is_too_large(error) is (share is not None)
    if share is not None:
        assert (faults.fault_of(error, {}), faults.taken_share(error)) == ("request", share)


def test_a_window_that_a_server_names_is_the_part_that_it_would_have_taken() -> None:
    assert faults.taken_share(failure(400, VLLM)) == 0.5
    assert faults.taken_share(failure(400, "maximum context length is 9 tokens")) == faults.UNSAID


def test_a_client_that_brings_its_own_key_or_answer_says_nothing_of_a_deployment() -> None:
    for brings in (
        {"api_key": "mine"},
        {"mock_response": "litellm.RateLimitError"},
        {"mock_timeout": True},
        {"extra_headers": {"Authorization": "Bearer mine"}},
        {"extra_headers": {"X-API-Key": "mine"}},
    ):
        assert requests.is_elsewhere(brings)
    for brings in ({}, {"api_key": ""}, {"extra_headers": {"anthropic-beta": "x"}}, {"extra_headers": "x"}):
        assert not requests.is_elsewhere(brings)


def test_what_the_proxy_itself_raises_is_nobodys_fault_but_the_requests() -> None:
    """A guardrail that blocks, a client that left: no provider is named."""
    for status in (400, 499, 500):
        error = HTTPException(status, "Blocked: credit card")
        assert faults.fault_of(error, at_proxy=True) == "request"
        assert faults.fault_of(error) == "request"  # in the middle of a stream
    provided = Exception("boom")
    provided.llm_provider, provided.status_code = "openai", 500  # type: ignore[attr-defined]
    assert faults.fault_of(provided, at_proxy=True) == "deployment"


def test_a_filtered_prompt_is_the_requests_own_fault() -> None:
    error = ContentPolicyViolationError("blocked")
    error.status_code = 400  # type: ignore[attr-defined]
    assert faults.fault_of(error) == "request"


def test_no_body_breaks_what_reads_it_for_a_decision_that_fails_is_litellms_own() -> None:
    """And then no ceiling of a key would hold."""
    rng = random.Random(12)
    for _ in range(2_000):
        body = random_body(rng)
        messages = body.get("messages")
        narrowing.narrows(body, messages)
        requests.holder_of(body)
        requests.session_of(body)
        is_signed(messages or body.get("input"))
        may_be_signed(body)
