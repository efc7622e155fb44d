"""A deployment that refuses everything loses its traffic after a few requests. A request's own fault has no effect.

Requests are sent without retries: each refused request is lost, so the fewer the better.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple, cast

import httpx
import pytest

from evaluation.shared.traffic import BAD_TEMPERATURE
from slo_router.contract.ages import HANDFUL as HANDFUL_OF_ANSWERS
from slo_router.contract.keys import LIVE_KEY, WORKERS_KEY
from slo_router.live.account import FIRST_PAUSE_S
from tests.e2e.conftest import CATEGORIES, REFUSALS, Stack

LONG = [{"role": "user", "content": "Summarize: " + "the cat sat on the mat. " * 150}]
ANY = "20000"  # a limit that nothing here breaks, however busy the machine
REQUESTS = 30
REFUSALS_IN_A_ROW = 3
HANDFUL = 16  # 3 in a row, 6 if it answered a question just before, and requests sent while it is asked


class Course(NamedTuple):
    """The course of a group whose cheap deployment answered, then refused everything, and then answered again."""

    statuses: list[int]  # of the requests while the deployment refused
    refused: int  # how many of these requests its endpoint saw
    took_s: float
    is_back: bool

    @property
    def pauses(self) -> int:
        """How often the deployment was due to be asked again, at most. On a busy machine a request may do so."""
        return int(self.took_s / FIRST_PAUSE_S)


def ask(live: Stack, name: str, **body: object) -> httpx.Response:
    """Asks the deployment's group. On LiteLLM 1.100 a group named like its deployment would be that one alone."""
    whole = {"stream": True, "max_tokens": 4, **body}
    return live.ask(model=f"group-{name}", body=whole, x_slo_ttft_ms=ANY, x_litellm_num_retries="0")


def gets_traffic(live: Stack, name: str, within_s: float = 90.0) -> bool:
    deadline_s = time.monotonic() + within_s
    while ask(live, name).headers["x-slo-selected-model"] != name:
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.5)
    return True


def course(live: Stack, name: str, status: int, message: str | None = None) -> Course:
    endpoint = live.endpoints[name]
    assert gets_traffic(live, name)
    endpoint.reset()
    endpoint.control("status", status=status, message=message)
    began_s = time.monotonic()
    statuses = [ask(live, name).status_code for _ in range(REQUESTS)]
    took_s = time.monotonic() - began_s
    refused = sum(seen.stream is True for seen in endpoint.seen())  # not health checks, which are not streamed
    endpoint.control("ok")
    return Course(statuses, refused, took_s, gets_traffic(live, name))


@pytest.fixture(scope="module")
def courses(_live: Stack) -> Mapping[int, Course]:
    """The courses of all statuses, at the same time: most of the time is waiting until a deployment is asked again."""
    with ThreadPoolExecutor() as pool:
        return dict(zip(REFUSALS, pool.map(lambda one: course(_live, f"refuses-{one}", one), REFUSALS), strict=True))


@pytest.mark.parametrize("status", REFUSALS)
def test_who_refuses_everything_is_left_after_a_handful_and_found_again(
    courses: Mapping[int, Course], status: int
) -> None:
    found = courses[status]
    lost = sum(code != 200 for code in found.statuses)
    assert 0 < lost <= HANDFUL
    assert lost == found.refused
    assert sum(code != 200 for code in found.statuses[HANDFUL:]) <= found.pauses
    assert found.is_back


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "Your credit balance is too low to access the API."),
        (429, "You exceeded your current quota, please check your plan and billing details."),  # OpenAI's words
    ],
)
def test_one_refusal_that_speaks_of_the_account_is_enough(
    live: Stack, courses: Mapping[int, Course], status: int, message: str
) -> None:
    """If the deployment answered no question just before. A revoked key (401) speaks of the account by its status."""
    assert courses[402].refused <= REFUSALS_IN_A_ROW + courses[402].pauses
    found = course(live, "refuses-400", status, message)
    assert found.refused <= REFUSALS_IN_A_ROW + found.pauses  # a health check just found it back
    assert sum(code != 200 for code in found.statuses[REFUSALS_IN_A_ROW:]) <= found.pauses
    assert found.is_back


def test_ten_wrong_requests_in_a_row_take_nothing_from_a_healthy_deployment(
    live: Stack, courses: Mapping[int, Course]
) -> None:
    name = f"refuses-{next(iter(courses))}"  # which is back
    statuses = [ask(live, name, temperature=BAD_TEMPERATURE).status_code for _ in range(10)]
    assert set(statuses) == {400}
    assert [ask(live, name).headers["x-slo-selected-model"] for _ in range(10)] == [name] * 10


@pytest.mark.parametrize("status", [413, 429])
def test_what_is_too_large_for_one_goes_to_another_from_then_on_and_the_rest_still_goes_there(
    live: Stack, status: int
) -> None:
    """Groq (413) and OpenAI (429) refuse a request with more tokens than they allow in a minute like this."""
    name = f"refuses-{401 if status == 413 else 402}"
    assert gets_traffic(live, name)
    message = "Request too large for model `m` on tokens per minute (TPM): Limit 500, Requested 1000, please reduce it."
    live.endpoints[name].control("status", status=status, message=message)
    assert ask(live, name, messages=LONG).status_code != 200
    live.endpoints[name].control("ok")
    assert ask(live, name, messages=LONG).headers["x-slo-selected-model"] == f"{name}-medium"
    assert ask(live, name, max_tokens=1_000).headers["x-slo-selected-model"] == f"{name}-medium"
    assert ask(live, name).headers["x-slo-selected-model"] == name


@pytest.mark.parametrize(
    "body",
    [{"messages": "hi"}, {"messages": [None]}, {"response_format": "json"}, {"timeout": "x"}],
    ids=["messages", "message", "format", "timeout"],
)
def test_a_body_that_litellm_itself_fails_over_opens_no_circuit(live: Stack, body: Mapping[str, object]) -> None:
    statuses = [live.ask(model="smart", body=body).status_code for _ in range(4)]  # each is tried three times
    assert not {200}.intersection(statuses)
    answer = live.ask(x_slo_ttft_ms=ANY)
    assert answer.headers["x-slo-selected-model"] == "small", answer.headers["x-slo-reason"]


def test_calls_that_are_not_routed_count_against_nobody(live: Stack) -> None:
    """A chat server may have no other route. A refusal there is no reason for a health check."""
    asked = [live.post("/v1/videos", {"model": "smart", "prompt": "A cat."}) for _ in range(20)]
    assert not any(answer.is_success for answer in asked)
    live.refreshed()
    assert live.seen() == {}
    answer = live.ask(x_slo_ttft_ms=ANY)
    assert answer.headers["x-slo-selected-model"] == "small", answer.headers["x-slo-reason"]


@pytest.mark.parametrize("error", ["HTTP", "LiteLLM's own"])
def test_a_guardrail_that_stops_a_stream_is_no_fault_of_its_deployment(live: Stack, error: str) -> None:
    for _ in range(6):
        with suppress(httpx.RemoteProtocolError):  # or an event tells the error
            live.ask(error, body={"stream": True, "guardrails": ["stops"]}, x_slo_ttft_ms=ANY)
    live.refreshed()
    answer = live.ask(x_slo_ttft_ms=ANY)
    assert answer.headers["x-slo-selected-model"] == "small", answer.headers["x-slo-reason"]
    assert sum(not seen.stream for one in live.endpoints.values() for seen in one.seen()) == 1  # no health check


def test_more_room_than_a_models_answers_have_goes_to_one_that_has_it(live: Stack) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        answer = live.ask(model="short", body={name: 32_000})
        assert answer.headers["x-slo-selected-model"] == "short-medium"
    assert live.ask(model="short", body={"max_tokens": 4_096}).headers["x-slo-selected-model"] == "short-small"


def test_no_chat_goes_to_what_makes_embeddings_and_embeddings_go_there(live: Stack) -> None:
    answers = [live.ask(model="mixed", x_slo_ttft_ms=ANY) for _ in range(5)]
    assert {answer.headers["x-slo-selected-model"] for answer in answers} == {"mixed-medium"}
    asked = [live.post("/v1/embeddings", {"model": "mixed", "input": "a"}) for _ in range(10)]
    assert {answer.status_code for answer in asked} == {200}
    assert "mixed-embedding" in {answer.headers["x-slo-selected-model"] for answer in asked}


def test_who_has_no_patience_shuts_nobody_for_the_others(live: Stack, courses: Mapping[int, Course]) -> None:
    """A client asks for timeouts of a tenth of an answer's time. Three of them in a row shut no deployment."""
    name = f"refuses-{next(iter(courses))}"  # which is back
    live.endpoints[name].control("slow", factor=20)  # an answer takes half a second

    statuses = [ask(live, name, stream=False, max_tokens=24, timeout=0.05).status_code for _ in range(6)]

    assert set(statuses) == {408}
    live.endpoints[name].control("ok")
    assert ask(live, name).headers["x-slo-selected-model"] == name


def found_failing(live: Stack, age_s: float) -> None:
    """Publishes an error rate of 1, as the agent does."""
    for category in CATEGORIES:
        said = {"error_rate": "1", "timestamp": str(time.time() - age_s)}
        live.redis.hset(f"{live.prefix}metrics:tried-small:{category}", mapping=said)  # type: ignore[arg-type]
    live.refreshed()
    shared(live)


def shared(live: Stack) -> None:
    """Waits until the worker has published twice: between the two it looked at the new error rate."""
    (worker,) = cast("set[str]", live.redis.smembers(live.prefix + WORKERS_KEY))
    key, deadline_s = f"{live.prefix}{LIVE_KEY}{worker}", time.monotonic() + 60
    for _ in range(2):
        live.redis.set(key, "")
        while not live.redis.get(key):
            assert time.monotonic() < deadline_s
            time.sleep(0.01)


def tried(live: Stack, *, stream: bool = False) -> httpx.Response:
    return live.ask(model="tried", body={"max_tokens": 4, "stream": stream}, x_litellm_num_retries="0")


def test_a_handful_of_live_answers_outweighs_an_error_rate_of_an_hour_ago(live: Stack) -> None:
    found_failing(live, age_s=3_600)
    reasons: list[str] = []
    deadline_s = time.monotonic() + 90
    while reasons[-5:] != ["cheapest of 2 that meet the SLO"] * 5:
        assert time.monotonic() < deadline_s, reasons
        answer = tried(live)
        assert answer.status_code == 200
        reasons.append(answer.headers["x-slo-reason"])
    on_trial = [reason for reason in reasons if reason.startswith("on trial")]
    assert len(on_trial) == HANDFUL_OF_ANSWERS
    assert answer.headers["x-slo-selected-model"] == "tried-small"


def test_what_was_found_failing_and_fails_still_costs_no_request(live: Stack) -> None:
    live.endpoints["small"].control("error500")
    found_failing(live, age_s=60)
    deadline_s, asked = time.monotonic() + 60, 0
    while asked < 30 or not live.endpoints["small"].seen():  # until a health check came
        assert time.monotonic() < deadline_s
        assert tried(live, stream=True).status_code == 200
        asked += 1
    assert not any(seen.stream for seen in live.endpoints["small"].seen())


def test_an_error_rate_of_yesterday_counts_no_more(live: Stack) -> None:
    found_failing(live, age_s=86_401)
    assert tried(live).headers["x-slo-selected-model"] == "tried-small"
