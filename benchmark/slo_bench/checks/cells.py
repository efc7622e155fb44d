"""Judges the answers of each cell of a run: first alone, and at the run's end beside the other deployments' answers.

A request that failed for another reason than a cut or empty answer is an error, and has no answer to check. A failure
with an excuse (`excuses`) is not checked either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from slo_bench.checks.answer import Answer
from slo_bench.checks.comparison import compared
from slo_bench.checks.findings import findings
from slo_bench.checks.verdict import Verdict, judge
from slo_bench.measure import stream
from slo_bench.measure.stream import Sample
from slo_bench.prompts.workload import Prompt

_ANSWERED = (None, stream.EMPTY, stream.CUT_STREAM)

Name = tuple[str, str]  # deployment id and category


def answers_of(asked: Iterable[tuple[Prompt, Sample]]) -> tuple[Answer, ...]:
    """The answers to check among the samples of a cell."""
    return tuple(
        Answer(
            text=sample.answer,
            finish_reason=sample.finish_reason,
            prompt=prompt.text,
            expects_json=prompt.expects_json,
            is_cut=sample.error == stream.CUT_STREAM,
            reasoning_chars=sample.reasoning_chars,
            is_mostly_reasoning=sample.is_mostly_reasoning,
        )
        for prompt, sample in asked
        if sample.error in _ANSWERED and sample.excuse is None
    )


def judged_alone(answers: Sequence[Answer]) -> Verdict:
    """The verdict from each answer alone."""
    return judge([findings(answer) for answer in answers])


def judged_together(answers: Mapping[Name, Sequence[Answer]]) -> dict[Name, Verdict]:
    """The verdict of each cell, compared with the other deployments' answers in the same category."""
    verdicts: dict[Name, Verdict] = {}
    for category in {name[1] for name in answers}:
        rows = {name: mine for name, mine in answers.items() if name[1] == category}
        beside = compared({deployment: mine for (deployment, _), mine in rows.items()})
        for name, mine in rows.items():
            both = zip(mine, beside[name[0]], strict=True)
            verdicts[name] = judge([(*findings(answer), *found) for answer, found in both], is_compared=len(rows) > 1)
    return verdicts
