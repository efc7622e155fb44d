"""Excuses: the agent, the account or the network caused a failure, so it says nothing about the deployment.

    refused      an HTTP status for a wrong or forbidden request: 3xx and 4xx
    unreached    no connection could be made
    dropped      connections are closed, and the deployment has answered nothing yet
    reasoning    hidden reasoning used up `max_tokens` before any text
    withheld     the provider's content filter removed the answer
    no_stream    HTTP 200 with something that is not an event stream
    elsewhere    the proxy asked another deployment

These have no excuse: 5xx, 408, 425, 429 (except for an empty account), timeouts, cut or malformed streams, and
connections that are closed after an answer. Requests with an excuse are in no error rate.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["refused", "unreached", "dropped", "reasoning", "withheld", "no_stream", "elsewhere"]

_SERVERS_OWN = frozenset({408, 425, 429})  # the server is late or overloaded, whatever the request
_MONEY_GONE = re.compile(
    r"insufficient[_ ](?:quota|funds|balance|credits?)|credit balance|out of credits|budget has been exceeded", re.I
)
_BY_STATUS = {
    401: "check api_key, extra_headers and litellm_credential_name of the deployment",
    402: "top up the provider's account",
    403: "check api_key, extra_headers and litellm_credential_name of the deployment",
    404: "check model and api_base of the deployment",
    407: "check the HTTP proxy that the environment names",
}
_ELSE = "change the workload or the deployment's litellm_params to what it accepts, or use --via-proxy"
_VIA_PROXY = {401: "check --proxy-key", 403: "check --proxy-key: it must be allowed to name deployments"}
_VIA_PROXY_ELSE = "change the workload to what it accepts; the proxy's log has the whole message"
_MOVED = "set api_base to the address that it redirects to"


@dataclass(frozen=True, slots=True)
class Excuse:
    """`why` may quote the server, without keys, addresses and prompts. `remedy` tells the user what to do.

    `words` is the server's unchanged message: for the agent, never for a report.
    """

    kind: Kind
    why: str
    remedy: str
    status: int | None = None
    words: str = field(default="", repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.why}; {self.remedy}"


REASONING = Excuse("reasoning", "reasoning used up max_tokens", "give the prompts a larger max_tokens")
WITHHELD = Excuse("withheld", "the provider's content filter withheld the answer", "change the prompts")
ELSEWHERE = Excuse("elsewhere", "the proxy asked another deployment", "call it with a key that may name deployments")
DROPPED = Excuse(
    "dropped", "it closed every connection before it answered anything", "check api_base, and http:// or https://"
)


def unreached(why: str) -> Excuse:
    """The excuse that no connection could be made."""
    return Excuse("unreached", why, "check that it runs, and that this machine reaches its api_base")


def no_stream(content_type: str) -> Excuse:
    """The excuse for HTTP 200 without an event stream."""
    kind = content_type if re.fullmatch(r"[a-z]+/[a-z0-9.+-]{1,40}", content_type) else "something else"
    return Excuse("no_stream", f"it answered with {kind} instead of a stream of events", "check api_base")


def refusal(status: int, words: str, quote: str, *, by_proxy: bool = False) -> Excuse | None:
    """The excuse of an HTTP status; `None` if the server is to blame. `quote` is the part of `words` to show."""
    money_gone = status == 402 or (status < 500 and _MONEY_GONE.search(words) is not None)
    if not 300 <= status < 500 or (status in _SERVERS_OWN and not money_gone):
        return None
    why = f"HTTP {status}: {quote}" if quote else f"HTTP {status}"
    if by_proxy:
        remedy = _VIA_PROXY.get(status, _VIA_PROXY_ELSE)
    else:
        remedy = _BY_STATUS.get(status, _MOVED if status < 400 else _ELSE)
    remedy = _BY_STATUS[402] if money_gone else remedy
    return Excuse("refused", why, remedy, status, words)


def words_of(body: str) -> str:
    """The message in an error's body, with the fields that it names; "" for other bodies, such as an HTML page."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return "" if body.lstrip().startswith("<") else " ".join(body.split())
    return " ".join(_message(found).split())


def _message(found: object) -> str:
    """OpenAI: `error.message` and `error.param`; FastAPI: `detail`; others: `message` or `error` alone."""
    if isinstance(found, str):
        return found
    if isinstance(found, list):
        return "; ".join(filter(None, map(_message, found[:5])))
    if not isinstance(found, dict):
        return ""
    if isinstance(found.get("msg"), str):  # pydantic's error, without its `input`, which would be the prompt
        loc = found.get("loc")
        return f"{'.'.join(map(str, loc))}: {found['msg']}" if isinstance(loc, list) else found["msg"]
    text = next((said for name in ("message", "detail", "error") if (said := _message(found.get(name)))), "")
    named = [found.get(name) for name in ("param", "code", "type")]
    return " ".join([text, *(f"({one})" for one in named if isinstance(one, str) and one not in text)]).strip()
