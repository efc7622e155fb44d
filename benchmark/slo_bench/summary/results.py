"""The results of a run: one per cell, as metrics for the router, and an exit code for the shell.

A cell counts as measured if at least one of its requests was answered. The metrics of an unmeasured cell have only its
error rate and the fault of its answers. If half of its requests or more failed with an excuse (`excuses`), they have no
error rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from slo_bench.checks.answer import Answer
from slo_bench.checks.cells import judged_together
from slo_bench.checks.verdict import NOTHING_CHECKED, Verdict
from slo_bench.load.plan import Cell, Plan
from slo_bench.summary.cost import cost_per_1k_usd
from slo_bench.summary.lag import Lag
from slo_bench.summary.stats import CellStats
from slo_router.contract.model import Metrics

ALL_MEASURED, SOME_FAILED, NOTHING_MEASURED = 0, 1, 2  # exit codes


@dataclass(frozen=True, slots=True)
class CellResult:
    """One cell, measured at `ended_at_s` (Unix seconds). `complete` is false if it ended early."""

    cell: Cell
    stats: CellStats
    ended_at_s: float
    complete: bool = True
    published: bool | None = None  # None: there was nothing to write, or no Redis
    lag: Lag | None = None  # of the sender; None in a closed loop
    answers: tuple[Answer, ...] = field(default=(), repr=False)
    verdict: Verdict = NOTHING_CHECKED  # on the answers

    @property
    def name(self) -> tuple[str, str]:
        """Deployment id and category."""
        return self.cell.facts.deployment_id, self.cell.category

    @property
    def is_good(self) -> bool:
        """Whether it was measured to its end and written, and its answers are not faulty."""
        return self.measured and self.complete and self.published is not False and not self.verdict.is_faulty

    @property
    def measured(self) -> bool:
        """Whether at least one request was answered."""
        return self.stats.succeeded > 0

    @property
    def tells(self) -> bool:
        """Whether it has something for the router: latencies, or at least an error rate."""
        return self.stats.error_rate is not None

    @property
    def unmeasured_because(self) -> str | None:
        """Why it has nothing for the router, and what to do; `None` if it has something."""
        return None if self.tells or self.stats.excuse is None else str(self.stats.excuse)

    @property
    def cost_per_1k_usd(self) -> float | None:
        """USD per 1,000 tokens at the measured mix."""
        return cost_per_1k_usd(self.cell.facts, self.stats, self.cell.utilization)

    def metrics(self) -> Metrics:
        """The metrics that the router reads. `samples` counts the requests behind the latencies."""
        stats, ttft, tpot = self.stats, self.stats.ttft, self.stats.tpot
        if not self.measured:
            return Metrics(
                self.ended_at_s,
                error_rate=stats.error_rate,
                answer_fault=self.verdict.fault,
                error_at_s=self.ended_at_s,
                fault_at_s=self._fault_at_s,
            )
        return Metrics(
            measured_at_s=self.ended_at_s,
            ttft_s=ttft.mean_s if ttft else None,
            ttft_p50_s=ttft.p50_s if ttft else None,
            ttft_p95_s=ttft.p95_s if ttft else None,
            tpot_s=tpot.mean_s if tpot else None,
            tpot_p95_s=tpot.p95_s if tpot else None,
            throughput_tps=stats.throughput_tps,
            cost_per_1k_usd=self.cost_per_1k_usd,
            error_rate=stats.error_rate,
            output_tokens_mean=stats.output_tokens_mean,
            hidden_tokens_mean=stats.hidden_tokens_mean,
            samples=stats.succeeded,
            answer_fault=self.verdict.fault,
            fault_at_s=self._fault_at_s,
            prompt_tokens_mean=stats.prompt_tokens_mean,
        )

    @property
    def _fault_at_s(self) -> float | None:
        return None if self.verdict.fault is None else self.ended_at_s


def judged(results: Sequence[CellResult]) -> list[CellResult]:
    """The results with verdicts from the answers of all deployments together."""
    verdicts = judged_together({result.name: result.answers for result in results})
    return [replace(result, verdict=verdicts[result.name]) for result in results]


def exit_code(plan: Plan, results: Sequence[CellResult]) -> int:
    """0: every cell was measured to its end and written, and its answers are sound. 2: none was measured. 1: else."""
    if not any(result.measured for result in results):
        return NOTHING_MEASURED
    good = sum(result.is_good for result in results)
    return ALL_MEASURED if good == len(plan.cells) and not plan.skipped else SOME_FAILED
