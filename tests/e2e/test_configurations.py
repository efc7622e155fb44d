"""Configurations like those of real users start on the stock proxy and route. The log says what is odd about them."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import redis
import yaml

from evaluation.emulator import Handle
from evaluation.shared.stock_proxy import LOCAL, StockProxy, free_port
from evaluation.shared.valkey_server import ValkeyServer
from slo_router.contract.settings.config import load_settings
from tests.e2e.conftest import ASK, document

CASES = Path(__file__).with_name("cases")
NAMES = {
    "CASE_GROUP": "writer",
    "CASE_MODEL": "small",
    "CASE_PRICE": "0.0000001",
    "CASE_ID": "from-environment",
    "CASE_WINDOW": "8000",
    "CASE_FLAG": "true",
    "CASE_QUALITY": "0.7",
}
WITHOUT_ID = "model_info.id: without one, LiteLLM's generated id is used"


def environment(handles: Sequence[Handle], valkey: ValkeyServer) -> dict[str, str]:
    port = str(urlsplit(valkey.url).port)
    return NAMES | {
        "CASE_BASE": handles[0].api_base,
        "CASE_REDIS": valkey.url,
        "CASE_REDIS_HOST": "127.0.0.1",
        "CASE_REDIS_PORT": port,
    }


def proxy_of(name: str, directory: Path, variables: Mapping[str, str]) -> StockProxy:
    """A proxy with the configuration in one case's file."""
    for path in CASES.glob("*.yaml"):
        shutil.copy(path, directory)
    proxy = StockProxy({}, directory, environment=variables)
    shutil.copy(CASES / name, proxy.config_path)
    return proxy


def routed(proxy: StockProxy, group: str = "writer", **headers: str) -> httpx.Headers:
    """The headers of the answer to a request; a header's name is given with underscores."""
    body = {"model": group, "messages": [{"role": "user", "content": ASK}]}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"{proxy.url}/v1/chat/completions"
    answer = LOCAL.post(url, json=body, headers={**proxy.auth, **named})
    assert answer.status_code == 200, answer.text
    return answer.headers


def recorded(valkey: ValkeyServer, deployment: str) -> bool:
    """Whether the record of a request to this deployment reaches the Redis in time."""
    with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s:
            if any(deployment in fields["record"] for _, fields in client.xrange("slo_router:requests")):
                return True
            time.sleep(0.1)
    return False


def test_a_plain_configuration_routes_by_litellms_id_and_its_redis_and_says_what_is_odd(
    handles: Sequence[Handle], valkey: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = environment(handles, valkey)
    with proxy_of("twice.yaml", tmp_path, variables) as proxy:
        chosen, log = routed(proxy)["x-slo-selected-model"], proxy.log
        assert recorded(valkey, chosen)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(proxy.config_path)
    assert chosen == next(one for one in settings.deployments if one.group == "writer").facts.deployment_id
    assert (settings.plugin.redis_url, re.fullmatch("[0-9a-f]{64}", chosen) is None) == (valkey.url, False)
    for note in (
        "router_settings stands twice, in lines 2 and 11: only the last counts",
        "groups.mistral/*: a wildcard, which the plugin does not route",
        "router_settings.fallbacks: writer falls back to spare, which the plugin does not route",
        f"{WITHOUT_ID}, and measurements are lost when a parameter or a key changes: model_list[0] small~{chosen[:8]}",
    ):
        assert note in log
    assert not settings.notes or all(note in log for note in settings.notes)


@pytest.fixture(scope="module")
def numbers(
    handles: Sequence[Handle], valkey: ValkeyServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StockProxy]:
    """The case `numbers` together with conftest's own document, with a Redis that does not exist."""
    nowhere = f"redis://user:hidden-password@127.0.0.1:{free_port()}/0"
    case = yaml.safe_load((CASES / "numbers.yaml").read_text(encoding="utf-8"))
    own = document(handles, None)
    case["model_list"] += own["model_list"]
    case["callback_settings"]["slo_router"]["groups"] |= own["callback_settings"]["slo_router"]["groups"]  # type: ignore[index]
    variables = environment(handles, valkey) | {"CASE_REDIS": nowhere}
    with StockProxy(case, tmp_path_factory.mktemp("numbers"), environment=variables) as proxy:
        yield proxy


def test_variables_stand_where_numbers_do(numbers: StockProxy) -> None:
    assert routed(numbers)["x-slo-selected-model"] == "from-environment"


def test_without_redis_the_proxy_starts_routes_on_configuration_and_says_so(numbers: StockProxy) -> None:
    cheapest, best = routed(numbers, "smart"), routed(numbers, "smart", x_slo_min_quality="0.9")

    assert cheapest["x-slo-selected-model"] == "small"
    assert cheapest["x-slo-reason"] == "cheapest; no measurement of ttft_ms"
    assert best["x-slo-selected-model"] == "large"
    assert "routing on configuration (quality, prices) until it answers" in numbers.log
    assert "hidden-password" not in numbers.log


@pytest.mark.slow
@pytest.mark.parametrize("name", ["anchors.yaml", "block.yaml", "include.yaml", "database-only.yaml"])
def test_more_of_what_people_have_starts(
    name: str, handles: Sequence[Handle], valkey: ValkeyServer, tmp_path: Path
) -> None:
    with proxy_of(name, tmp_path, environment(handles, valkey)) as proxy:
        if name == "database-only.yaml":
            assert "groups.writer: no deployment yet in group writer; LiteLLM's database may add one" in proxy.log
            assert "Redis at redis://…/0: 0 of 0 deployments measured" in proxy.log
        else:
            chosen = routed(proxy)["x-slo-selected-model"]  # in "included-models.yaml" one is good enough
            assert re.fullmatch("[0-9a-f]{64}", chosen)
            assert WITHOUT_ID in proxy.log
