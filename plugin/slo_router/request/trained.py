"""Tells a task by the artefact of `slo-router train`, from the same bounded windows as the built-in rules.

Training and telling see only the `words_of` a text: its words without the signs around them, the signs, and the
characters of wide scripts, which have no spaces. Each counts once. A word's numbers, one for each category, are packed
into one large integer of 32-bit lanes, so that one addition adds all of them.
"""

from __future__ import annotations

import re
import struct

from slo_router.contract.settings.tasks.classifier import Classifier
from slo_router.contract.settings.tasks.own import UNSURE
from slo_router.request.categories import SHORT_CHARS, Categorizer, Instruction

SIGNS = "`{}[]()<>=+*/^\\_|$%#@&~\"'-,.:;!?"  # of ASCII; they separate words, and each is a word itself
TOLD_APART = "“”‘’«»„–—…·×÷−≤≥→"  # they only separate words
_WIDE = re.compile("[\u2e80-\U0010ffff]")  # from the CJK radicals on a character is about a word


def words_of(instruction: Instruction) -> set[str]:
    """Words of the system prompt, the message's first `SHORT_CHARS` characters and its end: a few hundred at most."""
    system, opening, closing = instruction
    text = opening if len(opening) <= SHORT_CHARS else f"{opening[:SHORT_CHARS]}\n{closing}"
    text = (f"{system}\n{text}" if system else text).lower()
    found = {sign for sign in SIGNS if sign in text}
    parted = text
    for sign in found:
        parted = parted.replace(sign, " ")
    if not text.isascii():
        found.update(_WIDE.findall(text))
        for sign in TOLD_APART:
            parted = parted.replace(sign, " ")
    found.update(parted.split())
    return found


def trained(classifier: Classifier) -> Categorizer:
    """The categorizer of an artefact."""
    lanes = struct.Struct(f"<{len(classifier.categories)}I")
    vocabulary = {word: int.from_bytes(lanes.pack(*row), "little") for word, row in classifier.words.items()}
    known, numbers_of = frozenset(vocabulary), vocabulary.__getitem__
    bias, step, margin = classifier.bias, classifier.step, classifier.margin
    names = [None if name == UNSURE else name for name in classifier.categories]

    def categorize(instruction: Instruction) -> str | None:
        found = known & words_of(instruction)
        if not found:
            return None
        weight = step / len(found) ** 0.5
        sums = lanes.unpack(sum(map(numbers_of, found)).to_bytes(lanes.size, "little"))
        scores = [one + weight * total for one, total in zip(bias, sums, strict=True)]
        best = max(scores)
        winner = scores.index(best)
        scores[winner] = float("-inf")
        return names[winner] if best - max(scores) >= margin else None

    return categorize
