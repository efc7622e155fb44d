"""Judges a deployment's quality run against earlier runs, asks again if the result is unsure, and keeps the result.

    review      reads the baselines and judges; writes nothing
    …           the caller publishes the scores, and whether the deployment is held
    conclude    adds the run to the history, and raises its alerts

A held deployment passes no quality floor in that category, whatever its score, for the cause of the drop is unknown. It
is held until a run is within the allowance, or until `accept`. The mark is written in one transaction with the score.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import NamedTuple

from slo_bench.errors import BenchError
from slo_bench.gate.alerts import Alert, raise_alert
from slo_bench.gate.baseline import Baseline, baseline, mean_scores
from slo_bench.gate.entry import QUALITY, Entry
from slo_bench.gate.history import HistoryCell, latest, record
from slo_bench.gate.ruling import LOOKS, Case, GatePolicy, Ruling, judge
from slo_router.contract.keys import metrics_key
from slo_router.contract.metrics_hash import QUALITY_HELD
from slo_router.contract.redis.link import AsyncClient

REGRESSED = 3  # exit code
Again = Callable[[Sequence[str]], Awaitable[Sequence[Entry]]]  # categories → one more answer to each of their items


@dataclass(frozen=True, slots=True)
class Review:
    """The run with its verdicts, over all answers, and its alerts."""

    entries: tuple[Entry, ...]
    alerts: tuple[Alert, ...]


class _Past(NamedTuple):
    baseline: Baseline | None  # `None` where the suite has no good run yet
    was_held: bool


async def review(
    link: AsyncClient, prefix: str, run: Sequence[Entry], policy: GatePolicy, again: Again | None = None
) -> Review:
    """Judges one deployment's run, an entry per category. Raises redis.RedisError where the past can't be read.

    Without `again`, or if it returns no more answers, the answers so far decide.
    """
    past = {entry.category: await _past(link, prefix, entry) for entry in run}
    found = {entry.category: entry for entry in run}
    look = 1 if again else LOOKS
    rulings = judge(_cases(past, found), policy, look)
    while again and (unsure := [category for category, one in rulings.items() if one.judgement == "unsure"]):
        more = [entry for entry in await again(unsure) if entry.scores]
        found |= {entry.category: together([found[entry.category], entry]) for entry in more}
        look = look + 1 if more else LOOKS
        rulings = judge(_cases(past, found), policy, look)
    entries = [_with_verdict(one, past[name], rulings.get(name), policy) for name, one in found.items()]
    held = [entry for entry in entries if entry.verdict == "regressed"]
    return Review(tuple(entries), tuple(_alert(entry, past[entry.category], rulings) for entry in held))


async def conclude(link: AsyncClient, prefix: str, found: Review) -> None:
    """Writes history and alerts. Raises redis.RedisError where they were not written.

    A run over the same kept answers as the last run is not added a second time.
    """
    for alert in found.alerts:
        await raise_alert(link, prefix, alert)
    for entry in found.entries:
        last = await latest(link, prefix, HistoryCell("quality", entry.deployment, entry.category), count=1)
        if not last or (last[0].at_s, last[0].scores) != (entry.at_s, entry.scores):
            await record(link, prefix, entry)


async def accept(link: AsyncClient, prefix: str, deployment: str, category: str) -> Entry:
    """Takes the last run as the new baseline and lets the deployment pass again. Raises BenchError where there is none.

    The history is written first. If the process is killed after that, the deployment is still held and can be accepted.
    """
    cell = HistoryCell("quality", deployment, category)
    last = await latest(link, prefix, cell, count=1)
    if not last:
        raise BenchError(f"--accept: {deployment} has no quality run in {category}, expected one to accept")
    accepted = replace(last[0], verdict="accepted")
    await record(link, prefix, accepted)
    await link.hdel(metrics_key(prefix, deployment, category), QUALITY_HELD)
    return accepted


def together(entries: Sequence[Entry]) -> Entry:
    """One entry for several runs over the same items."""
    scores = mean_scores(entries)
    figures = {**entries[-1].figures, QUALITY: fmean(scores.values())}
    return replace(entries[-1], n=sum(entry.n for entry in entries), scores=scores, figures=figures)


async def _past(link: AsyncClient, prefix: str, entry: Entry) -> _Past:
    entries = await latest(link, prefix, HistoryCell("quality", entry.deployment, entry.category))
    verdicts = [one.verdict for one in entries if one.verdict is not None]
    return _Past(baseline(entries, entry.fingerprint), verdicts[-1:] == ["regressed"])


def _cases(past: Mapping[str, _Past], found: Mapping[str, Entry]) -> dict[str, Case]:
    bases = ((category, past[category].baseline, entry) for category, entry in found.items())
    return {category: Case(base.scores, entry.scores) for category, base, entry in bases if base is not None}


def _with_verdict(entry: Entry, past: _Past, ruling: Ruling | None, policy: GatePolicy) -> Entry:
    """The entry with its verdict. A held deployment stays held until a comparison shows a drop within the allowance."""
    is_proven = ruling is not None and ruling.change is not None and -ruling.change.mean <= policy.allow_drop
    if past.was_held and not is_proven:
        return replace(entry, verdict="regressed")
    if ruling is None:
        return replace(entry, verdict="first")
    return replace(entry, verdict="good" if ruling.judgement == "unsure" else ruling.judgement)


def _alert(entry: Entry, past: _Past, rulings: Mapping[str, Ruling]) -> Alert:
    named = Alert(entry.at_s, "quality", entry.deployment, entry.model, entry.category, QUALITY, entry.n)
    change = rulings[entry.category].change if entry.category in rulings else None
    if change is None or past.baseline is None:
        return named
    before = fmean(past.baseline.scores[item] for item in past.baseline.scores if item in entry.scores)
    low, high = change.interval()
    after, at_s = before + change.mean, past.baseline.at_s
    return replace(named, before=before, after=after, low=low, high=high, baseline_at_s=at_s)
