"""What a deployment has left of its quota, over all workers. Pure.

Four sources tell of a limit. Each of the first three makes a `Budget`, an amount from one moment to another:

    the configuration     `rpm`, `tpm`: each minute of the clock, as LiteLLM counts
    the provider          x-ratelimit-… headers: what is left, and when all of it is there again
    a refusal (HTTP 429)  nothing is left until `Retry-After`. What passed between the ends of two such waits is the
                          limit from then on, so that the next window ends without a refusal
    max_parallel_requests how many may be on their way at once

A worker tells the others what it spent of a budget since the budget began. Each worker takes an equal part of what is
left. The remainder that cannot be divided goes to one worker, in each window to another. A reserve is kept for requests
that no other deployment can serve as asked. It shrinks towards the budget's end. A deployment without room is full, not
broken: its circuit, probes and error rate stay as they are.

A learned limit lapses, because the provider may allow more by now. The worker that learned it then tries first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum

from slo_router.contract.model import UNLIMITED, Limits
from slo_router.live.ratelimit import REQUESTS, TOKENS, Report

MINUTE_S = 60.0
RESERVE = 0.1  # part of a limit that is kept at the beginning of its time
FIRST_PAUSE_S = 2.0  # after a refusal that does not say until when; doubled with each one in a row
LONGEST_PAUSE_S = 60.0
LONGEST_S = 900.0  # a refusal that names a longer wait is believed for this long
ROUNDING_S, EDGE = 1.0, 0.2  # a learned window may begin up to this too late; a short one, up to EDGE of its length
USUAL_S = (60.0, 10.0, 1.0, 5.0, 15.0, 20.0, 30.0, 3_600.0)
LAPSES_AFTER = 10  # windows, and at least …
LAPSES_S = 120.0
HEARSAY = 2.0  # times as long at a worker that only heard of the limit

RPM, TPM, LEARNED = "rpm", "tpm", "learned"  # kinds of budgets, beside those that a provider reports
BY_TOKENS = frozenset({TPM, TOKENS})
BY_THE_MINUTE = frozenset({RPM, TPM})


class Room(IntEnum):
    """What a deployment has room for."""

    ANY = 0
    NO_OTHER_WAY = 1  # requests that no other deployment can serve as asked
    NONE = 2


@dataclass(slots=True)
class Budget:
    """An amount, of which `left` is there at `at_s`, and all of `limit` again at `whole_s`."""

    limit: float
    left: float
    at_s: float
    whole_s: float
    is_gradual: bool = False  # it fills evenly, and not at once at `whole_s`
    spent: float = 0.0  # since `at_s`, by this worker …
    spent_then: float = 0.0  # … when the others last reported
    elsewhere: float = 0.0  # by the others, as they last reported …
    unheard: float = 0.0  # … and probably since: each as much as this worker between the last two reports
    late: float = 0.0  # the part of `spent` from shortly before `whole_s`

    @classmethod
    def window(cls, limit: float, from_s: float, to_s: float) -> Budget:
        """A budget of which all is left at `from_s`, and which ends at `to_s`."""
        return cls(limit, limit, from_s, to_s)

    def left_at(self, now_s: float) -> float:
        """What is left for all workers, before what they spent since `at_s` is subtracted."""
        if now_s >= self.whole_s:
            return self.limit
        if not self.is_gradual:
            return self.left
        return self.left + (self.limit - self.left) * (now_s - self.at_s) / (self.whole_s - self.at_s)

    def room(self, now_s: float, needed: float, workers: int, rank: int) -> Room:
        """Whether the worker at position `rank` of `workers` may spend `needed` of it."""
        since = self.spent - self.spent_then
        left = self.left_at(now_s) - self.spent_then - self.elsewhere - self.unheard
        takes_rest = int(self.at_s) % workers == rank
        if _part(left - self._reserve(now_s), needed, workers, takes_rest=takes_rest) - since >= needed:
            return Room.ANY
        mine = _part(left, needed, workers, takes_rest=takes_rest)
        return Room.NO_OTHER_WAY if mine - since >= needed else Room.NONE

    def _reserve(self, now_s: float) -> int:
        if self.limit == math.inf:
            return 0
        ahead = 1.0 if self.is_gradual else (self.whole_s - now_s) / (self.whole_s - self.at_s)
        return round(RESERVE * self.limit * min(max(ahead, 0.0), 1.0))

    def opens_s(self, now_s: float, needed: float) -> float:
        """When `needed` will be there, if nobody spends any more."""
        missing = needed + self.spent + self.elsewhere - self.left_at(now_s)
        if missing <= 0:
            return now_s
        if not self.is_gradual or self.limit <= self.left:
            return self.whole_s
        return min(now_s + missing * (self.whole_s - self.at_s) / (self.limit - self.left), self.whole_s)


def _part(left: float, needed: float, workers: int, *, takes_rest: bool) -> float:
    """One worker's equal part of what is left, in multiples of `needed`; with `takes_rest` the remainder, too."""
    if workers == 1 or left == math.inf:
        return left
    part = left / workers // needed * needed
    return left - (workers - 1) * part if takes_rest else part


@dataclass(slots=True)
class Quota:
    """One deployment's quota. Times are Unix seconds."""

    limits: Limits = UNLIMITED
    budgets: dict[str, Budget] = field(default_factory=dict)
    workers: int = 1
    rank: int = 0  # of this worker among them
    refused_at_s: float = 0.0  # the last refusal, of all workers
    until_s: float = 0.0  # after that refusal it has no room until this moment
    is_said: bool = False  # the provider named that moment
    in_a_row: int = 0  # refusals that did not name it, one after another
    learned_at_s: float = 0.0
    is_own: bool = False  # this worker learned the limit itself
    is_stepwise: bool = False  # a provider's budget does not fill evenly: it refused while an even one had room
    turns_at_s: float = 0.0  # when `turn` has something to do again


def of_limits(quota: Quota | None, limits: Limits) -> Quota | None:
    """The quota with what the configuration allows now; `None` where nothing limits the deployment."""
    if limits == (UNLIMITED if quota is None else quota.limits):
        return quota
    quota = quota or Quota()
    quota.limits, quota.turns_at_s = limits, 0.0
    for kind in BY_THE_MINUTE:
        quota.budgets.pop(kind, None)
    return quota


def room(quota: Quota, now_s: float, tokens: float, in_flight: float) -> Room:
    """What there is room for, if a request of `tokens` is to go there beside the requests `in_flight`."""
    if now_s < quota.until_s or (quota.limits.at_once is not None and in_flight >= quota.limits.at_once):
        return Room.NONE
    turn(quota, now_s)
    found = Room.ANY
    for kind, budget in quota.budgets.items():
        needed = min(tokens, budget.limit) if kind in BY_TOKENS else 1.0
        found = max(found, budget.room(now_s, needed, quota.workers, quota.rank))
    return found


def opens_s(quota: Quota, now_s: float, tokens: float, in_flight: float, poll_s: float) -> float:
    """When it has room, Unix seconds. With all the requests that it may have at once: in `poll_s` or later."""
    found = max(now_s, quota.until_s)
    if quota.limits.at_once is not None and in_flight >= quota.limits.at_once:
        found = max(found, now_s + poll_s)
    for kind, budget in quota.budgets.items():
        found = max(found, budget.opens_s(now_s, min(tokens, budget.limit) if kind in BY_TOKENS else 1.0))
    return found


def headroom(quota: Quota, now_s: float) -> float:
    """The part of the tightest limit that is left, 0..1, over all workers."""
    if now_s < quota.until_s:
        return 0.0
    turn(quota, now_s)
    left = [1.0] + [
        (one.left_at(now_s) - one.spent - one.elsewhere) / one.limit
        for one in quota.budgets.values()
        if 0 < one.limit < math.inf
    ]
    return max(min(left), 0.0)


def spend(quota: Quota, now_s: float, tokens: float) -> None:
    """A request of `tokens` goes there."""
    turn(quota, now_s)
    for kind, budget in quota.budgets.items():
        budget.spent += tokens if kind in BY_TOKENS else 1.0
        if kind == LEARNED and now_s >= budget.whole_s - min(ROUNDING_S, EDGE * (budget.whole_s - budget.at_s)):
            budget.late += 1.0


def give_back(quota: Quota, sent_at_s: float, requests: float, tokens: float) -> None:
    """Takes off what was counted at `sent_at_s` and not spent. Below 0: more was spent than counted."""
    for kind, budget in quota.budgets.items():
        if budget.at_s <= sent_at_s:
            budget.spent = max(budget.spent - (tokens if kind in BY_TOKENS else requests), 0.0)


def refused(quota: Quota, now_s: float, sent_at_s: float, wait_s: float | None) -> None:
    """An attempt got a 429 that says to wait for `wait_s`; `None`: it does not say how long.

    An attempt that was sent before the last such wait was over tells nothing new. The caller gives back what it spent.
    """
    turn(quota, now_s)
    window = quota.budgets.get(LEARNED)
    if window is not None and sent_at_s < window.at_s:
        return
    said = quota.budgets.get(REQUESTS)
    if said is not None and said.is_gradual and said.room(now_s, 1.0, 1, 0) is not Room.NONE:
        quota.is_stepwise, said.is_gradual = True, False
    if wait_s is None:
        if sent_at_s >= quota.refused_at_s:
            quota.in_a_row += 1
        wait_s = min(FIRST_PAUSE_S * 2.0 ** (quota.in_a_row - 1), LONGEST_PAUSE_S) if quota.in_a_row else FIRST_PAUSE_S
        is_said = False
    else:
        is_said, quota.in_a_row = True, 0
    if now_s < quota.until_s and quota.is_said and not is_said:
        return
    quota.refused_at_s, quota.is_said, quota.is_own = now_s, is_said, True
    quota.until_s = max(now_s + min(max(wait_s, 0.0), LONGEST_S), quota.until_s if now_s < quota.until_s else 0.0)
    if window is not None and is_said and window.whole_s <= quota.until_s < window.whole_s + ROUNDING_S:
        quota.until_s = max(window.whole_s, now_s)  # the wait of an earlier refusal was rounded up by less
    if window is None:
        quota.budgets[LEARNED] = Budget.window(math.inf, 0.0, math.inf)
    quota.turns_at_s = 0.0


def answered(quota: Quota) -> None:
    """An answer came."""
    quota.in_a_row = 0


def reported(quota: Quota, report: Report, sent_at_s: float, under_way: float) -> None:
    """The answer to a request sent at `sent_at_s` says what is left. This worker has spent `under_way` since."""
    known = quota.budgets.get(report.kind)
    if known is not None and known.at_s > sent_at_s:
        return
    quota.turns_at_s = 0.0
    limit = report.limit or (known.limit if known is not None else report.left)
    whole_s = sent_at_s + MINUTE_S if report.whole_at_s is None else report.whole_at_s
    if limit <= 0 or whole_s <= sent_at_s:
        quota.budgets.pop(report.kind, None)
        return
    is_gradual = not quota.is_stepwise and report.whole_at_s is not None
    quota.budgets[report.kind] = Budget(
        max(limit, report.left), report.left, sent_at_s, whole_s, is_gradual, under_way, under_way
    )


def _usual(length_s: float) -> float:
    """The usual length within a second of `length_s`; else `length_s` and a second.

    Waits are named in whole seconds, so a window seems longer or shorter by up to a second. A window that is taken for
    too short would end in refusals. One that is taken for too long would be wasted in part.
    """
    return next((usual_s for usual_s in USUAL_S if abs(length_s - usual_s) < ROUNDING_S), length_s + ROUNDING_S)


def turn(quota: Quota, now_s: float) -> None:
    """Begins new minutes and windows, and drops what a provider said of a time that is over."""
    if now_s < quota.turns_at_s:
        return
    limits = quota.limits
    for kind, limit in ((RPM, limits.rpm), (TPM, limits.tpm)):
        if limit is not None and (kind not in quota.budgets or now_s >= quota.budgets[kind].whole_s):
            minute_s = now_s // MINUTE_S * MINUTE_S
            quota.budgets[kind] = Budget.window(limit, minute_s, minute_s + MINUTE_S)
    for kind in (REQUESTS, TOKENS):
        if kind in quota.budgets and now_s >= quota.budgets[kind].whole_s:
            del quota.budgets[kind]
    window = quota.budgets.get(LEARNED)
    if window is not None:
        _turn_learned(quota, window, now_s)
    ends = [one.whole_s for one in quota.budgets.values()]
    quota.turns_at_s = min([*ends, quota.until_s if now_s < quota.until_s else math.inf])


def _turn_learned(quota: Quota, window: Budget, now_s: float) -> None:
    if quota.until_s > window.at_s:
        if now_s < quota.until_s:
            return
        length_s, passed = quota.until_s - window.at_s, window.spent + window.elsewhere
        if window.limit < math.inf:  # others may have used it, or a refused request is not reported yet
            passed = min(max(passed, window.limit // 2), window.limit)
        if window.at_s and quota.is_said and passed >= 1:  # from the end of one wait to the end of the next
            quota.budgets[LEARNED] = Budget.window(passed, quota.until_s, quota.until_s + _usual(length_s))
            quota.learned_at_s = quota.until_s
        else:
            quota.budgets[LEARNED] = Budget.window(math.inf, quota.until_s, math.inf)
    elif now_s >= window.whole_s:
        length_s = window.whole_s - window.at_s
        begin_s = window.at_s + (now_s - window.at_s) // length_s * length_s
        lasts_s = max(LAPSES_AFTER * length_s, LAPSES_S) * (1.0 if quota.is_own else HEARSAY)
        limit = math.inf if now_s - quota.learned_at_s > lasts_s else window.limit
        begun = quota.budgets[LEARNED] = Budget.window(limit, begin_s, begin_s + length_s)
        begun.spent = window.late if begin_s <= window.whole_s else 0.0  # the provider may have begun the new one then
