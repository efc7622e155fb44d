"""What a decision needs of a managed group, worked out once from its settings."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Mapping

from slo_router.contract.model import Features, Slo
from slo_router.contract.settings.group import GroupSettings
from slo_router.contract.settings.tasks.own import UNSURE
from slo_router.contract.units import MS
from slo_router.decision.decide import Policy
from slo_router.errors import RequestSloError
from slo_router.quality.posterior import Rules
from slo_router.request.categories import Categorizer, article, rules
from slo_router.request.conditions import rule_of
from slo_router.request.features import body_of, extract, tell
from slo_router.request.slo import CATEGORY_HEADER, Asked
from slo_router.request.trained import trained
from slo_router.request.usage import Learned


class ManagedGroup:
    """One group's settings, worked out once: policy, categorizer, categories, default SLO."""

    def __init__(self, settings: GroupSettings, fingerprint: str) -> None:
        self.settings = settings
        self.policy = Policy(settings, fingerprint)
        self.categories = settings.known_categories
        self._rule = rule_of(settings.categories)
        self._categorizer = _categorizer(settings)
        self._default_slos = {category: self._make_slo(category) for category in (*self.categories, UNSURE)}

    def features(self, request: Mapping[str, object], client_category: str | None, learned: Learned) -> Features:
        """The features of one call, whose category the client may have named."""
        return extract(request, self._categorizer, client_category, learned, self._rule)

    def category(self, request: Mapping[str, object]) -> tuple[str, str]:
        """The category of a request whose client named none, and the source that told it."""
        return tell(request, body_of(request), self._categorizer, self._rule)

    def admitted(self, asked: Asked) -> Asked:
        """What a client asked for, with a category that the group has. Raises RequestSloError for an unknown category.

        If the group's classifier cannot be used, not all its categories are known. An unknown one is then taken out.
        """
        if asked.category is None or asked.category in self.categories:
            return asked
        if self.settings.trained is not None and self.settings.trained.fault:
            return asked._replace(category=None)
        raise RequestSloError(CATEGORY_HEADER, asked.category, f"one of {', '.join(self.categories)}")

    def default_slo(self, category: str) -> Slo:
        """The SLO of a request of this category that asks for nothing."""
        return self._default_slos.get(category, self._default_slos[UNSURE])  # a fallback group may not know it

    def routes(self, key_hash: str, lot: float) -> bool:
        """Whether the decision routes the request. In shadow, or outside the canary, it is only recorded.

        `lot` is the request's, from 0 to below 1.
        """
        mode = self.settings.mode
        if isinstance(mode, str):
            return mode == "route"
        if mode.by == "key":
            return zlib.crc32(key_hash.encode()) / 2**32 < mode.canary
        return lot < mode.canary

    def _make_slo(self, category: str) -> Slo:
        slo = self.settings.slo
        floor = self.settings.quality_floor(category)
        return Slo(_seconds(slo.ttft_ms), _seconds(slo.tpot_ms), _seconds(slo.e2e_ms), slo.cost_per_1k, floor)


def rules_of(settings: GroupSettings) -> Rules:
    """How a group's graded answers are read."""
    confidence, heard = settings.quality_confidence, bool(settings.implicit_feedback)
    return Rules(confidence=confidence, prior_answers=settings.prior_answers, hears_signals=heard)


def _categorizer(settings: GroupSettings) -> Categorizer:
    if settings.categorizer == "article":
        return article
    if settings.trained is not None and settings.trained.classifier is not None:
        return trained(settings.trained.classifier)
    extra = {name: own.words for name, own in settings.categories.items() if own.words}
    return rules(extra) if extra else default_rules()


@functools.cache
def default_rules() -> Categorizer:
    """The rules of every group that adds no keywords."""
    return rules()  # its vocabulary takes some megabytes: one serves all groups that add nothing


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds * MS
