"""How much a text differs from other texts, in bits per character.

A model of characters predicts each character from the three before it, by their counts in the other texts. Where these
were never seen, it uses fewer characters. A text costs −log₂ of the predicted chances. Prose that is like the other
texts costs 2 to 4 bits per character, random tokens 4.5 to 6, another language or script more.

The other texts are the prompts and the other deployments' answers, so no language is assumed. From few texts every text
differs much. So bits only compare texts with each other.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from math import log2

_ORDER = 3  # characters of context
_UNSEEN = 1 / 200  # chance of a character that was never seen
_DISCOUNT = 5.0  # weight of the shorter context against the longer, as a count
_MOST_CHARS = 2_000  # of each text


class Passages:
    """The counts of each passage of up to four characters in some texts."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.counts: Counter[str] = Counter()
        for text in texts:
            plain = _plain(text)
            self.counts[""] += len(plain)
            for length in range(1, _ORDER + 2):
                self.counts.update(plain[i : i + length] for i in range(len(plain) - length + 1))

    def add(self, other: Passages) -> None:
        """Adds another's counts."""
        self.counts.update(other.counts)

    def bits(self, text: str, without: Passages) -> float | None:
        """Bits per character of `text`, by all texts except those of `without`; `None` for an empty text."""
        plain = _plain(text)
        if not plain:
            return None
        seen, own = self.counts, without.counts
        total = 0.0
        for i, character in enumerate(plain):
            chance = _UNSEEN
            for start in range(i, max(i - _ORDER, 0) - 1, -1):
                before = plain[start:i]
                times = seen[before] - own[before]
                if not times:
                    break
                followed, weight = before + character, _DISCOUNT if before else 1.0
                chance = (seen[followed] - own[followed] + weight * chance) / (times + weight)
            total -= log2(chance)
        return total / len(plain)


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text[:_MOST_CHARS])
