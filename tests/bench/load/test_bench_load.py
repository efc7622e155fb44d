"""Load shapes: arrivals from a seed, traces, prompts of a given length, and a sender that keeps its schedule."""

from __future__ import annotations

import asyncio
import gzip
import statistics
from itertools import pairwise
from pathlib import Path
from time import sleep

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from evaluation.shared import virtual_time
from slo_bench.errors import StoppedError, WorkloadError
from slo_bench.load.arrivals import Arrival, gamma, rate_of, replay
from slo_bench.load.sending import Sender, Sent
from slo_bench.load.trace import load_trace, parse_trace
from slo_bench.measure.stream import Sample
from slo_bench.measure.targets import Target
from slo_bench.prompts.sizing import characters, resized, vocabulary
from slo_bench.prompts.workload import Prompt, load_workload
from slo_bench.summary.lag import MAX_P99_S, lag_of

TARGET = Target("a", "a", "http://gpu/v1")
PROMPT = Prompt("ner", ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who is it?"}), 8)
WORDS = vocabulary(load_workload(None).prompts)


def gaps(arrivals: tuple[Arrival, ...]) -> list[float]:
    times = [0.0, *(one.at_s for one in arrivals)]
    return [after - before for before, after in pairwise(times)]


@pytest.mark.parametrize("burstiness", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("rate", [0.5, 20.0])
def test_gaps_have_the_rates_mean_and_the_burstiness_spread(rate: float, burstiness: float) -> None:
    found = gaps(gamma(rate, burstiness, 20_000, seed=1))
    assert statistics.fmean(found) == pytest.approx(1 / rate, rel=0.05)
    assert statistics.pvariance(found) * rate**2 == pytest.approx(1 / burstiness, rel=0.15)


def test_a_poisson_process_has_as_much_variance_as_mean_in_any_window() -> None:
    counts = [0] * 1_000
    for one in gamma(10.0, 1.0, 9_800, seed=2):
        if one.at_s < 1_000:
            counts[int(one.at_s)] += 1
    assert statistics.pvariance(counts[:900]) / statistics.fmean(counts[:900]) == pytest.approx(1.0, abs=0.15)


def test_the_same_seed_sends_at_the_same_times_and_another_does_not() -> None:
    assert gamma(5, 1, 50, seed=3) == gamma(5, 1, 50, seed=3)
    assert gamma(5, 1, 50, seed=3) != gamma(5, 1, 50, seed=4)
    assert rate_of(gamma(5, 1, 10_000, seed=3)) == pytest.approx(5, rel=0.05)


def test_a_replay_starts_at_once_and_keeps_order_sizes_and_gaps_at_its_speed() -> None:
    trace = (Arrival(100.0, 374, 44), Arrival(104.0, 396, None), Arrival(104.0, None, 55))
    assert replay(trace, 2.0, 9) == (Arrival(0.0, 374, 44), Arrival(2.0, 396, None), Arrival(2.0, None, 55))
    assert len(replay(trace, 1.0, 2)) == 2


def test_a_trace_is_read_gzipped_or_not_up_to_the_number_asked_for(tmp_path: Path) -> None:
    text = "t_s,prompt_tokens,output_tokens\n0.0,374,44\n4.31,,\n9,7.0,0\n"
    (tmp_path / "t.csv").write_text(text)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(text.encode()))
    expected = (Arrival(0.0, 374, 44), Arrival(4.31), Arrival(9.0, 7, 1))
    assert load_trace(tmp_path / "t.csv", 9) == load_trace(tmp_path / "t.csv.gz", 9) == expected
    assert load_trace(tmp_path / "t.csv", 1) == expected[:1]
    assert parse_trace(["t_s\n", "3\n"], "t", 9) == (Arrival(3.0),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("at,prompt_tokens\n1,2", "t:1: column t_s: missing"),
        ("t_s\n", "t: no requests"),
        ("t_s\n5\n4", "t:3: t_s: '4', expected seconds, not before"),
        ("t_s\nsoon", "t:2: t_s: 'soon'"),
        ("t_s\nnan", "t:2: t_s: 'nan'"),
        ("t_s,prompt_tokens\n1,-5", "t:2: prompt_tokens: '-5'"),
        ("t_s,output_tokens\n1,1e9", "t:2: output_tokens: '1e9'"),
    ],
)
def test_a_trace_that_cannot_be_replayed_names_line_and_column(text: str, message: str) -> None:
    with pytest.raises(WorkloadError, match="^" + message.replace("'", ".")):
        parse_trace(text.splitlines(), "t", 9)


@pytest.mark.parametrize(
    ("name", "content"), [("missing.csv", None), ("a.csv.gz", b"t_s\n1\n"), ("b.csv", b"\xff\xfe")]
)
def test_a_file_that_is_no_trace_is_named(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(WorkloadError, match=name):
        load_trace(tmp_path / name, 9)


@given(st.integers(1, 5_000), st.text(max_size=4))
@example(5, "")
@settings(max_examples=40)
def test_a_prompt_gets_the_length_that_is_asked_for(length: int, seed: str) -> None:
    found = resized(PROMPT, length, WORDS, seed)
    assert abs(characters(found) - length) <= (length == characters(PROMPT) + 1)  # a blank line takes two
    assert found.messages[-1]["role"] == "user"


def test_a_longer_prompt_keeps_its_question_and_no_two_begin_alike() -> None:
    one, other = (resized(PROMPT, 2_000, WORDS, seed) for seed in ("1", "2"))
    assert one.messages[0] == PROMPT.messages[0]
    assert str(one.messages[1]["content"]).endswith("Who is it?")
    assert str(one.messages[1]["content"])[:40] != str(other.messages[1]["content"])[:40]
    assert one == resized(PROMPT, 2_000, WORDS, "1")


class Endpoint:
    def __init__(self, *, pause_s: float = 0.0, stop_at: int | None = None) -> None:
        self.pause_s, self.stop_at, self.calls, self.ended = pause_s, stop_at, 0, 0

    async def measure(self, _: Target, __: Prompt) -> Sample:
        self.calls += 1
        if self.calls == self.stop_at:
            raise StoppedError("the budget is spent")
        await asyncio.sleep(self.pause_s)
        self.ended += 1
        return Sample(0.1, 0.2, 10, 5)


def test_an_open_loop_sends_by_the_clock_whatever_is_on_its_way() -> None:
    sent: list[Sent] = []
    arrivals = [Arrival(i * 0.004) for i in range(20)]

    async def send(loop: virtual_time.VirtualLoop) -> None:
        sender = Sender(TARGET, Endpoint(pause_s=0.15).measure, sent.append, loop.time)
        await sender.open_loop([PROMPT] * 20, arrivals)

    virtual_time.run(send)
    assert [one.in_flight for one in sent] == list(range(20))  # none ended before the last was sent
    assert [one.sent_s for one in sent] == pytest.approx([arrival.at_s for arrival in arrivals])
    assert [one.lag_s for one in sent] == pytest.approx([0.0] * 20)


async def test_a_sender_that_is_held_up_says_so() -> None:
    sent: list[Sent] = []
    asyncio.get_running_loop().call_later(0.005, sleep, 0.05)
    await Sender(TARGET, Endpoint().measure, sent.append).open_loop([PROMPT] * 3, [Arrival(t / 100) for t in range(3)])
    lag = lag_of(one.lag_s for one in sent)
    assert lag is not None
    assert lag.max_s >= 0.03
    assert not lag.is_trusted


def test_lag_is_unmeasured_in_a_closed_loop_and_trusted_up_to_the_limit() -> None:
    assert lag_of([None, None]) is None
    lag = lag_of([MAX_P99_S] * 3)
    assert lag is not None
    assert (lag.p50_s, lag.p99_s, lag.max_s, lag.is_trusted) == (MAX_P99_S, MAX_P99_S, MAX_P99_S, True)


@pytest.mark.parametrize("shape", ["closed", "open"])
async def test_when_stopped_nothing_more_is_sent_and_the_rest_is_waited_for(shape: str) -> None:
    endpoint, sent = Endpoint(pause_s=0.01, stop_at=3), list[Sent]()
    sender = Sender(TARGET, endpoint.measure, sent.append)
    prompts, arrivals = [PROMPT] * 10, [Arrival(i * 0.003) for i in range(10)]
    with pytest.raises(StoppedError):
        await (sender.closed_loop(prompts, 2) if shape == "closed" else sender.open_loop(prompts, arrivals))
    assert endpoint.calls < 6
    assert endpoint.ended == len(sent) == endpoint.calls - 1
