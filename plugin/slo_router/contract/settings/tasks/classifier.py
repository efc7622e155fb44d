"""The artefact of `slo-router train`: a linear classifier of tasks, as JSON. Read once, and strictly.

    score of a category = its bias + step × Σ (the category's number of each known word in the text) ÷ √(known words)

A word's numbers are whole, 0 to `MOST`, one for each category; only their differences count. The category with the best
score is chosen if it leads the second by `margin`. The words are text of prompts, and the file shows them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from slo_router.contract.settings.tasks.own import UNSURE
from slo_router.errors import SettingsError

FORMAT = "slo-router tasks 1"
MOST = 4_095  # the highest number of a word
MOST_CATEGORIES = 256
MOST_WORDS = 50_000
MOST_BYTES = 64 * 2**20
_NAME = re.compile(r"[a-z0-9_.-]{1,64}")
_EXPECTED = "what `slo-router train` writes"


class Classifier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The artefact. `top_words` describe each cluster to people; `held_out` has what cross-validation measured."""

    format: str
    categories: Sequence[str]  # `unsure` stands for prompts that are of none
    bias: Sequence[float]
    step: float
    margin: float
    words: Mapping[str, Sequence[int]]
    top_words: Mapping[str, Sequence[str]] = {}
    held_out: Mapping[str, float] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The categories that a request may get."""
        return tuple(name for name in self.categories if name != UNSURE)


def is_name(name: str) -> bool:
    """Whether a classifier may have a category of this name."""
    return bool(_NAME.fullmatch(name)) and name != "default"


def read_classifier(data: bytes, name: str) -> Classifier:
    """Reads a classifier from the file's bytes. Raises SettingsError, which says what is wrong with it."""
    try:
        found = msgspec.json.decode(data, type=Classifier)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SettingsError(f"{name}: {error}, expected {_EXPECTED}") from None
    wrong = _fault(found)
    if wrong:
        raise SettingsError(f"{name}: {wrong}, expected {_EXPECTED}")
    return found


def read_bytes(path: Path) -> bytes:
    """The bytes of the file. Raises SettingsError if there is none, or if it is too large."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise SettingsError(f"{path}: {path.stat().st_size:,} bytes, expected at most {MOST_BYTES:,}")
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path.absolute()}: {error.strerror}, expected {_EXPECTED}") from error


def _fault(found: Classifier) -> str:
    """What is wrong with a classifier; empty where nothing is."""
    count, names = len(found.categories), found.categories
    numbers = [*found.bias, found.step, found.margin]
    checks = (
        (found.format == FORMAT, f"format: {found.format!r}"),
        (2 <= count <= MOST_CATEGORIES, f"categories: {count}"),
        (len(set(names)) == count, "categories: a name stands twice"),
        (all(map(is_name, names)), f"categories: {list(names)}"),
        (len(found.bias) == count, f"bias: {len(found.bias)} numbers for {count} categories"),
        (all(map(math.isfinite, numbers)), "bias, step or margin: not a number"),
        (found.step > 0 <= found.margin, f"step, margin: {found.step}, {found.margin}"),
        (0 < len(found.words) <= MOST_WORDS, f"words: {len(found.words)}"),
    )
    for is_right, said in checks:
        if not is_right:
            return said
    for at, row in enumerate(found.words.values()):
        if len(row) != count or min(row) < 0 or max(row) > MOST:
            return f"words: number {at + 1} of them has {len(row)} numbers, for {count} categories, from 0 to {MOST}"
    return ""
