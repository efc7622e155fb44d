"""The lower bound on cost: knows every queue, every size and every latency to come, and takes the cheapest that fits.

For each deployment the clairvoyant knows the answer's length and whether it would refuse the request. It foresees the
exact TTFT of a request that is sent now: queues are FCFS, so later arrivals cannot change that TTFT. Only a fault that
begins or ends meanwhile can change it, and the clairvoyant knows only present faults. Later arrivals do change the end
of a whole answer, so it foresees that at the present load. It is greedy: it does not keep a fast endpoint free for a
request that has not come yet. So it is a bound for its own arrivals, not for all schedules.

`Planning` does keep a fast endpoint free. It pays a price for each second of a stay at one endpoint. A request whose
contract cannot be kept goes to an endpoint without a price, whatever its quality. The study tries several prices at
each endpoint, on the very requests that come, and takes the price that kept most contracts: a planner knows that price
beforehand. It is no upper bound: a price that changes with time could do better still.

`Present` is a router that sees all endpoints at this moment and nothing of the future: neither how long an answer gets,
nor the noise. Its one price never changes, and it keeps to the quality floor. No router that does not know the future
can gain what `Present` loses to `Planning`. A plugin loses to `Present` because it sees less: it has to learn
capacities, and it knows the other workers' loads of a second ago.
"""

# ruff: noqa: ARG002  # every policy has the same signatures
from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

from evaluation.simulator.endpoint import Attempt, Endpoint
from evaluation.simulator.engine import affordable
from evaluation.simulator.policy import Call, Choice, Policy
from evaluation.simulator.workload import Noise, Request

AVERAGE = Noise(1.0, 1.0, 1.0)


class Clairvoyant(Policy):
    """See the module. It ignores cooldowns."""

    endpoints: Sequence[Endpoint] = ()

    def choose(self, call: Call, now_s: float) -> Choice:
        """The cheapest endpoint that keeps the contract; if none does, the one of `lost`."""
        request = call.request
        ranks: list[tuple[bool, bool, float, int]] = []
        for i, endpoint in enumerate(self.endpoints):
            output_tokens = request.answers[i]
            time_s = now_s - request.at_s + foreseen_s(endpoint, request, i, now_s)
            fits = affordable(endpoint.spec, request, output_tokens)
            kept = fits and time_s <= request.contract.time_s
            cost_usd = endpoint.spec.cost_usd(request.prompt_tokens, output_tokens)
            if kept:
                cost_usd += self.charge_usd(i, request)
            ranks.append((not kept, not fits, cost_usd if kept else time_s, i))
        best = min(ranks)
        return Choice(self.lost(call, now_s) if best[0] else best[-1])

    def charge_usd(self, at: int, request: Request) -> float:
        """The price of a stay at an endpoint, on top of the answer's cost."""
        return 0.0

    def lost(self, call: Call, now_s: float) -> int:
        """The endpoint for a request whose contract none can keep: the fastest of the affordable, else of all."""
        request = call.request

        def rank(at: int) -> tuple[bool, float]:
            fits = affordable(self.endpoints[at].spec, request, request.answers[at])
            return not fits, foreseen_s(self.endpoints[at], request, at, now_s)

        return min(range(len(self.endpoints)), key=rank)


class Planning(Clairvoyant):
    """See the module. `prices` are USD per second, by endpoint."""

    prices: Sequence[float] = ()

    def charge_usd(self, at: int, request: Request) -> float:
        """The endpoint's price × the seconds that the request would stay there at the present load."""
        if not self.prices[at]:
            return 0.0
        endpoint, noise = self.endpoints[at], request.noise[at]
        prefill_s = request.prompt_tokens * endpoint.spec.prefill_s_per_token * noise.prefill
        decode_s = request.answers[at] * noise.decode * endpoint.tpot_s(endpoint.running + 1)
        return self.prices[at] * (prefill_s + decode_s)

    def lost(self, call: Call, now_s: float) -> int:
        """The endpoint where the request costs others least."""
        request = call.request

        def rank(at: int) -> tuple[bool, float, float]:
            endpoint = self.endpoints[at]
            refuses = endpoint.down is not None or endpoint.refusal(request, now_s) is not None
            return refuses, self.prices[at], endpoint.spec.cost_usd(request.prompt_tokens, request.answers[at])

        return min(range(len(self.endpoints)), key=rank)


class Present(Planning):
    """See the module. `answer_tokens` is the mean answer of all requests."""

    answer_tokens: float = 0.0

    def choose(self, call: Call, now_s: float) -> Choice:
        """The endpoint with the lowest cost plus price of the stay that is expected to keep the contract.

        If none is, the endpoint with the lowest price among those of enough quality, else among all.
        """
        request = call.request
        ranks: list[tuple[bool, bool, float, float, int]] = []
        for i, endpoint in enumerate(self.endpoints):
            spec, tokens = endpoint.spec, round(self.answer_tokens)
            time_s = now_s - request.at_s + self._expected_s(endpoint, request, now_s)
            kept = affordable(spec, request, tokens) and time_s <= request.contract.time_s
            poor = spec.quality[request.category] < request.contract.min_quality
            cost_usd = spec.cost_usd(request.prompt_tokens, tokens)
            stay_s = request.prompt_tokens * spec.prefill_s_per_token + tokens * endpoint.tpot_s(endpoint.running + 1)
            price = self.prices[i]
            ranks.append((not kept, poor, cost_usd + price * stay_s if kept else price, cost_usd, i))
        return Choice(min(ranks)[-1])

    def _expected_s(self, endpoint: Endpoint, request: Request, now_s: float) -> float:
        """The expected TTFT. The tight scenarios, which use this router, have only streams."""
        if endpoint.down is not None or endpoint.refusal(request, now_s) is not None:
            return math.inf
        slots = endpoint.spec.slots
        if endpoint.running < slots:
            return endpoint.prefilled_s(request, AVERAGE, now_s, endpoint.prefill_free_s) - now_s
        release_s = self.answer_tokens * endpoint.tpot_s(slots) / slots
        return endpoint.prefilled_s(request, AVERAGE, 0.0, 0.0) + (len(endpoint.queue) + 1) * release_s


def foreseen_s(endpoint: Endpoint, request: Request, at: int, now_s: float) -> float:
    """The time that the contract limits, if the request goes to endpoint `at` now; infinite if the endpoint refuses."""
    if endpoint.refusal(request, now_s) is not None:
        return math.inf
    noise = request.noise[at]
    ttft_s = foreseen_ttft_s(endpoint, request, noise, now_s)
    if request.ask.stream:
        return ttft_s
    return ttft_s + (request.answers[at] - 1) * noise.decode * endpoint.tpot_s(endpoint.running + 1)


def foreseen_ttft_s(endpoint: Endpoint, request: Request, noise: Noise, now_s: float) -> float:
    """The TTFT of a request that is sent to this endpoint now; infinite while the endpoint is down."""
    if endpoint.down is not None:
        return math.inf
    held_s = endpoint.stall_s(request)
    if endpoint.running < endpoint.spec.slots:
        return endpoint.prefilled_s(request, noise, now_s, endpoint.prefill_free_s) + held_s - now_s
    releases = _releases(endpoint, now_s)
    free_s, full_s = endpoint.prefill_free_s, endpoint.tpot_s(endpoint.spec.slots)
    for attempt in endpoint.queue:
        free_s = endpoint.prefilled_s(attempt.request, attempt.noise, releases[0], free_s)
        heapq.heapreplace(releases, free_s + endpoint.stall_s(attempt.request) + attempt.work * full_s)
    return endpoint.prefilled_s(request, noise, releases[0], free_s) + held_s - now_s


def _releases(endpoint: Endpoint, now_s: float) -> list[float]:
    """When each slot becomes free, as a heap. All slots are taken, and stay taken until the request gets one."""
    tpot_s = endpoint.tpot_s(endpoint.spec.slots)
    tokens = endpoint.tokens + (now_s - endpoint.read_s) / tpot_s
    decoding = [now_s + (end - tokens) * tpot_s for end, _, _ in endpoint.decoding]
    prefilling = [_first_token_s(attempt) + attempt.work * tpot_s for attempt in endpoint.prefilling]
    releases = decoding + prefilling
    heapq.heapify(releases)
    return releases


def _first_token_s(attempt: Attempt) -> float:
    return attempt.first_token_s or 0.0
