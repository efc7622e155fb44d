"""Whether a deployment's answers in a category are sound, from the number that failed a check.

    faulty       the low end of the failed share's 95 % interval (Wilson) is above `ALLOWED`
    sound        not faulty, and enough answers were checked
    undecided    too few answers were checked

A cell is faulty if six of ten answers failed, or three of three. A small model sometimes writes nonsense; a broken one
does so most of the time. `python -m evaluation.quality.answer_checks` shows how often a working and a broken deployment
are found faulty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from slo_bench.checks.answer import BESIDE_OTHERS, FAULTS
from slo_router.contract.intervals import FEWEST, Interval, wilson

ALLOWED = 0.25  # share of odd answers that a working deployment may have
_FEWEST_FAULTS = 3  # fewer may be chance, whatever their share


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of `checked` answers `failed` had a fault. `faults` counts answers by fault; an answer may have several.

    `is_compared`: they were compared with another deployment's.
    """

    checked: int
    failed: int
    faults: Mapping[str, int] = field(default_factory=dict)
    is_compared: bool = False

    @property
    def interval(self) -> Interval | None:
        """The 95 % interval of the failed share; `None` where nothing was checked."""
        return wilson(self.failed, self.checked) if self.checked else None

    @property
    def is_faulty(self) -> bool:
        """Whether the router must not use the deployment for this category."""
        return self.failed >= _FEWEST_FAULTS and wilson(self.failed, self.checked).low > ALLOWED

    @property
    def is_sound(self) -> bool:
        """Whether enough sound answers were checked to remove an earlier mark."""
        return self.checked >= FEWEST and not self.is_faulty

    def clears(self, fault: str) -> bool:
        """Whether the earlier mark `fault` is refuted. A fault found by comparison needs a comparison."""
        return self.is_sound and (self.is_compared or fault.partition(" ")[0] not in BESIDE_OTHERS)

    @property
    def fault(self) -> str | None:
        """The mark for the router if faulty, such as `looping 9/10`: the most frequent fault, the failed answers."""
        if not self.is_faulty:
            return None
        most = max(FAULTS, key=lambda name: self.faults.get(name, 0))  # among equals the first of FAULTS
        return f"{most} {self.failed}/{self.checked}"


NOTHING_CHECKED = Verdict(0, 0)


def judge(found: Sequence[Sequence[str]], *, is_compared: bool = False) -> Verdict:
    """The verdict from the faults found in each checked answer."""
    faults = Counter(name for names in found for name in set(names))
    return Verdict(len(found), sum(bool(names) for names in found), dict(faults.most_common()), is_compared)
