"""The report for a person: a table for each phase, and the bars."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence

from rich.table import Table

from evaluation.robustness.stalls.checks import COUNTED, Findings, summed
from evaluation.robustness.stalls.ledger import Booked
from evaluation.robustness.stalls.stage import HandedOn, Slice
from evaluation.robustness.stalls.world import NO_RESCUE, RESCUED, SILENCES, USD, Phase
from evaluation.shared.results import Aim, Spread

MS_PER_S = 1_000.0
Results = Mapping[str, Mapping[str, Sequence[Slice]]]  # phase → arm → repeats
OF_NO_RESCUE, OF_STEADY = 0.25, 1.5  # × P99 of the first content
LATE_MS = 250.0  # from a deadline to the next call: a busy worker needs this to look and to pick
BUDGET, STEADY_EXTRA, STEADY_CPU, STEADY_TTFT = 0.03, 0.003, 1.02, 1.05


def table_of(phase: Phase, rows: Mapping[str, Sequence[Slice]]) -> Table:
    """One line per arm."""
    table = Table(title=f"{phase.name}: {phase.title}; median of the repeats (lowest–highest)")
    table.add_column("arm", no_wrap=True)
    for name in ("P50 ms", "P99 ms", "longest ms", "in time %", "a/b/c %", "extra calls %", "rescued %", "CPU ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("lost", "broken", "mixed", "wrong headers", "slow to close"):
        table.add_column(name, justify="right")
    for arm, slices in rows.items():
        total = total_of(slices)
        counts = total.counts
        table.add_row(
            arm,
            _spread(MS_PER_S * one.p50_s for one in slices),
            _spread(MS_PER_S * one.p99_s for one in slices),
            _spread(MS_PER_S * one.ttft_s[-1] for one in slices),
            _spread(100 * one.kept for one in slices),
            "/".join(f"{100 * statistics.fmean(one.served.get(by, 0.0) for one in slices):.0f}" for by in USD),
            f"{100 * total.extra:.2f}",
            f"{100 * counts['rescued'] / counts['requests']:.2f}",
            Spread.of(MS_PER_S * one.cpu_s for one in slices).text(1),
            *(str(counts[name]) for name in COUNTED[3:]),
        )
    return table


def _spread(values: Iterator[float]) -> str:
    return Spread.of(values).text()


def total_of(slices: Sequence[Slice]) -> Findings:
    """The findings of all repeats."""
    return summed(one.findings for one in slices)


def aims_of(results: Results) -> Iterator[Aim]:
    """The bars of the phases in which rescue took part."""
    for phase in SILENCES:
        if RESCUED in results.get(phase, {}):
            yield from _faster(phase, results)
    steady, burst = results.get("steady", {}), results.get("burst", {})
    if RESCUED in steady:
        p50, cpu = (_ratio(steady, of) for of in (lambda one: one.p50_s, lambda one: one.cpu_s))
        extra = 100 * total_of(steady[RESCUED]).extra
        yield Aim.at_most(100 * STEADY_EXTRA, "steady: extra calls", extra, 2, " %")
        yield Aim.at_most(STEADY_TTFT, "steady: P50 of the first content ÷ without rescue", p50, 3)
        yield Aim.at_most(STEADY_CPU, "steady: CPU per request ÷ without rescue", cpu, 3)
    if RESCUED in burst:
        off, ours = (statistics.median(one.kept for one in burst[arm]) for arm in (NO_RESCUE.name, RESCUED))
        yield Aim.at_most(100 * BUDGET, "burst: extra calls", 100 * total_of(burst[RESCUED]).extra, 2, " %")
        yield Aim(
            f"burst: in time {ours:.1%}, without rescue {off:.1%}, no fewer but for one point", ours >= off - 0.01
        )


def _faster(phase: str, results: Results) -> Iterator[Aim]:
    rows = results[phase]
    found = statistics.median(one.p99_s for one in rows[RESCUED])
    off = statistics.median(one.p99_s for one in rows[NO_RESCUE.name])
    yield Aim.at_most(OF_NO_RESCUE, f"{phase}: P99 of the first content ÷ without rescue", found / off)
    if "steady" in results:
        calm = statistics.median(one.p99_s for one in results["steady"][NO_RESCUE.name])
        yield Aim.at_most(OF_STEADY, f"{phase}: P99 of the first content ÷ where nothing stalls", found / calm)
    total = total_of(rows[RESCUED])
    yield Aim.at_most(100 * BUDGET, f"{phase}: extra calls", 100 * total.extra, 2, " %")
    yield nothing_wrong(phase, total)


def nothing_wrong(what: str, found: Findings) -> Aim:
    """The bar on what must never happen."""
    counts = {name: found.counts[name] for name in ("lost", "mixed", "wrong_headers", "slow_to_close")}
    said = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
    return Aim(f"{what}: {said} of {found.counts['requests']:,} requests, expected 0", not any(counts.values()))


def aims_of_hand_overs(found: Sequence[HandedOn]) -> Iterator[Aim]:
    """A request that is given up goes to the next deployment within LATE_MS of its deadline."""
    if found:
        late_ms = sorted(one.late_ms for one in found)
        what = (
            f"of {len(found)} that went on, half within {late_ms[len(late_ms) // 2]:.0f} ms of the deadline, the last"
        )
        yield Aim.at_most(LATE_MS, f"hand-overs: {what}", late_ms[-1], 0, " ms")


def aim_of_booking(found: Booked) -> Aim:
    """Each finished answer is booked exactly once."""
    said = f"{found.once:,} finished answers booked once, {found.twice} twice, {found.never} never, expected 0 and 0"
    return Aim(said, found.twice == found.never == 0)


def _ratio(rows: Mapping[str, Sequence[Slice]], of: Callable[[Slice], float]) -> float:
    """With rescue ÷ without: the median of the repeats' ratios."""
    pairs = zip(rows[RESCUED], rows[NO_RESCUE.name], strict=True)
    return statistics.median(of(ours) / of(off) for ours, off in pairs)


def saved(results: Results) -> dict[str, object]:
    """For docs/evidence.md."""
    return {
        phase: {
            arm: {
                "p50_ms": Spread.of(MS_PER_S * one.p50_s for one in slices),
                "p99_ms": Spread.of(MS_PER_S * one.p99_s for one in slices),
                "cpu_ms": Spread.of(MS_PER_S * one.cpu_s for one in slices),
                "in_time_percent": Spread.of(100 * one.kept for one in slices),
                "extra_percent": 100 * total_of(slices).extra,
                **total_of(slices).counts,
            }
            for arm, slices in rows.items()
        }
        for phase, rows in results.items()
    }
