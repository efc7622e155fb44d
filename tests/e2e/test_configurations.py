"""Configurations as people have them start on the stock proxy and route, and what is odd about them is in its log."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import redis

from evaluation.endpoints import Handle
from evaluation.stock_proxy import StockProxy
from slo_router.config import load_settings
from tests.e2e.conftest import ASK
from tests.valkey_server import ValkeyServer

CASES = Path(__file__).parents[1] / "cases"
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


def proxy_of(
    name: str, directory: Path, variables: Mapping[str, str], changed: tuple[str, str] = ("", "")
) -> StockProxy:
    """A proxy of one case, as it stands in its file; the file's text with one change."""
    for path in CASES.glob("*.yaml"):
        shutil.copy(path, directory)
    proxy = StockProxy({}, directory, environment=variables)
    proxy.config_path.write_text((CASES / name).read_text(encoding="utf-8").replace(*changed), encoding="utf-8")
    return proxy


def routed(proxy: StockProxy) -> str:
    """The deployment that answered a request."""
    body = {"model": "writer", "messages": [{"role": "user", "content": ASK}]}
    answer = httpx.post(f"{proxy.url}/v1/chat/completions", json=body, headers=proxy.auth, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-slo-selected-model"]


def recorded(valkey: ValkeyServer, deployment: str) -> bool:
    """Whether the record of a request to it came to the Redis within a while."""
    with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
        for _ in range(100):
            if any(deployment in fields["record"] for _, fields in client.xrange("slo_router:requests")):
                return True
            time.sleep(0.1)
    return False


def test_a_plain_configuration_routes_by_litellms_id_and_its_redis_and_says_what_is_odd(
    handles: Sequence[Handle], valkey: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = environment(handles, valkey)
    with proxy_of("twice.yaml", tmp_path, variables) as proxy:
        chosen, log = routed(proxy), proxy.log
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


def test_variables_stand_where_numbers_do(handles: Sequence[Handle], valkey: ValkeyServer, tmp_path: Path) -> None:
    with proxy_of("numbers.yaml", tmp_path, environment(handles, valkey)) as proxy:
        assert routed(proxy) == "from-environment"


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
            assert re.fullmatch("[0-9a-f]{64}", routed(proxy))  # of "included-models.yaml" the one that is good enough
            assert WITHOUT_ID in proxy.log


def test_a_redis_that_cannot_be_right_stops_the_proxy_with_its_path_and_without_its_password(
    handles: Sequence[Handle], valkey: ValkeyServer, tmp_path: Path
) -> None:
    variables = environment(handles, valkey) | {"CASE_REDIS": "http://user:hunter2@cache:6379"}
    proxy = proxy_of("include.yaml", tmp_path, variables, ("min_quality: 0.5", "min_qualty: 0.5"))
    with pytest.raises(RuntimeError, match="the proxy did not start"):
        proxy.start()
    assert "callback_settings.slo_router.redis_url: http://…/0, expected embedded, " in proxy.log
    assert "groups.writer.min_qualty: unknown key, expected one of" in proxy.log
    assert "hunter2" not in proxy.log


def test_a_redis_variable_that_is_not_set_stops_the_proxy(
    handles: Sequence[Handle], valkey: ValkeyServer, tmp_path: Path
) -> None:
    variables = {name: value for name, value in environment(handles, valkey).items() if name != "CASE_REDIS"}
    proxy = proxy_of("include.yaml", tmp_path, variables)
    with pytest.raises(RuntimeError, match="the proxy did not start"):
        proxy.start()
    expected = "expected the environment variable CASE_REDIS to be set"
    assert f"callback_settings.slo_router.redis_url: 'os.environ/CASE_REDIS', {expected}" in proxy.log
