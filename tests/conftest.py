"""For every test: its order, and an end, whatever hangs; one Valkey for all tests that leave it running, emptied before
each. Property tests are judged by what they find, not by how fast a busy machine draws their examples.
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
if sys.version_info < (3, 12):  # where a collection may crash LiteLLM's proxy (docs/operations.md), and one of a test
    QUIET["PYTHON_GC_THRESHOLD"] = "0,20,20"  # answers so few requests that it can do without any
STARTUP = Path(__file__).parent / "shared" / "startup"
gc.disable()  # while millions of objects are imported that stay; looking through them takes a quarter of the time


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first, so that small files fill up what is left."""
    items.sort(key=lambda item: rank(item.path))
    give_slow_ones_time(items)
    gc.freeze()  # no later collection looks through them
    gc.enable()


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


@pytest.fixture(scope="session", autouse=True)
def _no_command_looks_through_the_heap() -> Iterator[None]:
    """The agent does when it begins: 20 ms in a process of its own, half a second in one that has loaded LiteLLM."""
    with mock.patch("slo_bench.measure.event_loop.gc"):
        yield


@pytest.fixture(scope="session", autouse=True)
def _processes_start_fast() -> Iterator[None]:
    """Those that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(STARTUP), prepend=os.pathsep)
        yield


@pytest.fixture(scope="session", autouse=True)
def _what_never_changes_is_made_once() -> Iterator[None]:
    """A process of ours reads LiteLLM's price map once, and makes its commands once; the tests run hundreds in one."""
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
