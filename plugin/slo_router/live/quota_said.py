"""What the workers tell each other of a deployment's quota: when it refused, what is left, what each spent. Pure.

No worker trusts what another says: what makes no sense is left out. Of refusals, and of budgets of one kind, the latest
wins. What all workers spent of the same budget is added up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from slo_router.contract.units import CLOCK_SKEW_S
from slo_router.live.quota import BY_THE_MINUTE, LEARNED, LONGEST_S, RPM, TPM, Budget, Quota, turn
from slo_router.live.ratelimit import REQUESTS, TOKENS

KINDS = frozenset({RPM, TPM, LEARNED, REQUESTS, TOKENS})
MOST = 1e9  # a worker that says it spent more is not believed


def say(quota: Quota, now_s: float) -> dict[str, object]:
    """The quota for the other workers, in values that JSON has."""
    turn(quota, now_s)
    budgets = {
        kind: [_finite(one.limit), _finite(one.left), one.at_s, _finite(one.whole_s), one.spent]
        for kind, one in quota.budgets.items()
    }
    return {"refused": [quota.refused_at_s, quota.until_s, quota.is_said, quota.learned_at_s], "budgets": budgets}


def hear(quota: Quota | None, said: Iterable[object], now_s: float, rank: int = 0) -> Quota | None:
    """The quota after hearing all other workers. `said` is JSON that may be anything; `None`: no limit is known.

    `rank` is this worker's position among all.
    """
    told = [one for one in said if isinstance(one, Mapping)]
    if quota is None and not told:
        return None
    quota = quota or Quota()
    quota.workers, quota.rank = len(told) + 1, min(rank, len(told))
    quota.turns_at_s = 0.0
    for one in told:
        _hear_refusal(quota, one.get("refused"), now_s)
    turn(quota, now_s)
    heard: dict[str, list[Budget]] = {}
    for one in told:
        budgets = one.get("budgets")
        for kind, value in budgets.items() if isinstance(budgets, Mapping) else ():
            found = _budget(value, now_s)
            if kind in KINDS and found is not None:
                heard.setdefault(kind, []).append(found)
    quota.turns_at_s = 0.0
    for kind, theirs in heard.items():
        _merge(quota, kind, theirs)
    for kind, own in quota.budgets.items():
        own.unheard = (own.spent - own.spent_then) * len(told)
        own.spent_then, own.elsewhere = own.spent, sum(one.spent for one in heard.get(kind, ()) if one.at_s == own.at_s)
    return quota


def _finite(value: float) -> float | None:
    return value if value < math.inf else None


def _merge(quota: Quota, kind: str, theirs: list[Budget]) -> None:
    """Takes the latest budget. For what the configuration allows, only this worker's own budget counts."""
    own = quota.budgets.get(kind)
    latest = max(theirs, key=lambda one: (one.at_s, -one.limit))
    if kind in BY_THE_MINUTE or (own is not None and own.at_s > latest.at_s):
        return
    if own is None or own.at_s < latest.at_s:
        is_gradual = kind in (REQUESTS, TOKENS) and not quota.is_stepwise
        quota.budgets[kind] = Budget(latest.limit, latest.left, latest.at_s, latest.whole_s, is_gradual)
    elif kind == LEARNED and latest.limit < own.limit and (own.limit < math.inf or not quota.is_own):
        own.limit, own.left, own.whole_s = latest.limit, latest.left, latest.whole_s


def _hear_refusal(quota: Quota, value: object, now_s: float) -> None:
    match value:
        case [int() | float() as at_s, int() | float() as until_s, bool() as is_said, int() | float() as learned_at_s]:
            quota.learned_at_s = max(quota.learned_at_s, min(learned_at_s, now_s))
            if quota.refused_at_s < at_s <= now_s + CLOCK_SKEW_S and until_s <= at_s + LONGEST_S:
                quota.refused_at_s, quota.until_s, quota.is_said, quota.is_own = at_s, float(until_s), is_said, False
                quota.budgets.setdefault(LEARNED, Budget.window(math.inf, 0.0, math.inf))


def _budget(value: object, now_s: float) -> Budget | None:
    """Another worker's budget, as JSON brought it; `None` where it makes no sense or lies in the future."""
    match value:
        case [
            None | int() | float() as limit,
            None | int() | float() as left,
            int() | float() as at_s,
            None | int() | float() as whole_s,
            int() | float() as spent,
        ] if 0 <= at_s <= now_s + CLOCK_SKEW_S and 0 <= spent <= MOST and (whole_s is None or whole_s > at_s):
            limit = math.inf if limit is None else float(limit)
            left = limit if left is None else float(left)
            if limit <= 0 or left < 0:
                return None
            return Budget(limit, left, float(at_s), math.inf if whole_s is None else float(whole_s), spent=float(spent))
        case _:
            return None
