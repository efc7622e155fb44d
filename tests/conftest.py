"""For every test: its order, and an end, whatever hangs; one Valkey for all tests that leave it running, emptied before
each. Property tests are judged by what they find, not by how fast a busy machine draws their examples.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import suppress
from types import FrameType

import pytest
import pytest_timeout
import redis
from hypothesis import HealthCheck, settings

from tests.valkey_server import ValkeyServer

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


WRITES_PRISMAS_CLIENT = "test_virtual_keys.py"  # 10 MB of Python: a proxy that starts after that takes 5 s longer
AGAIN_S = 30.0  # between two interruptions of a test whose time is up
TIMEOUT = pytest.StashKey[pytest_timeout.Settings]()
SLOW_TIMEOUT_S = 1_800  # of a test that is marked `slow`; the others' is in pyproject.toml


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Proxies first, so that small files fill up what is left, and the one with a database last of them."""
    items.sort(key=lambda item: ("e2e" not in item.path.parts, item.path.name == WRITES_PRISMAS_CLIENT))
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_TIMEOUT_S))


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: pytest_timeout.Settings) -> Generator[None, object, object]:
    """Shows where coroutines wait, and interrupts again what goes on hanging, as a `with` block does."""
    is_set = yield
    item.stash[TIMEOUT] = settings
    interrupt = signal.getsignal(signal.SIGALRM)
    if settings.method == "signal" and callable(interrupt):

        def show_and_interrupt(number: int, frame: FrameType | None) -> None:
            with suppress(RuntimeError):  # no loop runs
                for task in asyncio.all_tasks():
                    task.print_stack(file=sys.stderr)
            interrupt(number, frame)

        signal.signal(signal.SIGALRM, show_and_interrupt)
        signal.setitimer(signal.ITIMER_REAL, settings.timeout, AGAIN_S)
    return is_set


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Bounds what ends a failed test too, where pytest-timeout would look no more."""
    if TIMEOUT in item.stash:
        item.ihook.pytest_timeout_set_timer(item=item, settings=item.stash[TIMEOUT])
    return (yield)


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
