"""Events from bytes by the standard's grammar, wherever the bytes are split, as soon as possible, in linear time."""

from __future__ import annotations

import random
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.robustness.fuzz_sse import TIMEOUT_S, case_server, fits, observed
from evaluation.robustness.sse_cases import make_case
from slo_bench.measure.client import Client
from slo_bench.measure.sse import EventParser

LINES = st.sampled_from(
    [b"data: a", b"data:b", b"data", b": c", b"id: 1", b"x", "data: é\u2028".encode(), b"data:  \xff"]
)
NEWLINES = st.sampled_from([b"\n", b"\r\n", b"\r"])


def events(*pieces: bytes) -> list[str]:
    parser = EventParser()
    return [data for piece in pieces for data in parser.feed(piece)]


@pytest.mark.parametrize(
    ("stream", "found"),
    [
        (b"data: a\n\n", ["a"]),
        (b"data:a\n\ndata:  b\n\n", ["a", " b"]),  # one space belongs to the colon
        (b"data: a\ndata\ndata: b\n\n", ["a\n\nb"]),
        (b": comment\nid: 1\nevent: x\nretry: 3\nfoo\n\ndata: a\n\n", ["a"]),
        (b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n", ["a"]),  # a byte order mark counts only at the start
        (b"data: a\r\ndata: b\rdata: c\n\r\n\r", ["a\nb\nc"]),
        (b"data: a\n", []),  # no blank line: the event was cut
        (b"data: a\r\r", ["a"]),  # whole at the CR, whatever follows
        (b"data: \xc3\n\n", ["\ufffd"]),
    ],
)
def test_the_grammar_of_the_standard(stream: bytes, found: list[str]) -> None:
    assert events(stream) == found


@given(st.lists(st.tuples(LINES, NEWLINES) | NEWLINES.map(lambda end: (b"", end)), max_size=12), st.data())
@settings(max_examples=60, deadline=None)
def test_splitting_the_bytes_anywhere_changes_nothing(lines: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    stream = b"".join(line + end for line, end in lines)
    mark = data.draw(st.integers(0, len(stream)))
    whole = events(stream)
    assert events(stream[:mark], stream[mark:]) == whole
    assert events(*(stream[i : i + 1] for i in range(len(stream)))) == whole


def test_ten_megabytes_in_one_line_take_linear_time() -> None:
    def computed_s(size: int) -> float:
        event = b"data: " + b"x" * size + b"\n\n"
        pieces = [event[i : i + 1_000] for i in range(0, len(event), 1_000)]
        began_s = process_time()
        assert [len(data) for data in events(*pieces)] == [size]
        return process_time() - began_s

    assert computed_s(10_000_000) < 5.0  # 0.02 s of a core; looking at what is there with each piece takes 50 s


@given(st.lists(st.integers(0, 2**32), min_size=4, max_size=4))
@settings(max_examples=10, deadline=None)
async def test_the_client_makes_of_every_stream_what_it_says(seeds: list[int]) -> None:
    async with case_server() as server, Client(TIMEOUT_S) as client:
        for seed in seeds:
            case = make_case(random.Random(seed))
            found = observed(await server.ask(client, seed, case))
            assert fits(found, case), (seed, case.description, found, case.expected)
