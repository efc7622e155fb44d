"""What is too large for a deployment: how large, only its refusals tell. Pure.

A window may be unknown, a server in front may take small bodies alone, and a provider takes no request of more tokens
than it allows in a minute. LiteLLM asks nobody else then. So nothing as large is sent there for a while, as long as
another can answer. A limit of the answer that the client sets counts as much as the prompt, for so servers count.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from slo_router.contract.model import Features

REFUSED_S = 900.0  # for which a refusal counts
_UNKNOWN = frozenset({"vision", "audio", "pdf", "video"})  # how large these are to a server, nobody here knows


class Sizes(NamedTuple):
    """The smallest size, in tokens, that was refused, and until when that counts, Unix seconds."""

    refused: float = math.inf
    until_s: float = 0.0

    def takes(self, features: Features, now_s: float) -> bool:
        """Whether a request may be one that is taken."""
        return now_s >= self.until_s or size_of(features) < self.refused

    def without(self, size: float, now_s: float) -> Sizes:
        """After a refusal, by which one of this size is too large already."""
        return Sizes(min(size, self.refused) if now_s < self.until_s else size, now_s + REFUSED_S)


ANY_SIZE = Sizes()


def size_of(features: Features) -> int:
    """The prompt, and the limit of the answer where there is one, in tokens."""
    return features.prompt_tokens + (features.limit_tokens or 0)


def is_known(features: Features) -> bool:
    """Whether the request's size is what a server would find, about."""
    return features.needs.isdisjoint(_UNKNOWN) and not features.images + features.files
