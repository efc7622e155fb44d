"""A quality floor is compared with graded answers and users' ratings, on the stock proxy.

The group `graded` has a cheap deployment without a typed quality, `untyped`, and a dear one with 0.95, `typed`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from slo_router.contract.keys import FEEDBACK_KEY, RATED_KEY
from tests.e2e.conftest import Stack, publish_one

FLOOR = "0.85"
BATCH = 20  # requests that are rated together
MOST = 200  # ratings


@pytest.fixture
def graded(stack: Stack) -> Iterator[Stack]:
    """The stack without ratings, before and after the test, and without the measurements of the test before."""
    for _ in stack.redis.scan_iter(f"{FEEDBACK_KEY}*"):
        pytest.fail("another test left ratings")
    until(stack, is_by("typed"))
    yield stack
    for key in [*stack.redis.scan_iter(f"{FEEDBACK_KEY}*"), RATED_KEY, *stack.redis.scan_iter("metrics:untyped:*")]:
        stack.redis.delete(key)


def measured(stack: Stack, answers: int) -> None:
    """Publishes that nine in ten of `answers` answers of `untyped` were good."""
    changed = {"quality_score": 0.9, "quality_n": answers, "quality_timestamp": time.time() - 3 * 86_400}
    publish_one(stack.redis, "", "untyped", "small", changed)
    publish_one(stack.redis, "", "typed", "large")


def asked(stack: Stack) -> httpx.Response:
    return stack.ask(model="graded", x_slo_min_quality=FLOOR, x_slo_category="chat")


def until(stack: Stack, holds: Callable[[httpx.Response], bool]) -> httpx.Response:
    """Sends requests until an answer fulfils the condition. Returns this answer."""
    deadline_s = time.monotonic() + 60
    while not holds(answer := asked(stack)):
        assert time.monotonic() < deadline_s, f"{answer.headers}"
        time.sleep(0.1)
    return answer


def is_by(name: str) -> Callable[[httpx.Response], bool]:
    return lambda answer: answer.headers["x-slo-selected-model"] == name


def rated(stack: Stack, request_id: str, **said: object) -> httpx.Response:
    """Sends a rating, once the request's record is there. Returns the response."""
    deadline_s = time.monotonic() + 60
    while True:
        answer = stack.post("/slo-router/feedback", {"request_id": request_id, **said})
        if answer.status_code != httpx.codes.NOT_FOUND or time.monotonic() > deadline_s:
            return answer
        time.sleep(0.1)


def test_a_few_answers_do_not_keep_a_floor_that_many_answers_as_good_keep(graded: Stack) -> None:
    measured(graded, 10)
    graded.refreshed()
    until(graded, lambda answer: found(graded, answer)[0] is not None)  # a bound follows a moment after the reading
    answer = asked(graded)
    assert is_by("typed")(answer)
    bound, floor = found(graded, answer)
    assert bound is not None
    assert 0.5 < bound < 0.85 == floor
    measured(graded, 1_000)
    until(graded, is_by("untyped"))


def found(stack: Stack, answer: httpx.Response) -> tuple[float | None, float | None]:
    """The bound that ruled `untyped` out, and the floor."""
    request_id = answer.json()["id"]
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        for record in stack._records():
            if record["request_id"] == request_id:
                decision = record["decision"]
                assert isinstance(decision, dict)
                for one in decision["rejections"]:
                    if (one["deployment"], one["filter"]) == ("untyped", "quality"):
                        return one["value"], one["limit"]
        time.sleep(0.05)
    raise AssertionError("no rejection")


def test_users_move_a_deployment_off_within_200_ratings(graded: Stack) -> None:
    measured(graded, 1_000)
    until(graded, is_by("untyped"))
    ratings = 0
    while is_by("untyped")(asked(graded)):
        assert ratings < MOST
        answers = [asked(graded) for _ in range(BATCH)]
        for answer in filter(is_by("untyped"), answers):
            assert rated(graded, answer.json()["id"], thumbs="down").status_code == httpx.codes.OK
            ratings += 1
        graded.refreshed()
    assert 0 < ratings <= MOST


def test_a_rating_that_cannot_be_taken_says_why(graded: Stack) -> None:
    measured(graded, 1_000)
    request_id = until(graded, is_by("untyped")).json()["id"]
    assert rated(graded, request_id, score=1.5).status_code == httpx.codes.BAD_REQUEST
    assert rated(graded, request_id, thumbs="sideways").status_code == httpx.codes.BAD_REQUEST
    first = rated(graded, request_id, score=0.5)
    assert (first.status_code, first.json()["deployment"], first.json()["category"]) == (200, "untyped", "chat")
    again = rated(graded, request_id, score=0.5)
    assert (again.status_code, "rated already" in again.text) == (httpx.codes.CONFLICT, True)
    unknown = graded.post("/slo-router/feedback", {"request_id": "nobody", "score": 1})
    assert (unknown.status_code, "nobody" in unknown.text) == (httpx.codes.NOT_FOUND, True)
    stranger = httpx.post(f"{graded.proxy.url}/slo-router/feedback", json={"request_id": request_id, "score": 1})
    assert stranger.status_code == httpx.codes.UNAUTHORIZED
