"""A configuration that the plugin cannot use stops the stock proxy, and its log says where and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from evaluation.endpoints import Handle
from evaluation.stock_proxy import StockProxy
from tests.e2e.conftest import document


def refusal(configuration: dict[str, object], directory: Path) -> str:
    """The end of the log of a proxy that does not start."""
    proxy = StockProxy(configuration, directory)
    try:
        with pytest.raises(RuntimeError, match="the proxy did not start") as refused:
            proxy.start()
    finally:
        proxy.stop()
    return str(refused.value)


def test_an_unknown_key_and_a_wrong_value_stop_the_proxy_and_are_both_named(
    handles: Sequence[Handle], tmp_path: Path
) -> None:
    log = refusal(document(handles, None, groups={"smart": {"objectiv": "cheapest"}}, refresh_interval_s=0), tmp_path)

    assert "callback_settings.slo_router.refresh_interval_s: 0, expected greater than 0" in log
    assert "callback_settings.slo_router.groups.smart.objectiv: unknown key, expected one of mode, slo," in log


def test_an_empty_id_stops_the_proxy_and_is_named(handles: Sequence[Handle], tmp_path: Path) -> None:
    configuration = document(handles, None)
    configuration["model_list"][1]["model_info"]["id"] = None  # type: ignore[index]

    log = refusal(configuration, tmp_path)

    assert "model_list[1].model_info.id: empty, expected a name, or no such line" in log
