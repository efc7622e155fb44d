"""Units of tests: one worker runs a whole unit. The longest come first, so that small files fill the remaining time."""

from __future__ import annotations

from pathlib import PurePath

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

_STACK = ("agent", "failures", "fallbacks", "fuzz", "implicit", "odd_usage", "quality", "readme", "records", "redis")
SHARED = {  # modules that share a proxy
    **dict.fromkeys((*_STACK, "gemini", "routes", "slo", "tasks", "told_failures", "value"), "stack"),
    **dict.fromkeys(("live", "refusals"), "live"),
    **dict.fromkeys(("ceilings", "conversations", "first_token"), "streams"),
    **dict.fromkeys(("rescue", "rescue_broken", "rescue_healthy", "sessions", "thinking"), "streams"),
}
LONGEST = ("stack", "live", "streams", "quota", "virtual_keys", "operations", "real_model", "redis_topologies")


def unit_of(path: PurePath) -> str:
    """The unit of a test file: its module, or the modules that share a proxy."""
    name = path.stem.removeprefix("test_")
    return SHARED.get(name, name) if path.parent.name == "e2e" else str(path)


def rank(path: PurePath) -> tuple[bool, int, str]:
    """The sort key of a test file, which keeps each unit together."""
    unit = unit_of(path)
    return path.parent.name != "e2e", LONGEST.index(unit) if unit in LONGEST else len(LONGEST), unit


class _Units(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    def _split_scope(self, nodeid: str) -> str:
        return unit_of(PurePath(super()._split_scope(nodeid)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    return _Units(config, log)
