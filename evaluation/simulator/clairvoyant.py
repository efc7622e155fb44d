"""The lower bound on cost: knows every queue, every size and every latency to come, and takes the cheapest that fits.

For each deployment it knows the length of the answer and who would refuse it, and foresees the exact TTFT of a request
sent now. Queues are FCFS, so that later arrivals cannot change it; only a fault that begins or ends meanwhile can, and
of those it knows the present alone. The end of a whole answer it foresees at the present load, for that later arrivals
do change. It is greedy: it does not keep a fast endpoint free for a request that has not come yet, so a bound for its
own arrivals, not for all schedules.

`Planning` does keep it free: it pays a price for each second of a stay at one endpoint, and what cannot be kept goes
where no price is, whatever its quality. Of several prices at each endpoint the study takes the one with which most was
kept, on the very requests that come: who plans ahead knows it. It is no upper bound: a price that changes with time
could do better still.

`Present` is what a router could be that sees all endpoints at this moment and nothing of what comes: neither how long
an answer gets, nor the noise. It has one price all the time, and keeps to the quality floor. What it loses beside
`Planning` nobody can have who does not know the future; what a plugin loses beside it comes of seeing less: capacities
that it has to learn, and other workers' loads of a second ago.
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
    """See the module. Cooldowns do not concern it."""

    endpoints: Sequence[Endpoint] = ()

    def choose(self, call: Call, now_s: float) -> Choice:
        """The cheapest that keeps the contract; where none does, the one that would be fastest among the affordable."""
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
        """What a stay at an endpoint costs beside the answer."""
        return 0.0

    def lost(self, call: Call, now_s: float) -> int:
        """Where a request goes whose contract nobody can keep: who would be fastest among the affordable."""
        request = call.request

        def rank(at: int) -> tuple[bool, float]:
            fits = affordable(self.endpoints[at].spec, request, request.answers[at])
            return not fits, foreseen_s(self.endpoints[at], request, at, now_s)

        return min(range(len(self.endpoints)), key=rank)


class Planning(Clairvoyant):
    """See the module. `prices` are USD per second, by endpoint."""

    prices: Sequence[float] = ()

    def charge_usd(self, at: int, request: Request) -> float:
        """By how long it would stay at the present load."""
        if not self.prices[at]:
            return 0.0
        endpoint, noise = self.endpoints[at], request.noise[at]
        prefill_s = request.prompt_tokens * endpoint.spec.prefill_s_per_token * noise.prefill
        decode_s = request.answers[at] * noise.decode * endpoint.tpot_s(endpoint.running + 1)
        return self.prices[at] * (prefill_s + decode_s)

    def lost(self, call: Call, now_s: float) -> int:
        """Where it costs others least."""
        request = call.request

        def rank(at: int) -> tuple[bool, float, float]:
            endpoint = self.endpoints[at]
            refuses = endpoint.down is not None or endpoint.refusal(request, now_s) is not None
            return refuses, self.prices[at], endpoint.spec.cost_usd(request.prompt_tokens, request.answers[at])

        return min(range(len(self.endpoints)), key=rank)


class Present(Planning):
    """See the module. `answer_tokens` is the mean over all."""

    answer_tokens: float = 0.0

    def choose(self, call: Call, now_s: float) -> Choice:
        """The cheapest that is expected to keep the contract, prices of stays on top; else the least priced."""
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
        """The TTFT of streams: the tight scenarios have no others."""
        if endpoint.down is not None or endpoint.refusal(request, now_s) is not None:
            return math.inf
        slots = endpoint.spec.slots
        if endpoint.running < slots:
            return endpoint.prefilled_s(request, AVERAGE, now_s, endpoint.prefill_free_s) - now_s
        release_s = self.answer_tokens * endpoint.tpot_s(slots) / slots
        return endpoint.prefilled_s(request, AVERAGE, 0.0, 0.0) + (len(endpoint.queue) + 1) * release_s


def foreseen_s(endpoint: Endpoint, request: Request, at: int, now_s: float) -> float:
    """The time that counts of a request that is sent to this endpoint, the `at`-th, now; infinite where it refuses."""
    if endpoint.refusal(request, now_s) is not None:
        return math.inf
    noise = request.noise[at]
    ttft_s = foreseen_ttft_s(endpoint, request, noise, now_s)
    if request.ask.stream:
        return ttft_s
    return ttft_s + (request.answers[at] - 1) * noise.decode * endpoint.tpot_s(endpoint.running + 1)


def foreseen_ttft_s(endpoint: Endpoint, request: Request, noise: Noise, now_s: float) -> float:
    """The TTFT of a request that is sent to this endpoint now, infinite while it is down."""
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
    """When each slot will be free, as a heap; all are taken, and stay so until the request in question has one."""
    tpot_s = endpoint.tpot_s(endpoint.spec.slots)
    tokens = endpoint.tokens + (now_s - endpoint.read_s) / tpot_s
    decoding = [now_s + (end - tokens) * tpot_s for end, _, _ in endpoint.decoding]
    prefilling = [_first_token_s(attempt) + attempt.work * tpot_s for attempt in endpoint.prefilling]
    releases = decoding + prefilling
    heapq.heapify(releases)
    return releases


def _first_token_s(attempt: Attempt) -> float:
    return attempt.first_token_s or 0.0
