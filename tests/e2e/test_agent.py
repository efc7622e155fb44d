"""`slo-bench run` on the proxy's own YAML fills Redis, and the proxy then predicts what was measured."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from slo_bench.cli import app
from slo_bench.run.memory import PROBES
from slo_router.contract.record import RequestRecord
from tests.e2e.conftest import TTFT_MS, Stack

REQUESTS = 2  # for each deployment, and one more to warm up


@pytest.fixture
def unmeasured(stack: Stack) -> Iterator[Stack]:
    """The shared stack without metrics. They are published again after the test."""
    stack.changed = True
    client = stack.redis
    client.delete(*client.scan_iter("metrics:*"), *client.scan_iter("slo_bench:*"))
    yield stack
    client.close()


def bench(stack: Stack, *arguments: str) -> None:
    """Measures the deployments of the group `smart`, by the proxy's own configuration, in the category `ner`."""
    command = ["run", "--config", str(stack.proxy.config_path), "--requests", str(REQUESTS), "--categories", "ner"]
    command += ["--deployments", ",".join(TTFT_MS)]
    result = CliRunner(env={"LITELLM_MASTER_KEY": stack.proxy.master_key}).invoke(app, [*command, *arguments])
    assert result.exit_code == 0, result.output
    assert stack.proxy.master_key not in result.output


def basis(record: dict[str, object]) -> set[str]:
    """On what the predictions of a record's candidates are based."""
    decision = RequestRecord.model_validate(record).decision
    assert decision is not None
    candidates = decision["candidates"]
    assert isinstance(candidates, list)
    return {candidate["predicted"]["basis"] for candidate in candidates}


def predicted_ms(stack: Stack, deployment: str, category: str) -> float:
    """The TTFT that the proxy predicts for a deployment, by a request that goes there."""
    floor = {"small": "0.1", "medium": "0.7", "large": "0.9"}[deployment]
    answer = stack.ask(x_slo_category=category, x_slo_min_quality=floor)
    assert answer.headers["x-slo-selected-model"] == deployment
    return float(answer.headers["x-slo-predicted-ttft-ms"])


@pytest.mark.parametrize("way", ["direct", "through the proxy"])
def test_requests_are_predicted_from_what_the_agent_measured(unmeasured: Stack, way: str) -> None:
    bench(unmeasured, *(["--via-proxy", unmeasured.proxy.url] if way == "through the proxy" else []))
    asked = unmeasured.seen()
    unmeasured.refreshed()

    assert asked == dict.fromkeys(TTFT_MS, PROBES + 1 + REQUESTS)  # for plan, warm-up, measurement
    for deployment in TTFT_MS:
        measured = unmeasured.redis.hgetall(f"metrics:{deployment}:ner")
        measured_ms = float(measured["ttft_p95_ms"])
        assert measured["samples"] == str(REQUESTS)
        assert measured_ms >= 4  # the endpoint's own 5 ms, less its jitter
        assert predicted_ms(unmeasured, deployment, "ner") == pytest.approx(measured_ms, abs=0.051)
        assert predicted_ms(unmeasured, deployment, "code") == pytest.approx(measured_ms, abs=0.051)  # not measured
    bases = {record["category"]: basis(record) for record in unmeasured.records(2 * len(TTFT_MS))}
    assert bases == {"ner": {"measured"}, "code": {"pooled"}}  # and the agent's own requests left no record
