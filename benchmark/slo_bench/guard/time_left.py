"""How long a run still takes, from the plan and the pace that is measured. No clock of its own.

Each deployment has its own pace: the time from its first request to its last answer, over what the plan foresaw for the
answers. As long as a deployment has too few answers, it is taken to be off by as much as the others were on which the
plan was no better founded: those it only assumed, or those it knew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

FEWEST_ANSWERS = 3  # that a pace is taken from


@dataclass(slots=True)
class _Course:
    """One deployment: seconds of the plan that are done and left, when it was first asked and when it last answered."""

    is_assumed: bool
    left_s: float
    done_s: float = 0.0
    answers: int = 0
    first_s: float = 0.0
    last_s: float = 0.0

    @property
    def pace(self) -> float | None:
        """Measured over planned time."""
        return (self.last_s - self.first_s) / self.done_s if self.answers >= FEWEST_ANSWERS and self.done_s else None


class TimeLeft:
    """Of one run. With `parallel` the slowest deployment decides."""

    def __init__(self, *, parallel: bool) -> None:
        self._parallel = parallel
        self._courses: dict[str, _Course] = {}

    def expect(self, deployment_id: str, seconds: float, *, is_assumed: bool) -> None:
        """The plan foresees so many seconds for a deployment's cells."""
        self._courses[deployment_id] = _Course(is_assumed, seconds)

    def answered(self, deployment_id: str, planned_s: float, at_s: float, took_s: float) -> None:
        """An answer came at `at_s` by the deployment's clock and took `took_s`; the plan gave it `planned_s`."""
        course = self._courses[deployment_id]
        course.left_s = max(course.left_s - planned_s, 0.0)
        course.last_s = at_s
        course.answers += 1
        course.done_s += planned_s
        if course.answers == 1:
            course.first_s = at_s - took_s

    def ended(self, deployment_id: str) -> None:
        """Nothing more is asked of a deployment."""
        if deployment_id in self._courses:
            self._courses[deployment_id].left_s = 0.0

    def seconds(self) -> float:
        """From now to the end."""
        left = [course.left_s * self._pace(course) for course in self._courses.values()]
        return max(left, default=0.0) if self._parallel else sum(left)

    def _pace(self, course: _Course) -> float:
        own = course.pace
        if own is not None:
            return own
        alike = _known(other.pace for other in self._courses.values() if other.is_assumed == course.is_assumed)
        return sum(alike) / len(alike) if alike else 1.0


def _known(paces: Iterable[float | None]) -> list[float]:
    return [pace for pace in paces if pace is not None]
