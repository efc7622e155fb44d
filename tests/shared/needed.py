"""What a test needs and this machine may lack: on CI that is a failure, elsewhere the test is skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from evaluation.shared.debian import UnavailableError


@contextmanager
def needed() -> Iterator[None]:
    """Skips the test where something in the block is not to be had; raises UnavailableError on CI."""
    try:
        yield
    except UnavailableError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
