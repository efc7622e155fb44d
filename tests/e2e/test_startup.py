"""A configuration that the plugin cannot use stops the stock proxy. The log names each error with place and reason."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from evaluation.emulator import Handle
from evaluation.shared.stock_proxy import StockProxy
from tests.e2e.conftest import document


def test_every_fault_is_named_with_its_path_and_no_password_is(handles: Sequence[Handle], tmp_path: Path) -> None:
    groups = {"smart": {"objectiv": "cheapest"}}
    configuration = document(handles, "http://user:hunter2@cache:6379", groups=groups, refresh_interval_s=0)
    configuration["model_list"][1]["model_info"]["id"] = None  # type: ignore[index]
    proxy = StockProxy(configuration, tmp_path)

    with pytest.raises(RuntimeError, match="the proxy did not start"):
        proxy.start()

    for fault in (
        "callback_settings.slo_router.redis_url: http://…/0, expected embedded, ",
        "callback_settings.slo_router.refresh_interval_s: 0, expected greater than 0",
        "callback_settings.slo_router.groups.smart.objectiv: unknown key, expected one of mode, slo,",
        "model_list[1].model_info.id: empty, expected a name, or no such line",
    ):
        assert fault in proxy.log
    assert "hunter2" not in proxy.log
