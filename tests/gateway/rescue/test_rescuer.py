"""While LiteLLM asks again by itself in the middle of a stream, the headers wait, and name the answering deployment."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from slo_router.contract.model import Facts
from slo_router.telemetry.telemetry import Telemetry
from slo_router.worker.attempt import Attempt
from slo_router.worker.strategy import Strategy
from slo_router.worker.trace import Trace
from tests.shared.builders import NOW_S, decided

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # no download of the price map
os.environ.setdefault("LITELLM_MODE", "PRODUCTION")  # no .env file of whoever runs this
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # LiteLLM's own
    from slo_router.gateway.rescue import rescuer as module
    from slo_router.gateway.rescue.ahead import Ahead, is_left
    from slo_router.gateway.rescue.rescuer import Rescuer
    from slo_router.gateway.rescue.told import told

TOKEN = {"choices": [{"delta": {"content": "a"}}]}


async def _asked_again(trace: Trace) -> AsyncIterator[object]:
    """LiteLLM's stream: the first attempt broke, the second attempt answers."""
    await asyncio.sleep(0.05)
    trace.begin(Attempt("b", is_sent=True))
    yield TOKEN


def test_the_headers_wait_for_whom_litellm_asks_by_itself() -> None:
    trace = Trace("anthropic_messages", NOW_S, group="smart", stream=True)
    trace.decision = decided([Facts("a", "m"), Facts("b", "m")])
    trace.begin(Attempt("a", is_sent=True, ending="error", deadline_s=1.0))  # long ago
    trace.attempts.append(Attempt("a", is_sent=True, deadline_s=1.0))
    rescuer = Rescuer(None, cast("Strategy", None), Telemetry({}, CollectorRegistry(), NOW_S))

    async def run() -> None:
        reading = asyncio.ensure_future(rescuer.read_ahead(trace, _asked_again(trace), {}, None))
        await asyncio.sleep(0)
        trace.attempts[1].ending = "error"
        await reading

    asyncio.run(run())
    assert trace.ahead is not None
    assert trace.ahead.first_token_s is not None
    assert told(trace)["x-litellm-model-id"] == "b"


class Armed:
    """A fake alarm of an attempt."""

    def __init__(self) -> None:
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Purse:
    """A fake budget with this much left."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, *_: object) -> bool:
        self.left -= 1
        return self.left >= 0


class Somebody:
    """A fake of the rescues in which another deployment can answer."""

    def __init__(self, left: int = 0) -> None:
        self.budget = Purse(left)

    def has_other(self, *_: object) -> bool:
        return True


class Others:
    """A fake strategy with what is used here. `left` is its budget."""

    def __init__(self, left: int = 0) -> None:
        self.rescues = Somebody(left)

    def finish(self, *_: object) -> None:
        """Nothing is learned."""


async def _breaks() -> AsyncIterator[object]:
    raise ConnectionError("cut")
    yield TOKEN


async def _answers() -> AsyncIterator[object]:
    yield TOKEN


def test_the_alarm_of_the_call_that_follows_a_broken_stream_does_not_ring_while_it_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trace, alarm = Trace("acompletion", NOW_S, group="smart", stream=True), Armed()
    trace.decision = decided([Facts("a", "m"), Facts("b", "m")])
    trace.begin(Attempt("a", is_sent=True, deadline_s=4e9))

    async def again(*_: object) -> tuple[object, dict[str, object]]:
        trace.begin(Attempt("b", is_sent=True))
        trace.alarm = alarm
        return _answers(), {}

    monkeypatch.setattr(module, "again", again)
    rescuer = Rescuer(None, cast("Strategy", Others()), Telemetry({}, CollectorRegistry(), NOW_S))
    asyncio.run(rescuer.read_ahead(trace, _breaks(), {}, None))
    assert (trace.sent_to, trace.repeats) == (["a", "b"], 1)
    assert alarm.is_cancelled


class Emptied:
    """A chat of LiteLLM's that ends without a word, and without an end from its server."""

    fallback_headers_adopted = False

    def __init__(self) -> None:
        self.chunks: list[object] = []

    def __aiter__(self) -> AsyncIterator[object]:
        return self._pieces()

    async def _pieces(self) -> AsyncIterator[object]:
        yield SimpleNamespace(choices=[SimpleNamespace(finish_reason="stop", delta=None)])


@pytest.mark.parametrize("left", [0, 1])
def test_an_answer_without_a_word_is_asked_for_again_while_the_budget_lasts(
    left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = Trace("acompletion", NOW_S, group="smart", stream=True)
    trace.decision = decided([Facts("a", "m"), Facts("b", "m")])
    trace.begin(Attempt("a", is_sent=True, deadline_s=4e9))

    async def again(*_: object) -> tuple[object, dict[str, object]]:
        trace.begin(Attempt("b", is_sent=True))
        return _answers(), {}

    monkeypatch.setattr(module, "again", again)
    rescuer = Rescuer(None, cast("Strategy", Others(left)), Telemetry({}, CollectorRegistry(), NOW_S))
    asyncio.run(rescuer.read_ahead(trace, Emptied(), {}, None))
    assert trace.sent_to == ["a", "b"][: 1 + left]


class Late:
    """A stream whose first token comes when a test says so, unless the stream is cut."""

    def __init__(self) -> None:
        self.comes, self.is_cut = asyncio.Event(), False

    async def __aiter__(self) -> AsyncIterator[object]:
        await self.comes.wait()
        if self.is_cut:
            raise ConnectionError("cut")
        yield TOKEN


def test_a_late_stream_is_read_on_where_the_one_in_its_place_is_silent_and_breaks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trace = Trace("atext_completion", NOW_S, group="smart", stream=True)
    trace.decision = decided([Facts("a", "m"), Facts("b", "m")])
    trace.begin(Attempt("a", is_sent=True, deadline_s=4e9))
    given_up: list[str] = []

    async def run() -> tuple[object, bool]:
        late, second = Late(), Late()
        second.is_cut = True

        async def again(*_: object) -> tuple[object, dict[str, object]]:
            trace.begin(Attempt("b", is_sent=True))
            second.comes.set()
            asyncio.get_running_loop().call_later(0.2, late.comes.set)
            return second, {}

        monkeypatch.setattr(module, "again", again)
        others = Others()
        others.rescues.has_other = lambda *_: False  # type: ignore[method-assign]
        others.supersede = lambda _: given_up.append("b")  # type: ignore[attr-defined]
        rescuer = Rescuer(None, cast("Strategy", others), Telemetry({}, CollectorRegistry(), NOW_S))
        first = Ahead(late, late.__aiter__())
        await first.token_within(0)
        second_is = await rescuer._another(first, trace, {}, None, 5.0)
        return second_is, await first.token_within(5)

    assert asyncio.run(run()) == (None, True)
    assert given_up == ["b"]


def test_yet_another_is_asked_where_the_one_in_its_place_is_silent_and_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = Trace("acompletion", NOW_S, group="smart", stream=True)
    trace.decision = decided([Facts("a", "m"), Facts("b", "m"), Facts("c", "m")])
    trace.begin(Attempt("a", is_sent=True, deadline_s=4e9))

    async def run() -> Ahead | None:
        broken, third = Late(), Late()
        broken.is_cut = True
        third.comes.set()
        answers = iter([("b", broken), ("c", third)])

        async def again(*_: object) -> tuple[object, dict[str, object]]:
            name, answer = next(answers)
            trace.begin(Attempt(name, is_sent=True, deadline_s=4e9))
            asyncio.get_running_loop().call_later(0.1, broken.comes.set)  # after its deadline
            return answer, {}

        monkeypatch.setattr(module, "again", again)
        rescuer = Rescuer(None, cast("Strategy", Others()), Telemetry({}, CollectorRegistry(), NOW_S))
        silent = Late()
        first = Ahead(silent, silent.__aiter__())
        await first.token_within(0)
        return await rescuer._another(first, trace, {}, None, 0.05)

    found = asyncio.run(run())
    assert trace.sent_to == ["a", "b", "c"]
    assert found is not None
    assert found.first_token_s is not None


def test_while_another_is_asked_nobody_is_for_the_stream_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the stream breaks, LiteLLM asks again by itself, and the headers would name the deployment that it asked."""
    trace = Trace("anthropic_messages", NOW_S, group="smart", stream=True)
    trace.decision = decided([Facts("a", "m"), Facts("b", "m")])
    trace.begin(Attempt("a", is_sent=True, deadline_s=4e9))
    breaks, found = asyncio.Event(), list[bool]()

    async def first() -> AsyncIterator[object]:
        found.append(is_left())
        await breaks.wait()
        found.append(is_left())
        yield TOKEN

    async def again(*_: object) -> tuple[object, dict[str, object]]:
        trace.begin(Attempt("b", is_sent=True))
        breaks.set()
        await asyncio.sleep(0.05)
        found.append(is_left())  # LiteLLM's own request
        return _answers(), {}

    async def run() -> None:
        monkeypatch.setattr(module, "again", again)
        rescuer = Rescuer(None, cast("Strategy", Others()), Telemetry({}, CollectorRegistry(), NOW_S))
        stream = first()
        ahead = Ahead(stream, stream)
        await ahead.token_within(0)
        await asyncio.sleep(0)
        assert await rescuer._another(ahead, trace, {}, None, 5.0) is not None

    asyncio.run(run())
    assert found == [False, True, False]
