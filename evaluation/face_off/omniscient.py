"""What a router could do that knows everything: a yardstick, computed from the emulator's numbers. Pure.

The router takes requests one after another. It knows every queue, the length of every answer, which endpoints would
refuse the request, and every fault as soon as it begins. It sends each request to the cheapest endpoint that keeps the
contract. If none does, it takes the fastest endpoint of enough quality, or else the fastest of all. It is greedy: it
does not plan ahead, so it is no strict bound. The proxy's own time, jitter and the wait for the prefill are left out.
So it looks a little better than any router could be.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence

from evaluation.emulator.spec import Allowance
from evaluation.face_off.arrivals import Arrival
from evaluation.face_off.outcome import Outcome, judge
from evaluation.face_off.world import Deployment, Phase

MS = 0.001
MICRO = 1e-6


class _Queue:
    """The slots of one endpoint, as the instants at which each becomes free."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self._free_at_s = [float("-inf")] * deployment.spec.slots
        self._now_s = 0.0
        self._allowance = Allowance(deployment.spec, lambda: self._now_s)

    def refuses(self, arrival: Arrival) -> bool:
        """Whether the endpoint would refuse the request."""
        self._now_s = arrival.at_s
        is_wrong = arrival.ask.fault is not None or arrival.prompt_tokens >= self.deployment.spec.context_tokens
        return is_wrong or not self._allowance.lets_pass()

    def outcome(self, arrival: Arrival, factor: float) -> Outcome:
        """What would happen to the request at this endpoint."""
        spec, at_s = self.deployment.spec, arrival.at_s
        wait_s = max(0.0, self._free_at_s[0] - at_s)
        busy = sum(free_at_s > at_s + wait_s for free_at_s in self._free_at_s)
        prefill_s = factor * (spec.ttft_ms * MS + arrival.prompt_tokens * spec.prefill_us_per_token * MICRO)
        tpot_s = factor * spec.tpot_ms * MS * (1 + spec.tpot_growth * busy)
        ttft_s = wait_s + prefill_s
        output_tokens = arrival.output_tokens(self.deployment)
        e2e_s = ttft_s + tpot_s * (output_tokens - 1)
        return Outcome(arrival, self.deployment.name, ttft_s, e2e_s, arrival.prompt_tokens, output_tokens)

    def take(self, outcome: Outcome) -> None:
        """Sends the request to this endpoint."""
        self._allowance.wait_s()
        heapq.heapreplace(self._free_at_s, outcome.arrival.at_s + (outcome.e2e_s or 0.0))


def route(
    requests: Iterable[Arrival], phase: Phase, seconds: float, among: Sequence[Deployment] | None = None
) -> list[Outcome]:
    """The outcome of every counted request. `seconds` is the phase's length; `among` replaces its fleet."""
    queues = {deployment.name: _Queue(deployment) for deployment in among or phase.fleet}
    outcomes = []
    for arrival in requests:
        options = list(_options(queues.values(), arrival, phase, arrival.at_s / seconds))
        if options:
            best = min(options, key=_preference)
            queues[best.deployment or ""].take(best)
        else:
            best = Outcome(arrival, error="nobody answers")
        outcomes.append(best)
    return [outcome for outcome in outcomes if outcome.arrival.counted]


def _options(queues: Iterable[_Queue], arrival: Arrival, phase: Phase, at: float) -> Iterator[Outcome]:
    for queue in queues:
        event = phase.fault(queue.deployment.name, at)
        is_well = event is None or event.fault.fault == "slow" or event.fault.share < 1  # it knows which requests stall
        if is_well and not queue.refuses(arrival):
            yield queue.outcome(arrival, event.fault.factor if event and event.fault.fault == "slow" else 1.0)


def _preference(outcome: Outcome) -> tuple[bool, bool, float]:
    """The lowest is best: contract kept first, then enough quality, then the cost if kept, else the time."""
    verdict = judge(outcome)
    time_s = outcome.ttft_s if outcome.arrival.ask.stream else outcome.e2e_s
    least = verdict.cost_usd if verdict.kept else time_s
    return (not verdict.kept, not verdict.quality, least or 0.0)
