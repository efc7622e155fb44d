"""`groups.NAME.categorizer`: how the category is told from the text of a request.

An artefact that cannot be used stops nothing: `fault` says why, and the built-in rules tell instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PrivateAttr

from slo_router.contract.settings.tasks.classifier import Classifier, read_bytes, read_classifier
from slo_router.contract.settings.validation import Strict
from slo_router.errors import SettingsError


class Trained(Strict):
    """By a classifier that `slo-router train` made. The file is read when the configuration is."""

    trained: str = Field(description="the artefact's path, from where the proxy was started")
    _classifier: Classifier | None = PrivateAttr(None)
    _fault: str = PrivateAttr("")
    _sha256: str = PrivateAttr("")

    def model_post_init(self, _: object, /) -> None:
        """Reads the artefact."""
        path = Path(self.trained)
        try:
            data = read_bytes(path)
            self._sha256 = sha256(data).hexdigest()
            self._classifier = read_classifier(data, self.trained)
        except SettingsError as error:
            self._fault = str(error)

    @property
    def classifier(self) -> Classifier | None:
        """`None` where the artefact cannot be used."""
        return self._classifier

    @property
    def names(self) -> tuple[str, ...]:
        """The categories that it tells apart; none where the artefact cannot be used."""
        return () if self._classifier is None else self._classifier.names

    @property
    def fault(self) -> str:
        """Why it cannot be used; empty where it can."""
        return self._fault

    @property
    def sha256(self) -> str:
        """Of the file; empty where there is none."""
        return self._sha256


def _categorizer(value: object) -> object:
    """Raises one clear error instead of one for each kind."""
    if isinstance(value, Mapping):
        return Trained.model_validate(value)
    if value not in ("rules", "article") and not isinstance(value, Trained):
        raise ValueError("`rules`, `article` or {trained: PATH}")
    return value


CategorizerSetting = Annotated[Literal["rules", "article"] | Trained, BeforeValidator(_categorizer)]
