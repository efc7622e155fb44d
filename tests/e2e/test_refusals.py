"""A deployment that refuses everything loses its traffic after a handful; a request's own fault costs nobody anything.

One proxy of its own, with live measurements and without retries: what is refused is lost, so the fewer the better.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import pytest
import redis

from evaluation.endpoints import Handle, running_endpoints
from evaluation.stock_proxy import StockProxy
from slo_router.ages import HANDFUL as HANDFUL_OF_ANSWERS
from tests.e2e.conftest import CATEGORIES, SPECS, Stack, deployment, document, publish
from tests.valkey_server import ValkeyServer

PREFIX = "refusals:"
ANY = "20000"  # a limit that nothing here breaks, however busy the machine
REQUESTS = 60
HANDFUL = 16  # three in a row, six where it was vouched for a moment ago, and those that leave while it is asked


@pytest.fixture(scope="module")
def handles() -> Iterator[Sequence[Handle]]:
    with running_endpoints(SPECS) as running:
        yield running


@pytest.fixture(scope="module")
def stack(handles: Sequence[Handle], valkey: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = document(handles, valkey.url, live_measurements=True, refresh_interval_s=0.2, key_prefix=PREFIX)
    by_name = {handle.name: handle for handle in handles}
    short = deployment(by_name["small"], "short", "short-small", max_output_tokens=4_096)
    long = deployment(by_name["medium"], "short", "short-medium", max_output_tokens=64_000)
    settings["model_list"] += [short, long]  # type: ignore[operator]
    groups = settings["callback_settings"]["slo_router"]["groups"]  # type: ignore[index]
    groups["short"] = {"trial_share": 0}
    settings["model_list"] += [deployment(by_name[name], "tried", f"tried-{name}") for name in ("small", "medium")]  # type: ignore[operator]
    groups["tried"] = {"trial_share": 0.5}
    settings["router_settings"] |= {"num_retries": 0}  # type: ignore[operator]
    publish(redis.Redis.from_url(valkey.url), PREFIX)
    with StockProxy(settings, tmp_path_factory.mktemp("proxy")) as proxy:
        running = Stack(proxy, valkey, by_name, time.time(), prefix=PREFIX)
        running.ask()
        yield running


@pytest.fixture(autouse=True)
def healthy(stack: Stack) -> Iterator[None]:
    for handle in stack.endpoints.values():
        handle.reset()
    yield
    for handle in stack.endpoints.values():
        handle.reset()


def streamed(stack: Stack, name: str) -> int:
    """Our own requests; LiteLLM's health checks want their answers whole."""
    return sum(seen.stream for seen in stack.endpoints[name].seen())


def ask(stack: Stack, **body: object) -> int:
    return stack.ask(body={"stream": True, "max_tokens": 4, **body}, x_slo_ttft_ms=ANY).status_code


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404])
def test_who_refuses_everything_is_left_after_a_handful_and_found_again(stack: Stack, status: int) -> None:
    wait_until_small_answers(stack)
    stack.endpoints["small"].reset()
    stack.endpoints["small"].control("status", status=status)

    statuses = [ask(stack) for _ in range(REQUESTS)]

    lost = sum(code != 200 for code in statuses)
    assert streamed(stack, "small") == lost <= HANDFUL
    assert set(statuses[HANDFUL:]) == {200}
    stack.endpoints["small"].control("ok")
    wait_until_small_answers(stack)


def wait_until_small_answers(stack: Stack, within_s: float = 90.0) -> None:
    deadline_s = time.monotonic() + within_s
    while (
        stack.ask(body={"stream": True, "max_tokens": 4}, x_slo_ttft_ms=ANY).headers["x-slo-selected-model"] != "small"
    ):
        assert time.monotonic() < deadline_s, "small gets no traffic"
        time.sleep(0.5)


def test_more_room_than_a_models_answers_have_goes_to_one_that_has_it(stack: Stack) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        answer = stack.ask(model="short", body={name: 32_000})
        assert answer.headers["x-slo-selected-model"] == "short-medium"
    assert stack.ask(model="short", body={"max_tokens": 4_096}).headers["x-slo-selected-model"] == "short-small"


def test_who_has_no_patience_shuts_nobody_for_the_others(stack: Stack) -> None:
    """Three timeouts in a row that a client asked for, a tenth of what an answer takes."""
    wait_until_small_answers(stack)
    stack.endpoints["small"].reset()
    stack.endpoints["small"].control("slow", factor=20)  # an answer takes half a second

    statuses = [ask(stack, stream=False, max_tokens=24, timeout=0.05) for _ in range(6)]

    assert set(statuses) == {408}
    stack.endpoints["small"].control("ok")
    assert (
        stack.ask(body={"stream": True, "max_tokens": 4}, x_slo_ttft_ms=ANY).headers["x-slo-selected-model"] == "small"
    )


def found_failing(stack: Stack, age_s: float) -> None:
    """As the agent publishes it."""
    for category in CATEGORIES:
        said = {"error_rate": "1", "timestamp": str(time.time() - age_s)}
        stack.redis.hset(f"{PREFIX}metrics:tried-small:{category}", mapping=said)  # type: ignore[arg-type]
    stack.refreshed()


def test_a_handful_of_live_answers_outweighs_an_error_rate_of_an_hour_ago(stack: Stack) -> None:
    found_failing(stack, age_s=3_600)
    reasons: list[str] = []
    deadline_s = time.monotonic() + 90
    while reasons[-5:] != ["cheapest of 2 that meet the SLO"] * 5:
        assert time.monotonic() < deadline_s, reasons
        answer = stack.ask(model="tried", body={"max_tokens": 4})
        assert answer.status_code == 200
        reasons.append(answer.headers["x-slo-reason"])
    on_trial = [reason for reason in reasons if reason.startswith("on trial")]
    assert len(on_trial) == HANDFUL_OF_ANSWERS
    assert answer.headers["x-slo-selected-model"] == "tried-small"


def test_what_was_found_failing_and_fails_still_costs_no_request(stack: Stack) -> None:
    stack.endpoints["small"].control("error500")
    found_failing(stack, age_s=60)
    deadline_s, asked = time.monotonic() + 60, 0
    while asked < 30 or not stack.endpoints["small"].seen():  # by a health check
        assert time.monotonic() < deadline_s
        assert stack.ask(model="tried", body={"stream": True, "max_tokens": 4}).status_code == 200
        asked += 1
    assert streamed(stack, "small") == 0


def test_an_error_rate_of_yesterday_counts_no_more(stack: Stack) -> None:
    found_failing(stack, age_s=86_401)
    assert stack.ask(model="tried", body={"max_tokens": 4}).headers["x-slo-selected-model"] == "tried-small"
