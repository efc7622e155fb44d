"""All workers together make no more further calls than a share of the last requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_router.rescue.budget import LEAST, WINDOW_S, Budget
from tests.shared.builders import NOW_S

SHARE = 0.03
MOST = 12  # 3 % of 400


def serve(budget: Budget, requests: int, share: float = SHARE, *, per_s: float = 1.0, from_s: float = NOW_S) -> None:
    for number in range(requests):
        budget.earn("smart", share, from_s + number / per_s)


def take_all(budget: Budget, at_s: float = NOW_S) -> int:
    return next(taken for taken in range(10_000) if not budget.take("smart", at_s))


def tell(workers: list[Budget]) -> None:
    said = [worker.export() for worker in workers]
    for rank, worker in enumerate(workers):
        worker.hear([one for other, one in zip(workers, said, strict=True) if other is not worker], rank)


def test_the_first_that_meet_a_hang_find_all_of_the_share_and_then_it_takes_as_many_requests() -> None:
    budget = Budget()
    serve(budget, 1)
    assert take_all(budget) == MOST
    serve(budget, LEAST - 1)
    assert take_all(budget) == 0
    serve(budget, 1)
    assert take_all(budget) == MOST


def test_what_was_saved_up_for_long_is_no_more() -> None:
    budget = Budget()
    serve(budget, 100_000)
    assert take_all(budget) == MOST


def test_where_there_are_many_requests_those_of_the_last_seconds_count() -> None:
    budget = Budget()
    serve(budget, 10_000, per_s=100.0)
    assert take_all(budget, NOW_S + 100) == pytest.approx(SHARE * 100 * WINDOW_S, abs=4)
    serve(budget, 1, from_s=NOW_S + 10_000)
    assert take_all(budget, NOW_S + 10_000) == 0  # the window shrank, and these calls are among its requests


@pytest.mark.parametrize(("share", "most"), [(0.0, 0), (0.001, 1), (1.0, LEAST)])
def test_a_small_share_is_one_call_at_last(share: float, most: int) -> None:
    budget = Budget()
    serve(budget, 1, share)
    assert take_all(budget) == most
    serve(budget, 999, share)
    assert not budget.take("smart", NOW_S) or share == 1.0


def test_another_group_has_its_own() -> None:
    budget = Budget()
    serve(budget, 1)
    assert take_all(budget) == MOST
    budget.earn("other", SHARE, NOW_S)
    assert budget.take("other", NOW_S)
    assert not budget.take("nobody's", NOW_S)


def test_each_of_two_workers_takes_its_part_until_they_tell_each_other() -> None:
    first, second = workers = [Budget(), Budget()]
    for worker in workers:
        serve(worker, 1)
    tell(workers)
    assert take_all(first) == MOST / 2
    tell(workers)
    assert second.left("smart") == MOST / 2
    assert take_all(second) == MOST / 4
    assert take_all(first) == MOST / 4
    tell(workers)
    assert take_all(first) + take_all(second) == 0
    serve(second, LEAST // 2)
    tell(workers)
    assert take_all(first) + take_all(second) == 0
    serve(first, LEAST // 2)
    tell(workers)
    tell(workers)  # what each of them then forgot
    assert first.left("smart") == second.left("smart") == MOST


def test_requests_of_long_ago_of_a_worker_that_was_not_heard_are_not_taken_for_new_ones() -> None:
    first, second = Budget(), Budget()
    serve(first, 1)
    assert take_all(first) == MOST
    serve(second, 100_000)
    for told in ([second.export()], [], [second.export()]):
        first.hear(told)
        assert first.left("smart") == 0


@given(st.lists(st.integers(0, 300), max_size=40))
def test_over_any_so_many_requests_the_calls_stay_within_the_share(waits: list[int]) -> None:
    budget, at, calls = Budget(), 0, list[int]()
    serve(budget, 1)
    for wait in waits:
        serve(budget, wait, from_s=NOW_S + at)
        at += wait
        calls += [at] * take_all(budget, NOW_S + at)
    for one in calls:
        assert sum(one <= other < one + LEAST for other in calls) <= MOST


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 200)), max_size=60))
def test_so_do_those_of_four_workers_that_tell_each_other(steps: list[tuple[int, int]]) -> None:
    workers = [Budget() for _ in range(4)]
    for worker in workers:
        serve(worker, 1)
    tell(workers)
    at, calls = 0, list[int]()
    for number, requests in steps:
        serve(workers[number], requests, from_s=NOW_S + at)
        at += requests
        tell(workers)
        calls += [at] * take_all(workers[number], NOW_S + at)
        tell(workers)
    for one in calls:
        assert sum(one <= other < one + LEAST for other in calls) <= MOST


@pytest.mark.parametrize(
    "said", [None, 7, [], "x", {"smart": "x"}, {"smart": 1.5}, {"smart": [float("nan"), 0]}, {"smart": [-1, 1e99]}]
)
def test_what_makes_no_sense_is_left_out(said: object) -> None:
    budget = Budget()
    serve(budget, 1)
    budget.hear([said, {"smart": [1, 2]}])
    assert budget.left("smart") == MOST - 2
