"""Whether a deployment's answers in a category are sound, from how many of them failed a check.

    faulty       the share that fails is surely above `ALLOWED`: the low end of its 95 % interval (Wilson) is
    sound        it is not, and there are enough answers to say so
    undecided    too few answers

Of ten answers six must fail, of three all: a small model talks nonsense now and then, a broken one most of the time.
`python -m evaluation.quality.answer_checks` shows how often that condemns a working deployment, and how often a broken
one.
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
    """Of `checked` answers `failed` had something wrong. `faults`: how many had what; an answer may have several.

    `is_compared`: they stood beside another deployment's.
    """

    checked: int
    failed: int
    faults: Mapping[str, int] = field(default_factory=dict)
    is_compared: bool = False

    @property
    def interval(self) -> Interval | None:
        """Of the share that fails, 95 %; `None` where nothing was checked."""
        return wilson(self.failed, self.checked) if self.checked else None

    @property
    def is_faulty(self) -> bool:
        """The router must not use the deployment for this category."""
        return self.failed >= _FEWEST_FAULTS and wilson(self.failed, self.checked).low > ALLOWED

    @property
    def is_sound(self) -> bool:
        """Enough was checked to lift an earlier mark."""
        return self.checked >= FEWEST and not self.is_faulty

    def clears(self, fault: str) -> bool:
        """An earlier mark is refuted: by sound answers, and beside others' where it was found beside others'."""
        return self.is_sound and (self.is_compared or fault.partition(" ")[0] not in BESIDE_OTHERS)

    @property
    def fault(self) -> str | None:
        """The mark for the router, as in `looping 9/10`: what is found most, and how many failed; only if faulty."""
        if not self.is_faulty:
            return None
        most = max(FAULTS, key=lambda name: self.faults.get(name, 0))  # the plainest of equals
        return f"{most} {self.failed}/{self.checked}"


NOTHING_CHECKED = Verdict(0, 0)


def judge(found: Sequence[Sequence[str]], *, is_compared: bool = False) -> Verdict:
    """From what was found in each answer that was checked."""
    faults = Counter(name for names in found for name in set(names))
    return Verdict(len(found), sum(bool(names) for names in found), dict(faults.most_common()), is_compared)
