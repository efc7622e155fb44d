"""How unlike other texts a text is, in bits per character.

Theory. A model of characters predicts each from the three before it, by how often they followed each other in the texts
it was made from, and from fewer where those were never seen; a text costs −log₂ of the predicted chances. Prose that is
like the texts costs 2 to 4 bits per character, token soup 4.5 to 6, another language or script more.

The texts are the prompts and what the other deployments answered to them, so that no language is assumed. With little
to compare with everything is unlike, so bits mean something only beside another text's.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from math import log2

_ORDER = 3  # characters looked back at
_UNSEEN = 1 / 200  # of a character of which nothing is known
_DISCOUNT = 5.0  # how much weight fewer characters keep against more
_MOST_CHARS = 2_000  # of each text


class Passages:
    """How often each passage of up to four characters stands in some texts."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.counts: Counter[str] = Counter()
        for text in texts:
            plain = _plain(text)
            self.counts[""] += len(plain)
            for length in range(1, _ORDER + 2):
                self.counts.update(plain[i : i + length] for i in range(len(plain) - length + 1))

    def add(self, other: Passages) -> None:
        """Counts the other's texts too."""
        self.counts.update(other.counts)

    def bits(self, text: str, without: Passages) -> float | None:
        """Bits per character of `text`, by all texts but those of `without`; `None` for an empty one."""
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
