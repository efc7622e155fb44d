"""Which requests are too large for a deployment. Only its refusals tell. Pure.

A context window may be unknown. A server in front may take only small bodies. A provider takes no request of more
tokens than it allows in a minute. After such a refusal LiteLLM asks no other deployment. So no request as large is sent
there for a while, as long as another can answer. The client's limit of the answer is added to the prompt, because
servers count so.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from slo_router.contract.model import Features

REFUSED_S = 900.0  # a refusal counts for this long
_UNKNOWN = frozenset({"vision", "audio", "pdf", "video"})  # only the server knows how many tokens these are


class Sizes(NamedTuple):
    """The smallest size, in tokens, that was refused, and until when that counts, Unix seconds."""

    refused: float = math.inf
    until_s: float = 0.0

    def takes(self, features: Features, now_s: float) -> bool:
        """Whether the deployment may take a request of this size."""
        return now_s >= self.until_s or size_of(features) < self.refused

    def without(self, size: float, now_s: float) -> Sizes:
        """The sizes after a request of this size was refused as too large."""
        return Sizes(min(size, self.refused) if now_s < self.until_s else size, now_s + REFUSED_S)


ANY_SIZE = Sizes()


def size_of(features: Features) -> int:
    """The prompt, and the limit of the answer where there is one, in tokens."""
    return features.prompt_tokens + (features.limit_tokens or 0)


def is_known(features: Features) -> bool:
    """Whether `size_of` a request is about what a server would count."""
    return features.needs.isdisjoint(_UNKNOWN) and not features.images + features.files
