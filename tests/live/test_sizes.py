"""After a deployment refused a request for its size, it gets no request as large for a while, but smaller ones."""

from __future__ import annotations

import pytest

from slo_router.contract.model import Features
from slo_router.live.sizes import ANY_SIZE, REFUSED_S, is_known


def asking(prompt_tokens: int, limit_tokens: int | None = None, **more: object) -> Features:
    return Features("chat", "rule", prompt_tokens, 10, 10, limit_tokens=limit_tokens, **more)  # type: ignore[arg-type]


def test_the_smallest_that_was_refused_counts_until_it_lapses() -> None:
    sizes = ANY_SIZE.without(6_000, 0.0).without(8_000, 1.0)
    assert [sizes.takes(asking(size), 2.0) for size in (5_999, 6_000, 9_000)] == [True, False, False]
    assert sizes.takes(asking(9_000), 1.0 + REFUSED_S)
    assert sizes.without(9_000, 1.0 + REFUSED_S).takes(asking(8_000), 2.0 + REFUSED_S)


def test_before_any_refusal_all_is_taken() -> None:
    assert ANY_SIZE.takes(asking(10**9), 0.0)


def test_the_answers_limit_counts_as_much_as_the_prompt() -> None:
    sizes = ANY_SIZE.without(8_000, 0.0)
    assert not sizes.takes(asking(10, 32_000), 1.0)
    assert sizes.takes(asking(10), 1.0)


@pytest.mark.parametrize("more", [{"needs": frozenset({"vision"})}, {"images": 1}, {"files": 1}])
def test_the_size_of_what_is_no_text_is_not_known(more: dict[str, object]) -> None:
    assert is_known(asking(10))
    assert not is_known(asking(10, None, **more))
