"""A client's rating is read strictly."""

from __future__ import annotations

import warnings

import pytest

from slo_router.errors import FeedbackError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # LiteLLM's own
    from slo_router.gateway.feedback.route import read_rating
from slo_router.worker.learning.rating import Rating


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"request_id": "r", "score": 0.5}', Rating("r", 0.5, "mine")),
        (b'{"request_id": "r", "thumbs": "up"}', Rating("r", 1.0, "mine")),
        (b'{"request_id": "r", "thumbs": "down"}', Rating("r", 0.0, "mine")),
        (b'{"request_id": "r", "score": "1"}', "score"),
        (b'{"request_id": "r", "score": true}', "score"),
        (b'{"request_id": "r", "thumbs": ["up"]}', "thumbs"),
        (b'{"request_id": "r", "thumbs": "up", "score": 1}', "either"),
        (b'{"request_id": "r"}', "either"),
        (b'{"request_id": 7, "score": 1}', "request_id"),
        (b'{"request_id": "r", "score": 1, "key_hash": "another"}', "expected a JSON object"),
        (b"[]", "expected a JSON object"),
        (b"\xff", "expected a JSON object"),
    ],
)
def test_a_body_is_read_strictly(body: bytes, expected: Rating | str) -> None:
    if isinstance(expected, Rating):
        assert read_rating(body, "mine") == expected
    else:
        with pytest.raises(FeedbackError, match=expected):
            read_rating(body, "mine")
