"""What the answers so far show of the next: how many tokens a prompt takes, and how long each model writes.

A worker tells the others a sample of its answers' lengths, and learns from theirs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence

from slo_router.contract.ages import LENGTH_HALF_LIFE_S
from slo_router.contract.model import Facts, Features
from slo_router.contract.record import RequestRecord
from slo_router.decision.decide import NO_LENGTHS
from slo_router.request.features import Learned
from slo_router.request.usage import Length, learn, learn_length

MOST_LENGTHS = 8  # of answers, that a worker tells the others at a time: a sample is enough


class Answers:
    """Those of this worker, and what the others told. `learned` is replaced with each, never changed."""

    def __init__(self) -> None:
        self.learned = Learned()
        self._own: deque[Length] = deque(maxlen=MOST_LENGTHS)  # that the others have not heard of
        self._last_s: dict[tuple[str, str], float] = {}  # by category and model: when it last answered, Unix s

    def lengths(self, category: str, candidates: Sequence[Facts], now_s: float) -> Mapping[str, float]:
        """The expected answer of each candidate, tokens by deployment id: that of its model, and the longer it has not
        answered, the more that of a model that nothing is known of: else one that once wrote long answers would never
        be asked again.
        """
        known = self.learned.lengths.get(category)
        if not known:
            return NO_LENGTHS
        unknown = self.learned.unknown_length(category)

        def length(model: str) -> float:
            age_s = now_s - self._last_s.get((category, model), now_s)
            weight: float = 0.5 ** (abs(age_s) / LENGTH_HALF_LIFE_S)
            return unknown + (known.get(model, unknown) - unknown) * weight

        return {one.deployment_id: length(one.model) for one in candidates}

    def see(self, features: Features, model: str, record: RequestRecord) -> None:
        """An answer of this worker's."""
        self._last_s[features.category, model] = record.ts
        self.learned = learn(self.learned, features, model, record.prompt_tokens, record.completion_tokens)
        if record.completion_tokens:
            tokens = max(round(record.completion_tokens / features.choices), 1)
            self._own.append(Length(features.category, model, tokens, features.reserved_tokens))

    def export(self) -> list[Length]:
        """Of this worker's answers, what the others have not heard of."""
        lengths = list(self._own)
        self._own.clear()
        return lengths

    def hear(self, said: object, models: Collection[str], categories: Collection[str], now_s: float) -> None:
        """Learns from what another worker's answers showed; what makes no sense is left out."""
        for entry in said[:MOST_LENGTHS] if isinstance(said, list) else ():
            match entry:
                case [str(category), str(model), int(tokens), int(reserved)] if (
                    category in categories and model in models and tokens > 0
                ):
                    self._last_s[category, model] = now_s
                    self.learned = learn_length(self.learned, Length(category, model, tokens, reserved))
