"""The load that a vLLM server reports is read. Senseless values are ignored."""

from __future__ import annotations

import pytest

from slo_router.contract.vllm_gauges import GAUGES, Load, load_of

GAUGE = '# TYPE vllm:num_requests_{0} gauge\nvllm:num_requests_{0}{{engine="{1}",model_name="m"}} {2}\n'


def test_running_and_waiting_of_every_engine_add_up() -> None:
    text = GAUGE.format("running", 0, 2.0) + GAUGE.format("running", 1, 3.0) + GAUGE.format("waiting", 0, 4.0)
    assert load_of(text.encode()) == Load(9)


def test_the_fullest_kv_cache_counts_under_its_new_and_its_old_name() -> None:
    usage = '# TYPE vllm:{0} gauge\nvllm:{0}{{engine="{1}"}} {2}\n'
    busy = GAUGE.format("running", 0, 1.0)
    new = usage.format("kv_cache_usage_perc", 0, 0.25) + usage.format("kv_cache_usage_perc", 1, 0.75)
    assert load_of((busy + new).encode()) == Load(1, 0.75)
    assert load_of((busy + usage.format("gpu_cache_usage_perc", 0, 0.5)).encode()) == Load(1, 0.5)
    assert load_of((busy + usage.format("kv_cache_usage_perc", 0, "NaN")).encode()) == Load(1)
    assert load_of(new.encode()) is None


@pytest.mark.parametrize("text", ["", "# nothing\n", "other 1\n", "<html>", f"# {GAUGES[0]} 1\n",
                                  GAUGE.format("running", 0, "NaN"),
                                  GAUGE.format("running", 0, -1.0), GAUGE.format("waiting", 0, 1e9)])  # fmt: skip
def test_what_tells_no_load_is_no_load(text: str) -> None:
    assert load_of(text.encode()) is None


def test_a_gauge_that_makes_no_sense_is_an_error() -> None:
    with pytest.raises(ValueError, match="could not convert"):
        load_of(b"vllm:num_requests_running many\n")
