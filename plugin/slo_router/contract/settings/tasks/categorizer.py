"""`groups.NAME.categorizer`: how the category of a request is recognized from its text.

If an artefact cannot be used, the plugin starts all the same: `fault` says why, and the built-in rules are used.
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
    """A classifier that `slo-router train` made. Its file is read together with the configuration."""

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
        """The classifier; `None` where the artefact cannot be used."""
        return self._classifier

    @property
    def names(self) -> tuple[str, ...]:
        """The categories that the classifier knows; none where the artefact cannot be used."""
        return () if self._classifier is None else self._classifier.names

    @property
    def fault(self) -> str:
        """Why the artefact cannot be used; empty where it can."""
        return self._fault

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file; empty where there is none."""
        return self._sha256


def _categorizer(value: object) -> object:
    """Raises one clear error instead of one for each kind."""
    if isinstance(value, Mapping):
        return Trained.model_validate(value)
    if value not in ("rules", "article") and not isinstance(value, Trained):
        raise ValueError("`rules`, `article` or {trained: PATH}")
    return value


CategorizerSetting = Annotated[Literal["rules", "article"] | Trained, BeforeValidator(_categorizer)]
