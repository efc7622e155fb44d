"""For every test: its order, and an end even if something hangs. One Valkey serves all tests that leave it running.

The Valkey is emptied before each test. Property tests fail by what they find, not because a busy machine draws their
examples slowly.
"""

from __future__ import annotations

import functools
import gc
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
import redis
import typer.testing
from hypothesis import HealthCheck, settings

from evaluation.shared.stock_proxy import QUIET
from evaluation.shared.valkey_server import ValkeyServer
from slo_router.contract.settings import deployments, installed
from tests.shared.timeouts import (  # noqa: F401  # hooks
    give_slow_ones_time,
    pytest_runtest_call,
    pytest_runtest_teardown,
    pytest_timeout_set_timer,
)
from tests.shared.units import pytest_xdist_make_scheduler, rank  # noqa: F401  # a hook

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
if sys.version_info < (3, 12):  # there a garbage collection may crash LiteLLM's proxy (docs/operations.md)
    QUIET["PYTHON_GC_THRESHOLD"] = "0,20,20"  # a proxy of a test answers so few requests that it needs no collection
STARTUP = Path(__file__).parent / "shared" / "startup"
gc.disable()  # during imports: scanning millions of lasting objects takes a quarter of the time


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs the longest units first, so that small files fill the remaining time."""
    items.sort(key=lambda item: rank(item.path))
    give_slow_ones_time(items)
    gc.freeze()  # later collections skip the imported objects
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _litellm_is_looked_at_here() -> Iterator[None]:
    """`check` starts a process that imports LiteLLM. In tests it uses this process, which mostly has imported it.

    tests/e2e/test_readme.py runs the command unchanged.
    """
    look = installed._look

    @functools.cache
    def look_here() -> tuple[str, list[str], list[str], list[str]]:
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # no download of the price map
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # LiteLLM's warnings
            from slo_router.gateway import seams  # noqa: PLC0415  # takes seconds

            return seams.version(), seams.shortcomings(), seams.untried(), seams.unasked()

    installed._look = look_here
    yield
    installed._look = look


@pytest.fixture(scope="session", autouse=True)
def _no_command_looks_through_the_heap() -> Iterator[None]:
    """The agent scans the heap when it begins. That takes 20 ms in its own process, and 0.5 s if LiteLLM is loaded."""
    with mock.patch("slo_bench.measure.event_loop.gc"):
        yield


@pytest.fixture(scope="session", autouse=True)
def _processes_start_fast() -> Iterator[None]:
    """Processes that tests start begin faster, see shared/startup."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(STARTUP), prepend=os.pathsep)
        yield


@pytest.fixture(scope="session", autouse=True)
def _what_never_changes_is_made_once() -> Iterator[None]:
    """One process reads LiteLLM's price map once and makes its commands once. Tests run hundreds of commands in it."""
    with (
        mock.patch.object(deployments, "_read_price_map", functools.cache(deployments._read_price_map)),
        mock.patch.object(typer.testing, "_get_command", functools.cache(typer.main.get_command)),
    ):
        yield


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
