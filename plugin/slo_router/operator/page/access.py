"""Who may see the page: holders of the shared token, of a session, or of an identity claim of LiteLLM's admin UI.

    Authorization: Bearer TOKEN            programs, and LiteLLM's /plugin-proxy/, which adds `plugin_key`
    login form → signed cookie, 12 h       people; the cookie has its end and an HMAC of that, but not the token
    session_claim → the same cookie        the page inside LiteLLM's UI; the claim names the user who is logged in there

LiteLLM makes the claim: Fernet with the key HMAC-SHA256(LITELLM_SALT_KEY, plugin name), valid for 30 s. The page knows
only that derived key. It shows the traffic of every team. So only the two LiteLLM roles that see everything are let in.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

from slo_router.errors import SettingsError

LEAST_TOKEN = 16  # characters, too many to guess
SESSION_S = 12 * 3_600
CLAIM_S = 30
ROLES = frozenset({"proxy_admin", "proxy_admin_viewer"})


class Address(NamedTuple):
    """The host and port at which the page listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The page's URL, for people."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/"


@dataclass(frozen=True, slots=True)
class Access:
    """The access rules of one page. Secrets are compared in constant time."""

    token: str
    litellm_origin: str | None = None  # a frame of this origin may show the page
    plugin_name: str = "slo-router"  # the page's name in `general_settings.plugins`
    claim_key: str | None = None

    def has_token(self, given: str) -> bool:
        """Whether `given` is the token."""
        return hmac.compare_digest(given.encode(errors="replace"), self.token.encode())

    def session(self, now_s: float) -> str:
        """A session cookie that is valid for 12 hours from `now_s` (Unix seconds)."""
        end = str(int(now_s) + SESSION_S)
        return f"{end}.{self._signature(end)}"

    def is_session(self, cookie: str, now_s: float) -> bool:
        """Whether the cookie is one of this page's and is still valid."""
        end, _, signature = cookie.partition(".")
        is_ours = hmac.compare_digest(signature.encode(errors="replace"), self._signature(end).encode())
        return is_ours and int(end) > now_s

    def has_claim(self, claim: str, now_s: float) -> bool:
        """Whether LiteLLM's claim is fresh, is for this page, and names an administrator."""
        from cryptography.fernet import Fernet, InvalidToken  # noqa: PLC0415  # only the embedded page needs it

        if self.claim_key is None:
            return False
        try:
            told = json.loads(Fernet(self.claim_key).decrypt_at_time(claim.encode(), CLAIM_S, int(now_s)))
        except (InvalidToken, ValueError):
            return False
        is_fresh = isinstance(told, dict) and isinstance(told.get("exp"), int) and told["exp"] >= now_s
        return is_fresh and told.get("plugin") == self.plugin_name and told.get("user_role") in ROLES

    def _signature(self, end: str) -> str:
        return hmac.new(
            self.token.encode(), b"slo-router page until " + end.encode(errors="replace"), "sha256"
        ).hexdigest()


def read_address(text: str) -> Address:
    """Reads `127.0.0.1:4180` or `[::1]:4180`. Raises SettingsError for other text."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port is None or parts.netloc != text or parts.username is not None:
        raise SettingsError(f"listen: {text!r}, expected HOST:PORT such as 127.0.0.1:4180")
    return Address(host, port)


def check_token(token: str | None, address: Address) -> None:
    """Raises SettingsError for a short token, or for no token where other hosts can reach the page."""
    if token is None and not _is_loopback(address.host):
        raise SettingsError(f"listen: {address.host} can be reached from other hosts, expected --token")
    if token is not None and len(token) < LEAST_TOKEN:
        raise SettingsError(f"token: {len(token)} characters, expected at least {LEAST_TOKEN}")


def read_origin(url: str | None) -> str | None:
    """The origin of a URL: `https://litellm.example.com/ui` → `https://litellm.example.com`. Raises SettingsError."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        scheme = parts.scheme
    except ValueError:
        scheme, host, port = "", None, None
    if scheme not in {"http", "https"} or not host or not set(host) <= _HOST:
        raise SettingsError(f"litellm-url: {url!r}, expected such as https://litellm.example.com")
    default = {"http": 80, "https": 443}[scheme]
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}" + ("" if port in (None, default) else f":{port}")


def check_claim_key(key: str | None) -> None:
    """Raises SettingsError if `key` is not a Fernet key. `None` is accepted."""
    from cryptography.fernet import Fernet  # noqa: PLC0415

    if key is not None:
        try:
            Fernet(key)
        except ValueError:
            raise SettingsError(
                "SLO_ROUTER_PAGE_CLAIM_KEY is not usable, expected HMAC-SHA256(LITELLM_SALT_KEY, plugin name) in "
                "URL-safe base64"
            ) from None


_HOST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-:")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
