"""Other features of the stock proxy keep working with the plugin: tags, cache, pre-call checks, OpenTelemetry.

So do settings of the plugin that the shared stack does not have: weighted objective, further categories, the JSONL file
with prompts. This module has its own proxy. Deployments, prices and qualities are conftest's. In the group `tagged`,
`small` has the tag `free`, the others `eu`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest
import redis
from typer.testing import CliRunner

from evaluation.emulator import Handle
from evaluation.shared.stock_proxy import StockProxy
from evaluation.shared.valkey_server import ValkeyServer
from slo_bench.cli import app as slo_bench
from slo_bench.prompts.workload import load_workload
from slo_router.contract.record import RequestRecord
from tests.e2e.conftest import ASK, Stack, deployment, document, publish
from tests.e2e.span_collector import SpanCollector
from tests.e2e.test_routes import ROUTES

TAGS = {"small": ["free"], "medium": ["eu"], "large": ["eu"]}
GROUPS = {
    "smart": {"objective": "weighted", "weights": {"quality": 0.5, "cost": 0.3, "latency": 0.2}},
    "tagged": {},
    "desk": {"categories": {"legal": ["clause", "indemnity"]}, "min_quality": {"default": 0.5, "legal": 0.9}},
}


def configuration(handles: Sequence[Handle], redis_url: str, jsonl_path: Path) -> dict[str, object]:
    """Conftest's document with two more managed groups, and with the proxy's features on."""
    log = {"jsonl_path": str(jsonl_path), "log_prompts": True}
    whole = document(handles, redis_url, refresh_interval_s=Stack.refresh_interval_s, groups=GROUPS, log=log)
    tagged = [deployment(handle, "tagged", f"tagged-{handle.name}") for handle in handles]
    for entry, handle in zip(tagged, handles, strict=True):
        entry["litellm_params"] |= {"tags": TAGS[handle.name]}  # type: ignore[operator]
    desk = [deployment(handle, "desk", f"desk-{handle.name}") for handle in handles]
    whole["model_list"] += [*tagged, *desk]  # type: ignore[operator]
    callbacks = ["otel", "slo_router.proxy.callback"]
    whole["litellm_settings"] = {"callbacks": callbacks, "cache": True, "cache_params": {"type": "local"}}
    whole["router_settings"] |= {"enable_tag_filtering": True, "enable_pre_call_checks": True}  # type: ignore[operator]
    return whole


@pytest.fixture(scope="module")
def collector() -> Iterator[SpanCollector]:
    with SpanCollector() as listening:
        yield listening


@pytest.fixture(scope="module")
def featured(
    handles: Sequence[Handle], collector: SpanCollector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("features")
    with ValkeyServer(directory / "valkey") as valkey:
        client = redis.Redis.from_url(valkey.url)
        publish(client)
        client.close()
        whole = configuration(handles, valkey.url, directory / "requests.jsonl")
        with StockProxy(whole, directory, environment=collector.environment) as proxy:
            running = Stack(proxy, valkey, {handle.name: handle for handle in handles}, time.time())
            running.refreshed()
            yield running


@pytest.fixture
def stack(featured: Stack) -> Iterator[Stack]:
    """This module's stack at the start of a test: no faults, no requests seen."""
    for handle in featured.endpoints.values():
        handle.reset()
    running = Stack(featured.proxy, featured.valkey, featured.endpoints, time.time())
    yield running
    running.settle()
    for handle in featured.endpoints.values():
        handle.reset()


def candidates(record: dict[str, object]) -> set[str]:
    """The candidates of a record's decision."""
    decision = RequestRecord.model_validate(record).decision
    assert decision is not None
    found = decision["candidates"]
    assert isinstance(found, list)
    return {candidate["deployment"] for candidate in found}


def jsonl_records(stack: Stack) -> list[dict[str, object]]:
    """The records in the files of all workers since the test began."""
    files = stack.proxy.log_path.parent.glob("requests.*.jsonl")
    records = [json.loads(line) for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    return [record for record in records if record["ts"] >= stack.began_s]


@pytest.mark.parametrize("by", ["body", "header"])
def test_only_deployments_with_the_requests_tag_are_candidates(stack: Stack, by: str) -> None:
    body = {"metadata": {"tags": ["eu"]}} if by == "body" else {}
    headers = {"x_litellm_tags": "eu"} if by == "header" else {}

    cheapest = stack.ask(f"{by}: {ASK}", "tagged", body, **headers)
    best = stack.ask(f"{by}: {ASK}", "tagged", body, x_slo_min_quality="0.9", **headers)

    assert cheapest.headers["x-slo-selected-model"] == "tagged-medium"  # small is cheaper but not `eu`
    assert best.headers["x-slo-selected-model"] == "tagged-large"
    for record in stack.records(2):
        assert candidates(record) == {"tagged-medium", "tagged-large"}


def test_without_a_tag_all_are_candidates(stack: Stack) -> None:
    assert stack.ask("No tag. " + ASK, "tagged").headers["x-slo-selected-model"] == "tagged-small"


def test_an_slo_that_no_tagged_deployment_meets_does_not_lift_the_tag(stack: Stack) -> None:
    answer = stack.ask("Free. " + ASK, "tagged", x_litellm_tags="free", x_slo_min_quality="0.9")

    assert (answer.headers["x-slo-selected-model"], answer.headers["x-slo-decision"]) == ("tagged-small", "fallback")


def test_a_retry_stays_within_the_tag(stack: Stack) -> None:
    stack.endpoints["medium"].control("error500")

    answer = stack.ask("Retry. " + ASK, "tagged", x_litellm_tags="eu")

    assert answer.headers["x-slo-selected-model"] == "tagged-large"
    assert stack.seen() == {"medium": 1, "large": 1}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("path", ROUTES)
def test_a_cache_hit_is_one_record_of_its_own_kind_with_no_ttft(stack: Stack, path: str, stream: bool) -> None:
    unique = json.loads(json.dumps(ROUTES[path]).replace("the cat", f"the cat of {path} {stream}"))
    body = {"model": "smart", "stream": stream, **unique}

    first = stack.post(path, body)
    stack.records(1)  # the cache is written after the answer
    second = stack.post(path, body)

    assert (first.status_code, second.status_code) == (200, 200)
    assert sum(stack.seen().values()) == 1
    assert second.headers["x-slo-selected-model"] == first.headers["x-slo-selected-model"]
    of_model, of_cache = stack.records(2)
    assert (of_model["outcome"], of_cache["outcome"]) == ("success", "cache_hit")
    assert (of_cache["ttft_ms"], of_cache["tpot_ms"]) == (None, None)
    assert of_cache["cost_usd"] == 0


def test_the_file_holds_the_streams_records_with_prompts_and_answers(stack: Stack) -> None:
    for number, (path, body) in enumerate(ROUTES.items()):
        for stream in (False, True):
            unique = json.loads(json.dumps(body).replace("the cat", f"cat {number} {stream}"))
            assert stack.post(path, {"model": "smart", "stream": stream, **unique}).status_code == 200

    records = stack.records(2 * len(ROUTES))

    assert len(records) == 2 * len(ROUTES)
    assert jsonl_records(stack) == records
    for number in range(len(ROUTES)):
        for stream in (False, True):
            (record,) = [found for found in records if f"cat {number} {stream}" in str(found["prompt"])]
            assert f"[{record['deployment']}]" in str(record["answer"])


def test_the_weighted_objective_picks_what_the_formula_says(stack: Stack) -> None:
    """Two output tokens: E2E = TTFT + TPOT, which is 64, 86 and 130 ms; prices are 1 : 5 : 50.

              quality              cost                  latency              0.5 q + 0.3 c + 0.2 l
    small     0                    1                     1                    0.5
    medium    0.20 / 0.35 = 0.571  (50 - 5) / 49 = 0.918  44 / 66 = 0.667     0.6946
    large     1                    0                     0                    0.5
    """
    answer = stack.ask("Weigh. " + ASK, body={"max_tokens": 2})

    assert answer.headers["x-slo-selected-model"] == "medium"
    assert answer.headers["x-slo-reason"] == "highest score 0.69 of 3 that meet the SLO"
    (record,) = stack.records(1)
    decision = record["decision"]
    assert isinstance(decision, dict)
    totals = {found["deployment"]: found["scores"]["total"] for found in decision["candidates"]}
    assert totals == pytest.approx({"small": 0.5, "medium": 0.6946, "large": 0.5}, abs=5e-5)


def test_a_groups_own_category_is_told_by_its_words_or_named_and_has_its_own_floor(stack: Stack) -> None:
    by_words = stack.ask("Review the indemnity clause of this contract.", "desk")
    by_name = stack.ask("Have a look at this. " + ASK, "desk", x_slo_category="legal")
    neither = stack.ask("Nothing special. " + ASK, "desk")

    for answer in (by_words, by_name):
        assert answer.headers["x-slo-category"] == "legal"
        assert answer.headers["x-slo-selected-model"] == "desk-large"
    assert neither.headers["x-slo-category"] == "summarization"
    assert neither.headers["x-slo-selected-model"] == "desk-small"
    assert stack.ask(ASK, "smart", x_slo_category="legal").status_code == 400  # another group does not have it


def test_what_litellm_finds_too_small_is_no_candidate(stack: Stack) -> None:
    text = "Summarize the following. " + "The cat sat on the mat and looked at the rain. " * 250  # about 2,900 tokens

    answer = stack.ask(text, "desk")

    assert answer.headers["x-slo-selected-model"] == "desk-medium"
    (record,) = stack.records(1)
    assert candidates(record) == {"desk-medium", "desk-large"}  # LiteLLM, not the plugin, removed small (2,000 tokens)


def test_a_prompt_too_long_for_every_window_is_litellms_400_and_one_record(stack: Stack) -> None:
    answer = stack.ask("The cat sat on the mat and looked at the rain. " * 3_500, "desk")  # about 39,000 tokens

    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert stack.seen() == {}
    (record,) = stack.records(1)
    assert (record["outcome"], record["deployment"]) == ("error", None)


def test_the_span_of_each_request_says_what_was_decided(stack: Stack, collector: SpanCollector) -> None:
    asked = {"x_slo_min_quality": "0.9", "x_slo_category": "ner"}  # nothing else in this module is `ner`
    answers = [
        stack.post(path, {"model": "smart", "stream": stream, **body}, **asked)
        for path, body in ROUTES.items()
        for stream in (False, True)
    ]

    spans = collector.wait_for(len(answers), {"slo_router.category": "ner"})
    assert sorted(str(span.pop("url.path")) for span in spans) == sorted(answer.url.path for answer in answers)
    for span in spans:
        said = {name: value for name, value in span.items() if name.startswith("slo_router.")}
        assert said.pop("slo_router.predicted_cost_usd") > 0  # type: ignore[operator]
        assert len(str(said.pop("slo_router.policy"))) == 8
        assert said == {
            "slo_router.deployment": answers[0].headers["x-slo-selected-model"],
            "slo_router.decision": answers[0].headers["x-slo-decision"],
            "slo_router.reason": answers[0].headers["x-slo-reason"],
            "slo_router.category": "ner",
            "slo_router.candidates": 3,
            "slo_router.rejections": "small: quality, medium: quality",
            "slo_router.predicted_ttft_ms": 120.0,
            "slo_router.shadow": False,
        }


def test_a_workload_is_sampled_from_what_was_asked_on_each_route(stack: Stack, tmp_path: Path) -> None:
    for path, body in ROUTES.items():
        asked = json.loads(json.dumps(body).replace("Summarize", "Write to jane@example.org. Summarize"))
        stack.post(path, {"model": "smart", **asked}, x_slo_category="reasoning")  # no other test here uses it
    stack.records(len(ROUTES))

    output = tmp_path / "workload.jsonl"
    result = CliRunner().invoke(slo_bench, ["sample", "--redis-url", stack.valkey.url, "--output", str(output)])
    assert result.exit_code == 0, result.output
    prompts = load_workload(output).of_category("reasoning")
    assert [prompt.messages[-1]["content"] for prompt in prompts] == [f"Write to <EMAIL_1>. {ASK}"] * len(ROUTES)
