"""An event loop without waiting: when all tasks sleep, its clock jumps to the next moment at which one wakes.

Computation takes no time on this clock. So a study of an emulated endpoint has only the endpoint's own noise, and an
hour passes in seconds. Nothing on this loop may wait for another process or thread.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from evaluation.emulator.answers import output_tokens, token_count
from evaluation.emulator.engine import Engine
from evaluation.emulator.spec import EndpointSpec
from slo_bench.measure.stream import Sample
from slo_bench.measure.targets import Target
from slo_bench.prompts.workload import Prompt

Result = TypeVar("Result")
STRIDE = 4  # tokens per wait: fewer timers, the same time


class _Jumping(selectors.SelectSelector):
    """A selector that does not wait: it adds the waiting time to the clock."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everybody waits, and nothing will happen")
        self.now_s += max(timeout, 0.0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jumping.now_s


def run(main: Callable[[VirtualLoop], Coroutine[Any, Any, Result]]) -> Result:
    """Runs `main(loop)` to its end."""
    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main(loop))


class VirtualEndpoint:
    """An emulated endpoint without HTTP: the engine alone, as a client would see it."""

    def __init__(self, spec: EndpointSpec, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._engine = Engine(spec, clock)

    async def measure(self, _: Target, prompt: Prompt) -> Sample:
        """Does what `slo_bench.measure.client.Client.measure` does."""
        sent_s, text = self._clock(), "".join(str(message.get("content")) for message in prompt.messages)
        count = min(output_tokens(text, self._engine.spec.output_tokens), prompt.max_tokens)
        async with self._engine.admit(token_count(text)) as served:
            await served.first_token()
            first_s = self._clock()
            while served.generated < count:
                await served.more_tokens(min(STRIDE, count - served.generated))
            return Sample(first_s - sent_s, self._clock() - sent_s, token_count(text), count)
