"""What the project promises about the simulator's figures, whether each promise is kept, and the tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from rich.table import Table

from evaluation.simulator import tally
from evaluation.simulator.ours import WORKERS
from evaluation.simulator.policies import LATENCY_BASED, LEAST_BUSY, STOCK
from evaluation.simulator.study import OURS, PLANNING, RESCUING
from evaluation.simulator.tally import Estimate, Statistic, Tally, estimate

Runs = Mapping[str, Sequence[Tally]]  # by policy, one tally for each seed
LEAST_ATTAINMENT = {"steady": 0.99, "mixed": 0.98, "mixed-burst": 0.95, "mixed-credit": 0.95}
ATTAINMENT = 0.97
MOST_COST = {"steady": 1.10, "slowdown": 1.25, "mixed": 1.25, "mixed-slowdown": 1.25, "mixed-credit": 1.25}
CALIBRATION, AGREEMENT = 0.03, 0.95
COVERAGE = {"steady": (0.94, 0.96), "slowdown": (0.90, 0.98)}
BEHIND = 0.01  # at most this far behind the clairvoyant that plans ahead, in contracts kept
RESCUES = {"steady": 0.003}  # extra calls, as a share of the requests
BUDGET, EPSILON = 0.03, 0.002
MIXED, RANDOM = "mixed", "random"
POOR, AHEAD = 0.80, 0.20  # where LiteLLM's latency-based strategy is below POOR, ours is AHEAD of it


class Bar(NamedTuple):
    """One promise: a figure that must lie between two limits."""

    text: str
    found: Estimate
    low: float = float("-inf")
    high: float = float("inf")

    @property
    def kept(self) -> bool:
        """Whether the figure itself lies between the limits. Its interval shows how sure that is."""
        return self.low <= self.found.value <= self.high

    @property
    def limits(self) -> str:
        """The limits as `≥ 0.94 and ≤ 0.96`."""
        return " and ".join(
            [f"≥ {self.low:g}"] * (self.low > -math.inf) + [f"≤ {self.high:g}"] * (self.high < math.inf)
        )


def bars(scenario: str, runs: Runs) -> Iterator[Bar]:
    """Every promise that concerns a scenario."""
    ours, peer = runs[OURS], runs[LATENCY_BASED]
    attained = estimate(ours, tally.attainment)
    if scenario == "cold-start":
        yield Bar(
            "traffic to a new deployment until proven", estimate(ours, tally.ratio("trial", "before_proven")), high=0.05
        )
        yield Bar(
            "cost after 200 requests ÷ if benchmarked",
            estimate(ours, tally.ratio("settled_usd", "known_usd")),
            high=1.05,
        )
    elif PLANNING in runs:
        behind = _difference(ours, runs[PLANNING], tally.kept_of_all)
        yield Bar("contract kept, of all, against who plans ahead", behind, low=-BEHIND)
        best = max((runs[name] for name in STOCK), key=lambda found: estimate(found, tally.in_time_of_all).value)
        behind = _difference(ours, best, tally.in_time_of_all)
        yield Bar("in time, of all, against the best of LiteLLM's", behind, low=0.0)
    else:
        yield Bar("contract kept where possible", attained, low=LEAST_ATTAINMENT.get(scenario, ATTAINMENT))
    ahead = _difference(ours, peer, tally.attainment)
    theirs = estimate(peer, tally.attainment)
    if theirs.value < POOR:
        yield Bar("contract kept ahead of litellm latency-based", ahead, low=AHEAD)
        yield Bar(
            "contract kept ahead of it in the seeds where it is below 80 %", _ahead_where_poor(ours, peer), low=AHEAD
        )
        yield Bar("cost ÷ clairvoyant beyond litellm latency-based's", _difference(ours, peer, tally.cost), high=0.0)
    else:
        yield Bar("contract kept, not behind litellm latency-based", ahead, low=0.0)
    if scenario in MOST_COST:
        yield Bar("cost ÷ clairvoyant", estimate(ours, tally.cost), high=MOST_COST[scenario])
    yield Bar("deployments shut for more than 1 s without a failure of their own", estimate(ours, tally.shut), high=0.0)
    yield Bar("calibration error of P(SLO met)", estimate(ours, tally.calibration_error), high=CALIBRATION)
    if scenario.startswith(MIXED):
        lost = _difference(ours, runs[RANDOM], tally.failed)
        yield Bar("requests lost that could be answered, beyond a random choice's", lost, high=0.0)
        yield Bar(
            "decisions that rule out as too small who holds the request", estimate(ours, tally.misjudged), high=0.01
        )
    yield Bar("four workers decide as one observer, at once", estimate(ours, tally.agreement))
    yield Bar(
        "four workers decide as one observer, within two seconds", estimate(ours, tally.agreement_soon), low=AGREEMENT
    )
    if RESCUING in runs:
        yield from _rescue_bars(scenario, runs[RESCUING], ours)
    if scenario in COVERAGE:
        yield Bar("coverage of the p95 TTFT", estimate(ours, tally.coverage), *COVERAGE[scenario])


def _rescue_bars(scenario: str, rescuing: Sequence[Tally], ours: Sequence[Tally]) -> Iterator[Bar]:
    kept = _difference(rescuing, ours, tally.attainment)
    yield Bar("with rescue: contract kept, not behind without", kept, low=-EPSILON)
    extra = _difference(rescuing, ours, tally.extra_calls)
    yield Bar("with rescue: extra calls beyond those without", extra, high=RESCUES.get(scenario, BUDGET))
    yield Bar("with rescue: waited longer than 2 s", _difference(rescuing, ours, tally.waited), high=0.0)


def _ahead_where_poor(ours: Sequence[Tally], peer: Sequence[Tally]) -> Estimate:
    """The lead in the seeds where the peer is below POOR. In other seeds the peer may hardly use the faulty one."""
    poor = [(a, b) for a, b in zip(ours, peer, strict=True) if tally.attainment(b) < POOR]
    return _difference([a for a, _ in poor], [b for _, b in poor], tally.attainment)


def _difference(ours: Sequence[Tally], peer: Sequence[Tally], statistic: Statistic) -> Estimate:
    """Ours minus theirs, paired by seed."""
    paired = [
        {**{f"a:{k}": v for k, v in a.items()}, **{f"b:{k}": v for k, v in b.items()}}
        for a, b in zip(ours, peer, strict=True)
    ]

    def side(sums: Tally, prefix: str) -> Tally:
        return {key[2:]: value for key, value in sums.items() if key.startswith(prefix)}

    return estimate(paired, lambda sums: statistic(side(sums, "a:")) - statistic(side(sums, "b:")))


COLUMNS: tuple[tuple[str, Statistic], ...] = (
    ("contract kept, %\nwhere possible", tally.attainment),
    ("contract kept, %\nof all", tally.kept_of_all),
    ("in time, %\nwhere possible", tally.in_time),
    ("failed, %\nof answerable", tally.failed),
    ("in time, %\nof all", tally.in_time_of_all),
    ("cost ÷\nclairvoyant", tally.cost),
    ("USD per\n1,000", lambda sums: 1_000 * tally.usd(sums)),
    ("calibration\nerror", tally.calibration_error),
    ("p95 coverage\n%", tally.coverage),
    ("waited > 2 s\n%", tally.waited),
    ("extra calls\n%", tally.extra_calls),
    ("misjudged\n%", tally.misjudged),
    ("shut without\ncause", tally.shut),
)


def policies_table(scenario: str, runs: Runs) -> Table:
    """One row for each policy."""
    table = Table("policy", *(title for title, _ in COLUMNS), title=scenario)
    for name, tallies in runs.items():
        cells = (_cell(estimate(tallies, statistic), percent="%" in title) for title, statistic in COLUMNS)
        table.add_row(name, *cells, style="bold" if name == "ours" else None)
    return table


def bars_table(bars: Iterable[tuple[str, Bar]]) -> Table:
    """One row for each promise."""
    table = Table("scenario", "promise", "found", "limit", "", title="bars")
    for scenario, bar in bars:
        verdict = "[green]kept" if bar.kept else "[red]missed"
        table.add_row(scenario, bar.text, _cell(bar.found, digits=3), bar.limits, verdict)
    return table


def reaction_line(runs: Runs) -> str | None:
    """How ours reacts to a fault; `None` if there was no fault."""
    ours = runs["ours"]
    if not any("runs" in one for one in ours):
        return None
    sent, back = (
        estimate(ours, tally.ratio("sent_to_faulty", "during")),
        estimate(ours, tally.ratio("return_s", "runs")),
    )
    return (
        f"ours sent {_cell(sent, percent=True)} % of the requests after the fault's first second to the faulty "
        f"endpoint;\nits first answer in time came {_cell(back)} s after the fault's end"
    )


def saved(found: Mapping[str, Runs]) -> dict[str, object]:
    """For docs/evidence.md: each scenario; for promises about all scenarios, the range and the scenarios beyond it."""
    ours = {scenario: runs[OURS] for scenario, runs in found.items()}
    mixed = {scenario: tallies for scenario, tallies in ours.items() if scenario.startswith(MIXED)}
    columns = {"ours": OURS, "latency_based": LATENCY_BASED, "least_busy": LEAST_BUSY}
    return {
        "workers": WORKERS,
        "scenarios": [
            {"scenario": name}
            | {
                key: {
                    "kept_percent": _plain(estimate(runs[policy], tally.attainment), 100),
                    "cost": _plain(estimate(runs[policy], tally.cost)),
                }
                for key, policy in columns.items()
            }
            for name, runs in found.items()
        ],
        "calibration_error": _by_limit(ours, tally.calibration_error, high=CALIBRATION),
        "agreement_percent": _by_limit(ours, tally.agreement_soon, low=AGREEMENT, scale=100),
        "lost_percent": _by_limit(mixed, tally.failed, high=0.0, scale=100),
        "shut_per_run": max(estimate(tallies, tally.shut).value for tallies in ours.values()),
        "steady_coverage_percent": 100 * estimate(ours["steady"], tally.coverage).value,
    }


def _by_limit(
    found: Mapping[str, Sequence[Tally]],
    statistic: Statistic,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    scale: float = 1,
) -> dict[str, object]:
    """The range of the scenarios within the limits, and each scenario beyond them."""
    all_of = {name: estimate(tallies, statistic) for name, tallies in found.items()}
    within = [scale * one.value for one in all_of.values() if low <= one.value <= high]
    beyond = [{"scenario": name} | _plain(one, scale) for name, one in all_of.items() if not low <= one.value <= high]
    return {"within": {"lowest": min(within), "highest": max(within)} if within else None, "beyond": beyond}


def _plain(found: Estimate, scale: float = 1) -> dict[str, float]:
    return {"value": scale * found.value, "half_width": scale * found.half_width}


def _cell(found: Estimate, *, percent: bool = False, digits: int = 2) -> str:
    if math.isnan(found.value):
        return "–"
    scale, digits = (100, 1) if percent else (1, digits)
    return f"{found.value * scale:.{digits}f} ± {found.half_width * scale:.{digits}f}"
