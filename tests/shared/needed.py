"""Programs that a test needs and a machine may lack. On CI the test then fails; elsewhere it is skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from evaluation.shared.debian import UnavailableError


@contextmanager
def needed() -> Iterator[None]:
    """Skips the test if the block raises UnavailableError. On CI the error is raised."""
    try:
        yield
    except UnavailableError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
