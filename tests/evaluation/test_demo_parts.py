"""The demo's arithmetic: costs and counterfactual costs, SLOs met, the keys' limits, errors in a list of endpoints.

tests/e2e/test_demo.py runs the demo itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluation.demo import scenario
from evaluation.demo.accounts import Served, account, below_floor, join, met
from evaluation.demo.client import Answer
from evaluation.demo.endpoints import EXAMPLE, ROOT, Endpoint, own
from evaluation.demo.remarks import remarks
from evaluation.demo.scenario import Ask, Case
from evaluation.routing.categorizer import load_prompts
from slo_router.contract.model import Facts
from slo_router.contract.record import RequestRecord, SloRecord
from slo_router.errors import SettingsError

CHEAP = Facts("cheap", "openai/cheap", input_usd_per_token=1e-6, output_usd_per_token=2e-6, quality={"default": 0.5})
GOOD = Facts("good", "openai/good", input_usd_per_token=4e-6, output_usd_per_token=8e-6, quality={"default": 0.9})
FREE = Facts("free", "openai/free", quality={"default": 0.7})  # its prices are unknown
ASK = Ask(Case("frontend", "ner", 1, stream=True), [], 60)


def record(**changed: object) -> RequestRecord:
    values: dict[str, object] = {
        **dict.fromkeys(RequestRecord.model_fields),
        "schema_version": 1,
        "ts": 0.0,
        "request_id": "1",
        "deployment": "cheap",
        "category": "ner",
        "stream": True,
        "prompt_tokens": 1_000,
        "completion_tokens": 100,
        "cost_usd": 0.0012,  # 1,000 × 1e-6 + 100 × 2e-6
        "slo": SloRecord(),
        "slo_met": True,
        "outcome": "success",
        "attempts": 1,
    }
    return RequestRecord.model_validate({**values, **changed})


def served(ttft_s: float | None = 0.1, **changed: object) -> Served:
    return Served(Answer(ASK, "1", ttft_s, {"x-slo-decision": "met"}), record(**changed))


def endpoint(name: str, quality: float, context: int | None = None) -> Endpoint:
    return Endpoint(name=name, model=f"openai/{name}", quality={"default": quality}, max_input_tokens=context)


THREE = [endpoint("large", 0.9, 32_000), endpoint("small", 0.6, 4_000), endpoint("middle", 0.75, 32_000)]


def test_the_counterfactuals_price_the_same_tokens_elsewhere() -> None:
    sums = account([served(), served()], [CHEAP, GOOD], GOOD)

    assert sums.cost_usd == pytest.approx(0.0024)
    assert sums.best_usd == pytest.approx(0.0096)  # 2 × (1,000 × 4e-6 + 100 × 8e-6)
    assert sums.even_usd == pytest.approx(0.0060)  # halfway
    assert sums.saved == pytest.approx(0.75)


def test_what_was_sent_to_the_best_saves_nothing() -> None:
    assert account([served(cost_usd=0.0048)], [CHEAP, GOOD], GOOD).saved == pytest.approx(0.0)


def test_an_unknown_price_makes_the_sum_unknown_and_not_smaller() -> None:
    sums = account([served(), served(cost_usd=None)], [CHEAP, FREE], FREE)
    assert (sums.cost_usd, sums.best_usd, sums.even_usd, sums.saved) == (None, None, None, None)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (served(), True),
        (served(ttft_s=0.2, slo=SloRecord(ttft_ms=200)), True),
        (served(ttft_s=0.201, slo=SloRecord(ttft_ms=200)), False),  # the client saw it later than the proxy did
        (served(slo_met=False), False),
        (served(ttft_s=None, slo=SloRecord(ttft_ms=200), slo_met=None), True),  # not streamed: no known limit is broken
        (Served(Answer(ASK, error="APITimeoutError"), None), False),
        (Served(Answer(ASK, "1"), None), False),
    ],
)
def test_an_slo_is_met_as_the_client_measured_it(one: Served, expected: bool) -> None:
    assert met(one) is expected


def test_an_even_spread_breaks_the_floor_as_often_as_there_are_weak_deployments() -> None:
    asked = [served(slo=SloRecord(min_quality=floor)) for floor in (0.4, 0.6, 0.9)] + [served()]
    assert below_floor(asked, [CHEAP, GOOD]) == 1.0  # 0 + 1/2 + 1/2 + 0


def test_answers_find_their_record_by_the_response_id() -> None:
    one, two, failed = Answer(ASK, "1"), Answer(ASK, "2"), Answer(ASK, error="InternalServerError")
    joined = join([one, two, failed], [record(request_id="2"), record(request_id="3")])
    assert [found and found.request_id for _, found in joined] == [None, "2", None]


def test_the_remarks_say_where_routing_did_not_help() -> None:
    best = "\n".join(remarks([served(cost_usd=0.0048)], scenario.virtual_keys(THREE, 100.0), [CHEAP, GOOD], GOOD))
    assert "Routing saved nothing for frontend" in best


def test_the_limits_come_from_the_endpoints() -> None:
    assert scenario.best(THREE).name == "large"
    assert scenario.group_settings(THREE) == {"min_quality": {"default": 0.6, "reasoning": 0.75, "code": 0.75}}
    frontend, batch, legal = scenario.virtual_keys(THREE, 160.0)
    assert frontend.metadata == {"slo": {"ttft_ms": 160.0}}
    assert batch.team_metadata == {"slo_limits": {"min_quality": {"max": 0.75}}}
    assert legal.metadata == {"slo": {"min_quality": 0.9}}


def test_the_frontends_limit_lies_between_the_fastest_and_the_slowest() -> None:
    assert scenario.between(70.0, 360.0) == 160.0  # √(70 × 360) = 158.7
    assert scenario.between(0.070, 0.360) == 0.16


def test_the_same_requests_are_sent_on_every_run() -> None:
    prompts = load_prompts()
    asks = scenario.requests(THREE, prompts, scenario.FULL)
    assert asks == scenario.requests(THREE, prompts, scenario.FULL)
    assert len(asks) == sum(case.count for case in scenario.cases(THREE)) == 58


def test_the_long_prompt_exceeds_the_smallest_context_only() -> None:
    asks = scenario.requests(THREE, load_prompts(), scenario.FULL)
    chars = {len(str(ask.messages[0]["content"])) for ask in asks if ask.case.oversized}
    assert len(chars) == 1
    assert 4 * 4_000 < chars.pop() < 4 * 32_000


def test_there_is_no_long_prompt_where_no_context_is_larger_or_the_load_is_light() -> None:
    alike = [endpoint("a", 0.5), endpoint("b", 0.6)]
    assert not any(ask.case.oversized for ask in scenario.requests(alike, load_prompts(), scenario.FULL))
    light = scenario.requests(THREE, load_prompts(), scenario.LIGHT)
    assert not any(ask.case.oversized for ask in light)
    assert max(len(str(ask.messages)) for ask in light) <= scenario.SHORT_CHARS


def test_the_example_of_a_list_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-environment")
    listed = own(ROOT / EXAMPLE)
    assert [one.name for one in listed] == ["qwen-7b", "llama3", "gpt-4o"]
    entries = [one.entry("smart")["litellm_params"] for one in listed]
    assert entries[0] == {
        "model": "openai/Qwen/Qwen2.5-7B-Instruct",
        "api_base": "http://localhost:8000/v1",
        "api_key": "none",
        "input_cost_per_token": 0.3e-6,
        "output_cost_per_token": 0.3e-6,
    }
    assert entries[2] == {"model": "openai/gpt-4o", "api_key": "os.environ/OPENAI_API_KEY"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", "expected a list of at least two endpoints"),
        ("- {name: a", "not valid YAML"),
        ("- {name: a, model: openai/a, quality: 0.5}", "expected a list of at least two endpoints"),
        ("- {name: a, model: openai/a, quality: 0.5, colour: red}\n- {}", "[0].colour: unknown key, expected one of"),
        ("- {name: a, model: gpt, quality: 0.5}\n- {}", "[0].model: 'gpt', expected"),
        ("- {name: a, model: openai/a, quality: 2}\n- {}", "[0].quality.default: 2, expected"),
        ("- {name: a, model: openai/a, quality: {ner: 0.2}}\n- {}", "[0].quality"),
        ("- {name: a, model: openai/a}\n- {}", "[0].quality: missing"),
        (
            "- {name: a, model: o/a, quality: 1, input_cost_per_token: -1}\n- {}",
            "[0].input_cost_per_token: -1, expected",
        ),
        ("- {name: a, model: o/a, quality: 1, api_key: os.environ/NOT_SET}\n- {}", "variable NOT_SET to be set"),
        ("- {name: a, model: o/a, quality: 1}\n- {name: a, model: o/b, quality: 1}", "[1].name: 'a' is used twice"),
    ],
)
def test_a_wrong_list_is_an_error_with_its_place(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "endpoints.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=f"^{path}") as error:
        own(path)
    assert expected in str(error.value)


def test_a_list_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file or directory"):
        own(tmp_path / "nothing.yaml")
