"""A deployment that refuses everything loses its traffic after a handful; a request's own fault costs nobody anything.

Requests are sent without retries: what is refused is lost, so the fewer the better.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import httpx
import pytest

from evaluation.shared.traffic import BAD_TEMPERATURE
from slo_router.contract.ages import HANDFUL as HANDFUL_OF_ANSWERS
from tests.e2e.conftest import CATEGORIES, REFUSALS, Stack

ANY = "20000"  # a limit that nothing here breaks, however busy the machine
REQUESTS = 30
HANDFUL = 16  # three in a row, six where it was vouched for a moment ago, and those that leave while it is asked


class Course(NamedTuple):
    """What became of a group whose cheap deployment answered, then refused everything, and then answered again."""

    statuses: list[int]  # of the requests while it refused
    refused: int  # of these, as its endpoint saw them
    is_back: bool


def ask(live: Stack, name: str, **body: object) -> httpx.Response:
    """The group of that deployment; on 1.100 a group of a deployment's own name would be the deployment alone."""
    whole = {"stream": True, "max_tokens": 4, **body}
    return live.ask(model=f"group-{name}", body=whole, x_slo_ttft_ms=ANY, x_litellm_num_retries="0")


def gets_traffic(live: Stack, name: str, within_s: float = 90.0) -> bool:
    deadline_s = time.monotonic() + within_s
    while ask(live, name).headers["x-slo-selected-model"] != name:
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.5)
    return True


def course(live: Stack, status: int) -> Course:
    name = f"refuses-{status}"
    endpoint = live.endpoints[name]
    assert gets_traffic(live, name)
    endpoint.reset()
    endpoint.control("status", status=status)
    statuses = [ask(live, name).status_code for _ in range(REQUESTS)]
    refused = sum(seen.stream is True for seen in endpoint.seen())  # our own; a health check wants its answer whole
    endpoint.control("ok")
    return Course(statuses, refused, gets_traffic(live, name))


@pytest.fixture(scope="module")
def courses(_live: Stack) -> Mapping[int, Course]:
    """All at once, for most of the time goes by until a deployment is asked again."""
    with ThreadPoolExecutor() as pool:
        return dict(zip(REFUSALS, pool.map(lambda status: course(_live, status), REFUSALS), strict=True))


@pytest.mark.parametrize("status", REFUSALS)
def test_who_refuses_everything_is_left_after_a_handful_and_found_again(
    courses: Mapping[int, Course], status: int
) -> None:
    found = courses[status]
    lost = sum(code != 200 for code in found.statuses)
    assert 0 < lost <= HANDFUL
    assert lost == found.refused
    assert set(found.statuses[HANDFUL:]) == {200}
    assert found.is_back


def test_ten_wrong_requests_in_a_row_take_nothing_from_a_healthy_deployment(
    live: Stack, courses: Mapping[int, Course]
) -> None:
    name = f"refuses-{next(iter(courses))}"  # which is back
    statuses = [ask(live, name, temperature=BAD_TEMPERATURE).status_code for _ in range(10)]
    assert set(statuses) == {400}
    assert [ask(live, name).headers["x-slo-selected-model"] for _ in range(10)] == [name] * 10


def test_more_room_than_a_models_answers_have_goes_to_one_that_has_it(live: Stack) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        answer = live.ask(model="short", body={name: 32_000})
        assert answer.headers["x-slo-selected-model"] == "short-medium"
    assert live.ask(model="short", body={"max_tokens": 4_096}).headers["x-slo-selected-model"] == "short-small"


def test_who_has_no_patience_shuts_nobody_for_the_others(live: Stack, courses: Mapping[int, Course]) -> None:
    """Three timeouts in a row that a client asked for, a tenth of what an answer takes."""
    name = f"refuses-{next(iter(courses))}"  # which is back
    live.endpoints[name].control("slow", factor=20)  # an answer takes half a second

    statuses = [ask(live, name, stream=False, max_tokens=24, timeout=0.05).status_code for _ in range(6)]

    assert set(statuses) == {408}
    live.endpoints[name].control("ok")
    assert ask(live, name).headers["x-slo-selected-model"] == name


def found_failing(live: Stack, age_s: float) -> None:
    """As the agent publishes it."""
    for category in CATEGORIES:
        said = {"error_rate": "1", "timestamp": str(time.time() - age_s)}
        live.redis.hset(f"{live.prefix}metrics:tried-small:{category}", mapping=said)  # type: ignore[arg-type]
    live.refreshed()


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
    while asked < 30 or not live.endpoints["small"].seen():  # by a health check
        assert time.monotonic() < deadline_s
        assert tried(live, stream=True).status_code == 200
        asked += 1
    assert not any(seen.stream for seen in live.endpoints["small"].seen())


def test_an_error_rate_of_yesterday_counts_no_more(live: Stack) -> None:
    found_failing(live, age_s=86_401)
    assert tried(live).headers["x-slo-selected-model"] == "tried-small"
