"""The decision page shows what the records say to those who may look, and nothing to others; it writes nothing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
import redis
from cryptography.fernet import Fernet
from starlette.testclient import TestClient
from typer import Typer
from typer.testing import CliRunner

from evaluation.shared.valkey_server import ValkeyServer
from slo_router.contract.model import Facts
from slo_router.contract.settings.config import load_settings
from slo_router.errors import SettingsError
from slo_router.operator import page as page_package
from slo_router.operator.page.access import Access, check_claim_key, check_token, read_address, read_origin
from slo_router.operator.page.app import make_app
from slo_router.operator.page.command import page as page_command
from slo_router.operator.page.reading import Source
from slo_router.worker.rollout import publish, switch
from tests.operator.page.page_records import GROUPS, fill, page_config
from tests.shared.record_builders import SMALL, decide_between, line_of, shadow_line_of, write_config

TOKEN = "a token of enough characters"
BEARER = {"authorization": f"Bearer {TOKEN}"}
HTML = {"accept": "text/html"}
CLAIM_KEY = base64.urlsafe_b64encode(hmac.digest(b"salt", b"slo-router", hashlib.sha256)).decode()
LITELLM = "https://litellm.example.com"
VIEWS = ("/", "/decisions", "/decision?id=chatcmpl-4", "/quality", "/what-if")
VOID = {"meta", "link", "input", "br"}


class Markup(HTMLParser):
    """Checks that what opens closes, and keeps what the tests ask of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self._open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def link(server: ValkeyServer) -> Iterator[redis.Redis]:
    with redis.Redis(port=server.port, decode_responses=True) as client:
        yield client


@pytest.fixture
def config(tmp_path: Path, server: ValkeyServer) -> Path:
    return page_config(tmp_path / "c.yaml", server.url)


def stranger(config: Path, **access: str) -> TestClient:
    return TestClient(make_app(Source(config), Access(TOKEN, **access)), follow_redirects=False)


def viewer(config: Path) -> TestClient:
    client = stranger(config)
    client.headers.update(BEARER)
    return client


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_now_shows_share_cost_attainment_and_predictions_with_bounds_and_age(
    server: ValkeyServer, link: redis.Redis, config: Path
) -> None:
    fill(server.url, link, config)
    shown = text_of(viewer(config).get("/").text)
    for text in (
        "100 records in Redis",
        "1 workers",
        "100 within 1 hour, 0 errors",
        "80.0 % 71.1 to 86.7 %, 100 judged",  # 80 of 100, Wilson's interval
        "$0.1400 instead of $0.5000",  # 80 × $0.0005 + 20 × $0.005; all at 300 × $10 and 100 × $20 per million
        "72.0 % $0.3600",
        "small smart 80.0 % 80 $0.0400 $0.0005000 90.0 % 100.0 %",
        "large smart 20.0 % 20 $0.1000 $0.0050000 0.0 % 0.0 %",
        "0 open for ",
        "small benchmark: summarization 150 to 300 ms 10.0 ms – 200 2.0 h",
        "blue 50 80.0 %",
    ):
        assert text in shown, (text, shown)
    assert re.search(r"small live, 1,000 tokens at this load 8\d to 1\d\d ms", shown), (
        shown
    )  # 80 ms, with the benchmark's p95


def test_a_span_counts_its_own_records_and_a_plot_needs_two_points(
    server: ValkeyServer, link: redis.Redis, config: Path
) -> None:
    fill(server.url, link, config)
    page = viewer(config)
    # every 30 s one, the last of them 30 s ago: ten within 5 minutes, or nine once a moment has passed
    assert re.search(r"\b(9|10) within 5 minutes", text_of(page.get("/?window=5m").text))
    assert text_of(page.get("/?window=strange").text).count("100 within 1 hour") == 1
    assert Markup(page.get("/?window=24h").text).of("figure")
    link.delete("slo_router:requests")
    link.xadd("slo_router:requests", {"record": line_of(ts=time.time())})
    assert not Markup(page.get("/").text).of("figure")


def test_the_last_decisions_link_to_the_whole_why(server: ValkeyServer, link: redis.Redis, config: Path) -> None:
    fill(server.url, link, config)
    page = viewer(config)
    links = [one["href"] or "" for one in Markup(page.get("/decisions").text).of("a")]
    ids = [one.partition("id=")[2] for one in links if one.startswith("decision?")]
    assert ids == [f"chatcmpl-{index}" for index in range(99, 49, -1)]
    broken = Markup(page.get("/decisions?slo=broken").text).of("a")
    assert [one["href"] for one in broken if (one["href"] or "").startswith("decision?")] == [
        f"decision?id=chatcmpl-{index}" for index in range(99, 0, -5)
    ]
    link.xadd("slo_router:requests", {"record": shadow_line_of(request_id="unheard", deployment="large")})
    assert "large shadow: small kept" in text_of(page.get("/decisions").text)
    assert "Shadow without effect: LiteLLM chose" in text_of(page.get("/decision?id=unheard").text)
    shown = text_of(page.get("/decision?id=chatcmpl-4").text)
    assert "Shadow" not in shown
    for text in (
        "fallback: large; no candidate meets ttft_ms; best quality of 2; +40 ms on ttft_ms would",
        "Request ner (client), about 1,000 + 500 tokens",
        "SLO ttft_ms 160, min_quality 0.8",
        "Too tight ttft_ms by 40",
        "Key and team alias, red",
        "success from large, 1 attempts, SLO broken",
        "TTFT 300 ms, total 2,000 ms, $0.0050000, 300 + 100 tokens",
        "Decided again the same",
        "small ruled out: quality 0.7 is below 0.8 by 0.1 100 ms",
        "measured, 60 s old",
    ):
        assert text in shown, (text, shown)


def test_another_policy_or_group_is_not_decided_again(link: redis.Redis, config: Path) -> None:
    link.xadd("slo_router:requests", {"record": line_of(request_id="old")})
    link.xadd("slo_router:requests", {"record": line_of(request_id="else", model_group="else")})
    page = viewer(config)
    shown = unescape(text_of(page.get("/decision?id=old").text))
    assert "no: policy cafe0123 is neither the YAML's nor one of the last" in shown
    assert "no: the YAML does not manage else" in text_of(page.get("/decision?id=else").text)


def test_the_policy_that_was_published_counts_and_a_switch_is_shown(
    server: ValkeyServer, link: redis.Redis, config: Path
) -> None:
    fill(server.url, link, config)
    own = load_settings(config).plugin
    stricter = own.groups["smart"].model_copy(update={"min_quality": {"default": 0.8}})
    link.delete(*link.keys("slo_router:live:*"))  # the benchmark alone counts
    version = publish(link, own, {"smart": stricter}).version
    page = viewer(config)
    assert f"policy {version}," in page.get("/").text
    assert "smart.min_quality.default: 0.8, was unset" in page.get("/").text
    assert "Switched off" not in page.get("/").text
    shown = text_of(page.post("/what-if", data={"prompt_tokens": "1000", "category": "ner", "ttft_ms": "900"}).text)
    assert "small ruled out: quality is sure to be 0.651, and 0.8 is asked for" in shown
    assert "Decided again the same" in text_of(page.get("/decision?id=chatcmpl-4").text)  # by the YAML's, as it was
    switch(link, "", "smart", on=False)
    assert "LiteLLM alone routes: smart" in page.get("/").text


@pytest.mark.parametrize(
    ("request_id", "why"), [("gone", "no record of it"), ("", "no record"), ("ours", "LiteLLM chose")]
)
def test_a_request_without_a_decision_is_404(link: redis.Redis, config: Path, request_id: str, why: str) -> None:
    undecided = json.loads(line_of(request_id="ours")) | {"decision": None}
    link.xadd("slo_router:requests", {"record": json.dumps(undecided, separators=(",", ":"))})
    answer = viewer(config).get("/decision", params={"id": request_id})
    assert answer.status_code == 404
    assert why in answer.text
    assert "ours" not in text_of(viewer(config).get("/decisions").text)


def test_qualities_are_shown_with_their_evidence_for_what_serves_nothing_too(
    server: ValkeyServer, link: redis.Redis, config: Path
) -> None:
    fill(server.url, link, config)
    shown = text_of(viewer(config).get("/quality").text)
    graded = r"small ner 0.700 0.720 0.583 to 0.825 50 0.7\d\d 0.6\d\d \(90 % sure\) 50 suite 2.0 h old 80"
    assert re.search(graded, shown)  # 36 of 50, Wilson's interval
    assert "large code 0.900 – – – – – – – 0" in shown


def test_what_if_decides_a_size_or_a_prompt_now_and_stores_nothing(
    server: ValkeyServer, link: redis.Redis, config: Path
) -> None:
    fill(server.url, link, config)
    link.delete(*link.keys("slo_router:live:*"))  # the benchmark alone, so that numbers stand still
    before = sorted(link.keys("*")), link.xlen("slo_router:requests")
    page = viewer(config)
    shown = text_of(page.post("/what-if", data={"prompt_tokens": "1000", "category": "ner", "ttft_ms": "250"}).text)
    assert "met: small; cheapest of 1 that meet the SLO" in shown  # at p95 200 ms, large 400 ms
    assert "ner (client), about 1,000 + 120 tokens" in shown
    assert "misses ttft_ms by 150 ms (400 ms against 250 ms)" in shown
    shown = text_of(page.post("/what-if", data={"prompt": "Who is named here?", "max_tokens": "7"}).text)
    assert "+ 7 tokens" in shown
    assert "SLO ttft_ms 160" in shown  # the group's
    assert (sorted(link.keys("*")), link.xlen("slo_router:requests")) == before


@pytest.mark.parametrize(
    ("form", "wrong"),
    [
        ({}, "expected either a prompt or its size"),
        ({"prompt": "x", "prompt_tokens": "3"}, "expected either a prompt or its size"),
        ({"prompt_tokens": "0"}, "prompt_tokens: '0', expected a whole number from 1 to 2,000,000"),
        ({"prompt_tokens": "²"}, "prompt_tokens: '²', expected a whole number"),
        ({"prompt": "x", "max_tokens": "many"}, "max_tokens: 'many'"),
        ({"prompt": "x", "ttft_ms": "soon"}, "x-slo-ttft-ms: 'soon' is not valid"),
        ({"prompt": "x", "group": "else"}, "group: 'else', expected one of smart"),
        ({"prompt": "x", "category": "<b>"}, "x-slo-category: '<b>' is not valid"),
    ],
)
def test_a_wrong_form_is_told_and_kept(config: Path, form: dict[str, str], wrong: str) -> None:
    answer = viewer(config).post("/what-if", data=form)
    assert answer.status_code == 422
    shown = unescape(answer.text)
    assert wrong in shown, shown
    assert "<b>" not in answer.text
    fields = {one.get("name"): one.get("value") for one in Markup(answer.text).of("input")}
    assert fields["ttft_ms"] == form.get("ttft_ms", "")


def test_a_stranger_gets_nothing_but_the_login(server: ValkeyServer, link: redis.Redis, config: Path) -> None:
    fill(server.url, link, config)
    page = stranger(config)
    for path in (*VIEWS, "/nope", "/api/anything", "/%6cogin/../decisions"):
        for headers in ({}, HTML, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}):
            answer = page.get(path, headers=headers)
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "small" not in answer.text
    assert page.post("/what-if", data={"prompt": "x"}).status_code == 401
    assert page.post("/logout").status_code == 401
    for path in ("/login", "/style.css", "/page.js", "/icon.svg", "/healthz"):
        assert page.get(path).status_code == 200


def test_logging_in_gives_a_cookie_that_ends_and_holds_no_token(config: Path) -> None:
    page = stranger(config)
    wrong = page.post("/login", data={"token": TOKEN[:-1]})
    assert wrong.status_code == 401
    assert "That is not the token." in wrong.text
    assert "set-cookie" not in wrong.headers
    right = page.post("/login", data={"token": f" {TOKEN}\n"})
    assert (right.status_code, right.headers["location"]) == (303, "./")
    cookie = right.headers["set-cookie"]
    assert re.fullmatch(r"slo_router_page=\d+\.[0-9a-f]{64}; Path=/; Max-Age=43200; HttpOnly; SameSite=Lax", cookie)
    assert page.get("/").status_code == 200
    out = page.post("/logout")
    assert out.headers["location"] == "login"
    assert page.get("/").status_code == 401


def test_over_https_the_cookie_is_secure_and_in_a_frame_it_is_of_that_frame(config: Path) -> None:
    for access, attributes in (
        ({}, "SameSite=Lax; Secure"),
        ({"litellm_origin": LITELLM}, "SameSite=None; Partitioned; Secure"),
    ):
        app = make_app(Source(config), Access(TOKEN, **access))
        page = TestClient(app, base_url="https://page.example.com", follow_redirects=False)
        assert page.post("/login", data={"token": TOKEN}).headers["set-cookie"].endswith(attributes)
        gone = page.post("/logout").headers["set-cookie"]  # a browser drops it where these are the same
        assert gone == f"slo_router_page=; Path=/; Max-Age=0; HttpOnly; {attributes}"


def test_a_session_that_is_forged_changed_or_over_is_none() -> None:
    access, now_s = Access(TOKEN), 1_000_000.0
    cookie = access.session(now_s)
    end, _, signature = cookie.partition(".")
    assert access.is_session(cookie, now_s + 43_199)
    assert not access.is_session(cookie, now_s + 43_200)
    assert not Access("another token of length").is_session(cookie, now_s)
    for forged in ("", ".", cookie[:-1], f"{int(end) + 1}.{signature}", f"²{cookie}", f"{end}.é"):
        assert not access.is_session(forged, now_s)


def claim(**changes: object) -> str:
    """What LiteLLM's `issue_plugin_session_claim` writes."""
    told = {"plugin": "slo-router", "user_id": "u", "user_role": "proxy_admin", "exp": int(time.time()) + 30}
    return Fernet(CLAIM_KEY).encrypt(json.dumps(told | changes).encode()).decode()


def test_an_administrator_of_litellm_needs_no_token(config: Path) -> None:
    page = stranger(config, litellm_origin=LITELLM, claim_key=CLAIM_KEY)
    for role in ("proxy_admin", "proxy_admin_viewer"):
        answer = page.post("/api/plugin-auth", json={"session_claim": claim(user_role=role)})
        assert (answer.status_code, answer.json()) == (200, {"ok": True})
        assert page.get("/").status_code == 200
        page.cookies.clear()


@pytest.mark.parametrize(
    "body",
    [
        {"session_claim": claim(user_role="internal_user")},
        {"session_claim": claim(user_role="")},
        {"session_claim": claim(plugin="other")},
        {"session_claim": claim(exp=int(time.time()) - 1)},
        {"session_claim": claim(exp="9999999999")},
        {"session_claim": Fernet(CLAIM_KEY).encrypt_at_time(b"{}", 1_000).decode()},
        {"session_claim": Fernet(Fernet.generate_key()).encrypt(b"{}").decode()},
        {"session_claim": Fernet(CLAIM_KEY).encrypt(b"[1]").decode()},
        {"session_claim": "é"},
        {"session_claim": 7},
        {},
        [],
    ],
)
def test_any_other_claim_is_refused(config: Path, body: object) -> None:
    answer = stranger(config, claim_key=CLAIM_KEY).post("/api/plugin-auth", json=body)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


def test_without_the_derived_key_no_claim_counts(config: Path) -> None:
    page = stranger(config)
    assert page.post("/api/plugin-auth", json={"session_claim": claim()}).status_code == 401
    assert page.post("/api/plugin-auth", content=b"not json").status_code == 401


def test_the_manifest_names_the_pages_as_litellm_documents_it(config: Path) -> None:
    told = stranger(config, plugin_name="router").get("/api/plugin-manifest").json()
    assert told["name"] == "router"
    assert [one["path"] for one in told["nav_items"]] == ["/", "/decisions", "/quality", "/what-if"]


def test_a_browser_may_load_from_here_alone_and_frame_it_where_allowed(config: Path) -> None:
    for access, frame in (({}, "'none'"), ({"litellm_origin": LITELLM}, LITELLM)):
        answer = stranger(config, **access).get("/style.css")
        assert answer.headers["content-security-policy"] == (
            f"default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors {frame}"
        )
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


def test_every_view_is_whole_and_asks_for_nothing_that_the_policy_forbids(
    server: ValkeyServer, link: redis.Redis, config: Path
) -> None:
    fill(server.url, link, config)
    page = viewer(config)
    for path in (*VIEWS, "/nope", "/login"):
        html = page.get(path).text
        markup = Markup(html)
        assert not [one for _, one in markup.tags if "style" in one or any(name.startswith("on") for name in one)]
        assert "://" not in re.sub(r"http://www\.w3\.org/(2000/svg|1999/xlink)", "", html)
        assert [one.get("src") for one in markup.of("script")] == ["page.js"]
        for one in [*markup.of("a"), *markup.of("form"), *markup.of("link")]:
            assert not str(one.get("href", one.get("action"))).startswith("/")  # works under any path


def test_every_field_has_a_label_every_table_a_name_and_scopes(
    server: ValkeyServer, link: redis.Redis, config: Path
) -> None:
    fill(server.url, link, config)
    page = viewer(config)
    for path in (*VIEWS, "/login"):
        markup = Markup(page.get(path).text)
        ids = [one["id"] for _, one in markup.tags if "id" in one]
        assert len(ids) == len(set(ids))
        labelled = {one.get("for") for one in markup.of("label")}
        for tag in ("input", "select", "textarea"):
            assert all(one["id"] in labelled or one.get("type") == "checkbox" for one in markup.of(tag))
        assert all(one["aria-labelledby"] in ids for one in markup.of("table"))
        assert all(one.get("scope") in {"row", "col"} for one in markup.of("th"))
        assert markup.of("a")[0]["href"] == "#main"
        assert len(markup.of("h1")) == 1
        assert all(one["for"] in ids for one in markup.of("label") if "for" in one)


def luminance(colour: str) -> float:
    """WCAG's relative luminance of `#rgb` or `#rrggbb`."""
    digits = colour.removeprefix("#")
    pairs = [one * 2 for one in digits] if len(digits) == 3 else [digits[i : i + 2] for i in (0, 2, 4)]
    parts = [int(pair, 16) / 255 for pair in pairs]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_stands_out_in_light_and_dark() -> None:
    css = (Path(page_package.__path__[0]) / "style.css").read_text()
    themes = [dict(re.findall(r"--(\w+): (#[0-9a-f]+)", one)) for one in re.findall(r":root \{([^}]*)\}", css)]
    assert len(themes) == 2
    for theme in themes:
        for back in ("back", "soft"):
            for ink in ("ink", "faint", "c0", "c1", "good", "bad"):
                light, dark = sorted((luminance(theme[ink]), luminance(theme[back])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, back)  # WCAG 2.2, level AA


def test_hostile_names_are_shown_as_text(tmp_path: Path, server: ValkeyServer, link: redis.Redis) -> None:
    evil = '"><script>alert(1)</script>'
    one = Facts(evil, evil, 1_000, None, 1e-6, 2e-6, quality={"default": 0.7})
    config = write_config(tmp_path / "evil.yaml", {"redis_url": server.url, "groups": GROUPS}, one, SMALL)
    decision = decide_between(one, SMALL)
    names = dict.fromkeys(("request_id", "team_id", "key_alias", "model_group", "deployment"), evil)
    link.xadd("slo_router:requests", {"record": line_of(decision, ts=time.time(), category=evil, **names)})
    link.xadd("slo_router:requests", {"record": line_of(decision, ts=time.time())})
    page = viewer(config)
    for path in ("/", "/decisions", "/quality", "/what-if"):
        answer = page.get(path)
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text
        Markup(answer.text)
    answer = page.get("/decision", params={"id": evil})
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;alert(1)" in answer.text
    answer = page.post("/what-if", data={"prompt": f"</textarea>{evil}", "ttft_ms": evil})
    assert "<script>alert" not in answer.text
    assert page.get(f"/decision?id={evil}{evil}").status_code == 404


def test_no_prompt_and_no_answer_is_shown_even_where_they_are_logged(link: redis.Redis, config: Path) -> None:
    record = line_of(ts=time.time(), prompt=[{"role": "user", "content": "SECRET"}], answer="SECRET")
    assert "SECRET" in record
    link.xadd("slo_router:requests", {"record": record})
    page = viewer(config)
    for path in ("/", "/decisions", "/decision?id=chatcmpl-1", "/quality"):
        answer = page.get(path)
        assert answer.status_code == 200
        assert "SECRET" not in answer.text


def test_nothing_there_yet_and_lines_that_are_no_records_do_no_harm(link: redis.Redis, config: Path) -> None:
    page = viewer(config)
    assert "Nothing is measured" in page.get("/").text
    assert "No decided request yet." in page.get("/decisions").text
    link.xadd("slo_router:requests", {"record": "{"})
    link.hset("metrics:small:ner", mapping={"timestamp": "yesterday"})
    shown = page.get("/").text
    assert "1 impossible values in Redis" in shown
    assert "small" in shown


def test_no_more_than_the_newest_records_are_summed(
    link: redis.Redis, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slo_router.operator.page.reading.MOST_RECORDS", 2)
    for _ in range(3):
        link.xadd("slo_router:requests", {"record": line_of(ts=time.time())})
    shown = text_of(viewer(config).get("/").text)
    assert "of the last 1 hour the newest 2 requests count" in shown


def test_redis_away_and_a_broken_yaml_are_said_and_a_changed_one_is_read(tmp_path: Path, server: ValkeyServer) -> None:
    config = page_config(tmp_path / "c.yaml", "redis://user:geheim@127.0.0.1:1")
    page = viewer(config)
    away = page.get("/")
    assert away.status_code == 503
    assert "Redis at redis://…/0: ConnectionError" in away.text
    assert "geheim" not in away.text
    page_config(config, server.url)
    assert page.get("/").status_code == 200
    config.write_text("callback_settings: 7")
    assert page.get("/").status_code == 503
    config.unlink()
    assert page.get("/").status_code == 503


def test_a_form_that_is_too_long_is_refused(config: Path) -> None:
    page = stranger(config)
    assert page.post("/login", data={"token": "x" * 20_000}).status_code == 413
    assert page.post("/login", data={f"f{index}": "x" for index in range(60)}).status_code == 413


@pytest.mark.parametrize(
    ("text", "host", "port"), [("127.0.0.1:4180", "127.0.0.1", 4180), ("[::1]:80", "::1", 80), ("page:1", "page", 1)]
)
def test_an_address_is_host_and_port(text: str, host: str, port: int) -> None:
    assert read_address(text) == (host, port)


@pytest.mark.parametrize(
    "text", ["", "4180", "127.0.0.1", ":4180", "host:port", "host:99999", "[::1", "a@b:1", "a:1/x"]
)
def test_any_other_address_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="expected HOST:PORT"):
        read_address(text)


def test_only_this_host_is_served_without_a_token() -> None:
    for local in ("127.0.0.1:1", "[::1]:1", "localhost:1", "127.8.8.8:1"):
        check_token(None, read_address(local))
    for other in ("0.0.0.0:1", "[::]:1", "10.0.0.1:1", "page.example.com:1"):
        check_token(TOKEN, read_address(other))
        with pytest.raises(SettingsError, match="expected --token"):
            check_token(None, read_address(other))
    with pytest.raises(SettingsError, match="token: 5 characters, expected at least 16"):
        check_token("short", read_address("127.0.0.1:1"))


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        (None, None),
        ("https://litellm.example.com/ui/?page=1", LITELLM),
        ("https://LiteLLM.example.com:443", LITELLM),
        ("http://[::1]:4000/", "http://[::1]:4000"),
        ("http://localhost:4000", "http://localhost:4000"),
    ],
)
def test_litellms_address_becomes_an_origin(url: str | None, origin: str | None) -> None:
    assert read_origin(url) == origin


@pytest.mark.parametrize(
    "url", ["", "litellm.example.com", "ftp://x", "https://", "https://a b", "https://*", "https://a;b", "http://[::1"]
)
def test_what_would_open_the_frame_to_others_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="litellm-url"):
        read_origin(url)


def test_a_claim_key_of_the_wrong_form_is_refused() -> None:
    check_claim_key(None)
    check_claim_key(CLAIM_KEY)
    for wrong in ("secret", "é", CLAIM_KEY[:-4]):
        with pytest.raises(SettingsError, match="SLO_ROUTER_PAGE_CLAIM_KEY"):
            check_claim_key(wrong)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--listen", "0.0.0.0:4180"], "expected --token"),
        (["--token", "short"], "token: 5 characters"),
        (["--litellm-url", "nowhere"], "litellm-url: 'nowhere'"),
        ([], "no redis_url in the YAML"),
    ],
)
def test_what_is_wrong_stops_the_start(tmp_path: Path, arguments: list[str], message: str) -> None:
    app = Typer()
    app.command()(page_command)
    done = CliRunner().invoke(app, ["--config", str(write_config(tmp_path / "c.yaml")), *arguments])
    assert done.exit_code == 1
    assert message in done.stderr
