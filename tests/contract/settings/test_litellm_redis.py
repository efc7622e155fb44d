"""LiteLLM's own Redis is found wherever its configuration names it. A Redis without a URL is logged once."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from slo_router.contract.redis.link import is_usable
from slo_router.contract.settings.litellm_redis import find_redis

CACHE = "litellm_settings.cache_params"


def cached(**params: object) -> dict[str, object]:
    return {"litellm_settings": {"cache": True, "cache_params": {"type": "redis", **params}}}


def routed(**params: object) -> dict[str, object]:
    return {"router_settings": params}


@pytest.mark.parametrize(
    ("document", "environment", "url"),
    [
        (cached(host="h", port="6380", password="p@ss"), {}, "redis://:p%40ss@h:6380/0"),
        (cached(host="h", username="u", password="p", db=3), {}, "redis://u:p@h:6379/3"),
        (cached(host="h", ssl=True, ssl_cert_reqs="none"), {}, "rediss://h:6379/0?ssl_cert_reqs=none"),
        (cached(host="h", ssl="True", ssl_check_hostname=False), {}, "rediss://h:6379/0?ssl_check_hostname=false"),
        (cached(host="h", ssl="false"), {}, "redis://h:6379/0"),
        (cached(url="rediss://:p@h:1/2"), {}, "rediss://:p@h:1/2"),
        (
            cached(startup_nodes=[{"host": "a", "port": 1}, {"host": "b", "port": "2"}], password="p"),
            {},
            "redis+cluster://:p@a:1,b:2",
        ),
        (
            cached(
                sentinel_nodes=[["a", 26379], ["b", 26380]], service_name="main", sentinel_password="s", password="p"
            ),
            {},
            "redis+sentinel://:p@a:26379,b:26380/main/0?sentinel_password=s",
        ),
        (cached(), {"REDIS_HOST": "h", "REDIS_PORT": "6390", "REDIS_SSL": "false"}, "redis://h:6390/0"),
        ({"litellm_settings": {"cache": "true"}}, {"REDIS_URL": "redis://h:1/0"}, "redis://h:1/0"),
        (cached(host="h"), {"REDIS_URL": "redis://other:1/0", "REDIS_PASSWORD": "p"}, "redis://:p@h:6379/0"),
        (cached(host=None), {"REDIS_HOST": "h"}, "redis://h:6379/0"),
        (routed(redis_host="h", redis_port=6380, redis_password="p", redis_ssl=True), {}, "rediss://:p@h:6380/0"),
        (routed(redis_url="redis://h:1/0"), {}, "redis://h:1/0"),
        (routed(num_retries=2), {}, None),
        (
            {"general_settings": {"coordination_redis": {"host": "own"}}, **cached(host="cache")},
            {},
            "redis://own:6379/0",
        ),
        ({}, {"REDIS_HOST": "h"}, "redis://h:6379/0"),
        ({}, {"REDIS_CLUSTER_NODES": '[{"host": "a", "port": 1}]'}, "redis+cluster://a:1"),
        ({}, {"REDIS_SENTINEL_NODES": '[["a", 1]]', "REDIS_SERVICE_NAME": "m"}, "redis+sentinel://a:1/m/0"),
        ({}, {"REDIS_PORT": "tcp://10.0.0.1:6379"}, None),  # Kubernetes sets it for a service called redis
        ({"litellm_settings": {"cache": True, "cache_params": {"type": "local"}}}, {}, None),
        ({"litellm_settings": {"cache": False, "cache_params": {"type": "redis", "host": "h"}}}, {}, None),
        (cached(host="fd00::1"), {}, "redis://[fd00::1]:6379/0"),
    ],
)
def test_every_way_that_litellm_takes_it(
    document: Mapping[str, object], environment: Mapping[str, str], url: str | None
) -> None:
    found = find_redis(document, environment)
    assert (found.url, found.notes) == (url, ())
    assert url is None or is_usable(url)


@pytest.mark.parametrize(
    ("document", "environment", "note"),
    [
        (cached(host="h", aws_iam_auth=True), {}, f"{CACHE}: aws_iam_auth: a login by a cloud's identity, which the"),
        (cached(host="h", azure_redis_ad_token="true"), {}, f"{CACHE}: azure_redis_ad_token: a login by"),
        (cached(startup_nodes="[{"), {}, f"{CACHE}: startup_nodes: no list of hosts and ports, which the plugin"),
        (cached(sentinel_nodes=[["a", 1]]), {}, f"{CACHE}: sentinel_nodes without service_name, which the plugin"),
        (cached(host="h", port="tcp://h:1"), {}, f"{CACHE}: port: no number, which the plugin does not understand"),
        (cached(url="http://h"), {}, f"{CACHE}: url: no address of a Redis, which the plugin does not understand"),
        (cached(host="os.environ/SLO_NOT_SET"), {}, f"{CACHE}: os.environ/SLO_NOT_SET is not set here, so LiteLLM's"),
        ({}, {"REDIS_HOST": "h", "REDIS_GCP_SERVICE_ACCOUNT": "x"}, "the variables REDIS_…: gcp_service_account: a "),
    ],
)
def test_what_has_no_url_is_named_once_and_says_the_way_out(
    document: Mapping[str, object], environment: Mapping[str, str], note: str
) -> None:
    found = find_redis(document, environment)
    assert found.url is None
    (said,) = found.notes
    assert said.startswith(note)
    assert "set callback_settings.slo_router.redis_url" in said


def test_an_option_that_is_not_carried_over_is_named_and_the_redis_is_used() -> None:
    found = find_redis(cached(host="h", ssl=True, ssl_ciphers="HIGH"), {})
    assert found.url == "rediss://h:6379/0"
    assert found.notes == (
        f"{CACHE}: ssl_ciphers of LiteLLM's Redis is not carried over; set callback_settings.slo_router.redis_url",
    )
