"""The decision page in a real browser: in desktop and phone size, by keyboard alone, and in LiteLLM's admin UI.

PAGE_SCREENSHOTS=DIR keeps the pictures.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import redis
import yaml

from evaluation.shared.stock_proxy import StockProxy, free_port
from evaluation.shared.valkey_server import ValkeyServer
from tests.e2e.chromium import Tab, browser, program
from tests.operator.page.page_records import COUNT, fill, page_config
from tests.shared.needed import needed
from tests.shared.record_builders import line_of

pytestmark = pytest.mark.slow

TOKEN = "a token of enough characters"
SALT = "salt of this proxy"
SIZES = {"desk": (1280, 900), "phone": (390, 844)}
VIEWS = {
    "now": "",
    "decisions": "decisions",
    "decision": "decision?id=chatcmpl-4",
    "quality": "quality",
    "what-if": "what-if",
}
START_TIMEOUT_S = 60.0
REFUSED = "the server responded with a status of 401"  # the browser's note on asking for the login


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as running:
        yield running


@pytest.fixture
def link(server: ValkeyServer) -> Iterator[redis.Redis]:
    with redis.Redis(port=server.port, decode_responses=True) as client:
        client.flushall()
        yield client


@pytest.fixture
def config(tmp_path: Path, server: ValkeyServer, link: redis.Redis) -> Path:
    path = page_config(tmp_path / "c.yaml", server.url)
    fill(server.url, link, path)
    return path


@pytest.fixture
def tab() -> Iterator[Tab]:
    with needed():
        program()
    with browser() as found:
        yield found


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("PAGE_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def serving(config: Path, port: int, *options: str) -> Iterator[str]:
    """Runs `slo-router page` in its own process; yields its address."""
    command = "import typer; from slo_router.operator.page.command import page; typer.run(page)"
    key = base64.urlsafe_b64encode(hmac.digest(SALT.encode(), b"slo-router", hashlib.sha256)).decode()
    environment = {**os.environ, "SLO_ROUTER_PAGE_TOKEN": TOKEN, "SLO_ROUTER_PAGE_CLAIM_KEY": key}
    arguments = ["--config", str(config), "--listen", f"127.0.0.1:{port}", *options]
    with (config.parent / "page.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", command, *arguments], env=environment, stdout=log, stderr=log)
    url, deadline_s = f"http://127.0.0.1:{port}/", time.monotonic() + START_TIMEOUT_S
    try:
        while True:
            try:
                httpx.get(f"{url}healthz", trust_env=False).raise_for_status()
                break
            except httpx.HTTPError:
                assert process.poll() is None, (config.parent / "page.log").read_text()
                assert time.monotonic() < deadline_s
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(START_TIMEOUT_S)


def log_in(tab: Tab, url: str) -> None:
    tab.open(url)
    tab_to(tab, "token")
    tab.write(TOKEN)
    tab.press("Enter")
    tab.wait_until("document.title.startsWith('Now')")


def tab_to(tab: Tab, field: str) -> None:
    """Moves the focus by keyboard to the field with this id."""
    for _ in range(30):
        if focused(tab)["id"] == field:
            return
        tab.press("Tab")
    raise AssertionError(f"no way to {field} by keyboard")


def focused(tab: Tab) -> dict[str, str]:
    """The element with the focus: its text or id, and whether the focus is visible."""
    found = tab.evaluate(
        """(() => {
        const one = document.activeElement, box = one.getBoundingClientRect(), style = getComputedStyle(one);
        const name = one.innerText?.trim().split("\\n")[0] || one.id || one.tagName;
        const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2
            && box.right > 0 && box.bottom > 0 && box.left < innerWidth && box.top < innerHeight;
        return {name: one.tagName === "BODY" ? "" : name, id: one.id, seen: String(seen)};
        })()"""
    )
    assert isinstance(found, dict)
    return found


def test_every_view_fits_a_desk_and_a_phone_and_breaks_no_policy(tab: Tab, config: Path, pictures: Path) -> None:
    with serving(config, free_port()) as url:
        log_in(tab, url)
        for size, (width, height) in SIZES.items():
            tab.resize(width, height)
            for name, path in VIEWS.items():
                tab.open(url + path)
                tab.screenshot(pictures / f"{name}-{size}.png")
                assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), (name, size)
                table = tab.evaluate("(t => t && getComputedStyle(t).display)(document.querySelector('td'))")
                assert table in (None, "table-cell" if size == "desk" else "grid"), (name, size)
        tab.open(url)
        lefts = tab.evaluate(
            "[...document.querySelectorAll('.big > div')].map(one => one.getBoundingClientRect().left)"
        )
        assert len(lefts) == 4
        assert len(set(lefts)) == 1  # one column
        assert {"table", "row", "rowheader", "cell"} <= tab.roles()  # although the style shows the rows as cards
        assert [one for one in tab.problems if REFUSED not in one] == []


def test_the_keyboard_alone_reaches_everything_in_order_and_is_seen(tab: Tab, config: Path) -> None:
    with serving(config, free_port()) as url:
        tab.resize(*SIZES["desk"])
        log_in(tab, url)
        tab.open(url)
        names = []
        for _ in range(10):
            tab.press("Tab")
            one = focused(tab)
            assert one["seen"] == "true", one
            names.append(one["name"])
        before = ["Skip to content", "Now", "Decisions", "Quality", "What if", "Log out"]
        assert names == [*before, "5 minutes", "1 hour", "24 hours", "refresh"]
        tab.open(url)
        tab.press("Tab")
        tab.press("Enter")
        assert tab.evaluate("document.activeElement.id") == "main"
        tab.press("Tab")
        assert focused(tab)["name"] == "5 minutes"  # after the navigation


def test_a_what_if_is_asked_by_keyboard(tab: Tab, config: Path, pictures: Path) -> None:
    with serving(config, free_port()) as url:
        tab.resize(*SIZES["phone"])
        log_in(tab, url)
        tab.open(url + "what-if")
        for field, value in (("prompt_tokens", "1000"), ("ttft_ms", "50")):
            tab_to(tab, field)
            tab.write(value)
        tab.press("Enter")
        tab.wait_until("document.querySelector('[role=status]') !== null")
        tab.screenshot(pictures / "what-if-decided-phone.png")
        assert "fallback" in tab.evaluate("document.querySelector('[role=status]').innerText")
        assert tab.evaluate("document.querySelector('#ttft_ms').value") == "50"


def test_the_figures_renew_in_place_unless_switched_off_or_read_by_keyboard(
    tab: Tab, config: Path, link: redis.Redis
) -> None:
    def shown(tab: Tab) -> int:
        tab.evaluate("refresh()")
        return int(tab.evaluate("document.querySelector('.big b').innerText"))

    with serving(config, free_port()) as url:
        tab.resize(*SIZES["desk"])
        log_in(tab, url)
        tab.evaluate("window.stayed = true")
        link.xadd("slo_router:requests", {"record": line_of(ts=time.time())})
        assert shown(tab) == COUNT + 1
        link.xadd("slo_router:requests", {"record": line_of(ts=time.time())})
        tab.evaluate("document.querySelector('.scroll').focus()")
        assert shown(tab) == COUNT + 1
        tab.evaluate("document.querySelector('.scroll').blur()")
        assert shown(tab) == COUNT + 2
        link.xadd("slo_router:requests", {"record": line_of(ts=time.time())})
        tab.evaluate("document.querySelector('#refresh').click()")
        assert shown(tab) == COUNT + 2
        assert tab.evaluate("window.stayed") is True


def test_it_shows_inside_litellms_admin_ui_without_a_second_login(
    tab: Tab, config: Path, pictures: Path, tmp_path: Path
) -> None:
    port = free_port()
    document = yaml.safe_load(config.read_text())
    plugin = {
        "name": "slo-router",
        "display_name": "SLO router",
        "url": f"http://127.0.0.1:{port}",
        "plugin_key": TOKEN,
    }
    proxied = {
        "model_list": document["model_list"],
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY", "plugins": [plugin]},
    }
    folder = tmp_path / "proxy"
    folder.mkdir()
    with (
        StockProxy(proxied, folder, environment={"LITELLM_SALT_KEY": SALT}) as proxy,
        serving(config, port, "--litellm-url", proxy.url) as url,
    ):
        forwarded = httpx.get(f"{proxy.url}/plugin-proxy/slo-router/decisions", headers=proxy.auth, trust_env=False)
        assert forwarded.status_code == httpx.codes.OK
        assert "chatcmpl-99" in forwarded.text
        assert httpx.get(f"{url}decisions", headers=proxy.auth, trust_env=False).status_code == httpx.codes.UNAUTHORIZED

        tab.resize(*SIZES["desk"])
        tab.open(f"{proxy.url}/health/liveliness")
        told = {"key": proxy.master_key, "user_id": "admin", "user_role": "proxy_admin", "login_method": "sso"}
        parts = [{"alg": "HS256", "typ": "JWT"}, {**told, "exp": int(time.time()) + 3_600}]
        token = ".".join([*(base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts), "x"])
        tab.evaluate(f"document.cookie = 'token={token}; path=/'")
        tab.evaluate("localStorage.setItem('litellm_plugin_mode', 'slo-router')")
        tab.open(f"{proxy.url}/ui/")
        tab.wait_until("document.title.startsWith('Now')", frame=url.rstrip("/"))
        tab.screenshot(pictures / "in-litellm.png")
