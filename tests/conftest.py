"""For every test: its order, and an end, whatever hangs; one Valkey for all tests that leave it running, emptied before
each. Property tests are judged by what they find, not by how fast a busy machine draws their examples.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Iterator
from pathlib import PurePath

import pytest
import redis
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from evaluation.shared.valkey_server import ValkeyServer
from slo_router.contract.settings import installed
from tests.shared.timeouts import (  # noqa: F401  # hooks
    give_slow_ones_time,
    pytest_runtest_call,
    pytest_runtest_teardown,
    pytest_timeout_set_timer,
)

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


SHARED = {  # modules that share a proxy, so that one worker runs them
    **dict.fromkeys(("agent", "failures", "fallbacks", "fuzz", "odd_usage"), "stack"),
    **dict.fromkeys(("readme", "records", "redis", "routes", "slo"), "stack"),
    **dict.fromkeys(("live", "refusals"), "live"),
}
LONGEST = ("stack", "live", "virtual_keys", "operations", "real_model", "configurations")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first, so that small files fill up what is left."""
    items.sort(key=lambda item: _rank(item.path))
    give_slow_ones_time(items)


def _unit(path: PurePath) -> str:
    """What one worker runs: a module, or the modules that share a proxy."""
    name = path.stem.removeprefix("test_")
    return SHARED.get(name, name) if path.parent.name == "e2e" else str(path)


def _rank(path: PurePath) -> tuple[bool, int, str]:
    unit = _unit(path)
    return path.parent.name != "e2e", LONGEST.index(unit) if unit in LONGEST else len(LONGEST), unit


class _Units(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    def _split_scope(self, nodeid: str) -> str:
        return _unit(PurePath(super()._split_scope(nodeid)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    return _Units(config, log)


@pytest.fixture(scope="session", autouse=True)
def _litellm_is_looked_at_here() -> Iterator[None]:
    """`check` starts a process that imports LiteLLM, once for each of ours; most of these have imported it already.

    tests/e2e/test_readme.py runs the command as it is.
    """
    look = installed._look

    @functools.cache
    def look_here() -> tuple[str, list[str], list[str], list[str]]:
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # no download of the price map
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # LiteLLM's own
            from slo_router.gateway import seams  # noqa: PLC0415  # takes seconds

            return seams.version(), seams.shortcomings(), seams.untried(), seams.unasked()

    installed._look = look_here
    yield
    installed._look = look


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as running:
        yield running


@pytest.fixture
def server(_server: ValkeyServer) -> ValkeyServer:
    with redis.Redis(port=_server.port) as link:
        link.flushall()
    return _server


@pytest.fixture
def client(server: ValkeyServer) -> Iterator[redis.Redis]:
    with redis.Redis(port=server.port, decode_responses=True) as link:
        yield link
