"""The proxies of studies and tests are started in the same way."""

from __future__ import annotations

import sys
from pathlib import Path

from evaluation.shared.stock_proxy import StockProxy


def test_a_tests_proxy_collects_no_garbage_where_a_collection_may_crash_it(tmp_path: Path) -> None:
    """A study's proxy serves for hours, so it collects garbage, but rarely."""
    environment = StockProxy({}, tmp_path)._environment
    may_crash = sys.version_info < (3, 12)
    assert environment.get("PYTHON_GC_THRESHOLD") == ("0,20,20" if may_crash else None)
    told = StockProxy({}, tmp_path, environment={"PYTHON_GC_THRESHOLD": "700,10,10"})
    assert told._environment["PYTHON_GC_THRESHOLD"] == "700,10,10"
