"""Finds whose fault a failure is: an attempt's by its error, a deployment's by LiteLLM's own health check."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from litellm.proxy import health_check

from slo_router.gateway.router import Deployment
from slo_router.live import ratelimit
from slo_router.live.probes import Health
from slo_router.worker.attempt import Fault

BAD_REQUEST, SERVER_ERROR = 400, 500
BUSY, FULL = (408, 429), 429  # a timeout and a rate limit: no fault of the request
ACCOUNT = (401, 402)  # a key, its credit; 403 and 404 may be about a file
TOO_LARGE = 413
UNSAID = 0.9  # below 1, for the request's size is an estimate, which changes with what is learned
WINDOW_EXCEEDED = "ContextWindowExceededError"
TOO_LARGE_SAID = re.compile(r"\brequest[ _](?:body )?too[ _]large\b|\bprompt is too long\b", re.IGNORECASE)
LIMIT_SAID = re.compile(  # Groq and OpenAI of tokens per minute, vLLM and OpenAI of a window
    r"(?:limit:?|maximum context length (?:is|of))\s+(?P<limit>\d[\d,]*)\b[^0-9]{1,120}?"
    r"(?:requested:?|resulted in|contains?(?: at least)?|has)\s+(?:about\s+)?(?P<asked>\d[\d,]*)",
    re.IGNORECASE,
)
REQUESTS_OWN = frozenset({WINDOW_EXCEEDED, "ContentPolicyViolationError", "UnsupportedParamsError"})
PROXYS_OWN = frozenset(  # guardrails raise these, also in the middle of a stream
    {
        "HTTPException",
        "ProxyException",
        "GuardrailRaisedException",
        "BlockedPiiEntityError",
        "ModifyResponseException",
        "SensitiveDataRouteException",
    }
)
MOST_TEXT = 4_000  # characters of an error that are looked at
OF_ACCOUNT = re.compile(  # whatever the status: Anthropic, Gemini, Groq and xAI send some of these with a 400
    r"credit balance is too low|insufficient[ _](?:credits?|balance|funds|quota)|used all available credits"
    r"|exceeded your current quota|specified api usage limits|billing hard limit|(?:monthly spending|credit) limit"
    r"|billing[ _](?:is |to be )?(?:not[ _]active|disabled|enabled)"
    r"|(?:account|organization|project|consumer)\b.{0,60}\b(?:not active|deactivated|disabled|suspended|restricted)"
    r"|account_deactivated|(?:invalid|incorrect|expired|wrong)[ _](?:x-)?api[ _-]?key"
    r"|api[ _]key[ _](?:not valid|invalid|expired)|security token included in the request is (?:invalid|expired)"
    r"|access to (?:the )?model|you do not have access to it|model_not_found|api deployment for this resource"
    r"|location is not supported",
    re.IGNORECASE,
)
FOR_LESS = "can only afford"  # OpenRouter's 402 of a request whose `max_tokens` cost more than is left
TOLD = {  # an error inside an answer, by Anthropic's type or OpenAI's code: the HTTP status that it has elsewhere
    "api_error": 500,
    "server_error": 500,
    "overloaded_error": 529,
    "timeout_error": 504,
    "rate_limit_error": FULL,
    "rate_limit_exceeded": FULL,
    "authentication_error": ACCOUNT[0],
    "billing_error": ACCOUNT[1],
    "request_too_large": TOO_LARGE,
}
_ERROR = b'"error"'
_LITELLMS_OWN = frozenset({"metadata", "litellm_metadata", "litellm_params", "model_info"})
_NESTING = 20


class FailedAnswerError(Exception):
    """An answer with HTTP 200 that says of itself that it failed."""

    def __init__(self, told: Mapping[str, object]) -> None:
        super().__init__(str(told.get("message") or ""))
        known = TOLD.get(str(told.get("code") or told.get("type")))
        self.status_code = known or BAD_REQUEST
        self.llm_provider = "told" if known else ""  # a guardrail may have written it


def failure_in(event: object) -> FailedAnswerError | None:
    """The failure that a response or an event reports; `None` for most.

    LiteLLM takes two kinds of failure for answers: a response that failed, and an error among Anthropic's events.
    """
    if not isinstance(event, Mapping):
        return None
    if event.get("type") != "error" and (event.get("object"), event.get("status")) != ("response", "failed"):
        return None
    told = event.get("error")
    return FailedAnswerError(told if isinstance(told, Mapping) else {})


def failure_at_end(pieces: Iterable[object]) -> FailedAnswerError | None:
    """The failure that a stream's last pieces report, `None` for most. The network may cut an event anywhere."""
    last = [piece.encode() if isinstance(piece, str) else piece for piece in pieces]
    if not last or not isinstance(last[-1], bytes):
        return failure_in(last[-1]) if last else None
    lines = b"".join(piece for piece in last if isinstance(piece, bytes)).splitlines()
    data = next((line[5:] for line in reversed(lines) if line.startswith(b"data:")), b"")
    return failure_in(_parsed(data)) if _ERROR in data else None


def _parsed(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def is_timeout(error: object) -> bool:
    """Whether an attempt was ended because it took too long."""
    return getattr(error, "status_code", None) == BUSY[0]


def fault_of(error: object, request: Mapping[str, object] | None = None, *, at_proxy: bool = False) -> Fault:
    """Whose fault a failed attempt is, by HTTP status, LiteLLM's class and what the provider says of the account.

    `request` is LiteLLM's call, where it is known. If the call has the same words, the provider may only quote them,
    so they tell nothing. With `at_proxy` the error may be the proxy's own.
    """
    if not getattr(error, "llm_provider", None) and (at_proxy or _is_proxys_own(error)):  # or the client left
        return "request"
    status = getattr(error, "status_code", None)
    if status == FULL:
        return _fault_of_full(error, request)
    if not isinstance(status, int) or status in BUSY or not BAD_REQUEST <= status < SERVER_ERROR:
        return "unclear" if request is not None and _is_unreadable(error, request) else "deployment"
    if is_too_large(error) or status == TOO_LARGE or type(error).__name__ in REQUESTS_OWN:
        return "request"
    if FOR_LESS in str(error)[:MOST_TEXT]:
        return "unclear"
    return "account" if status in ACCOUNT or _is_of_account(error, request) else "unclear"


def _fault_of_full(error: object, request: Mapping[str, object] | None) -> Fault:
    """Whose fault a 429 is. If it speaks of the account and does not say when to come back, the account is at fault."""
    if getattr(error, "llm_provider", None) == "" or is_too_large(error):  # no provider: a limit of LiteLLM's own
        return "request"
    return "account" if _is_of_account(error, request) and wait_s(error, 0.0) is None else "quota"


def _is_of_account(error: object, request: Mapping[str, object] | None) -> bool:
    """Whether an error speaks of the account in words that the request does not have."""
    words = OF_ACCOUNT.search(str(error)[:MOST_TEXT])
    return words is not None and request is not None and not _holds(request, words[0].lower())


def is_too_large(error: object) -> bool:
    """Whether a deployment refuses a request for its size: for its window, its server, or its tokens per minute."""
    if not getattr(error, "llm_provider", None):
        return False
    status = getattr(error, "status_code", None)
    is_said = status in (BAD_REQUEST, FULL) and TOO_LARGE_SAID.search(str(error)[:MOST_TEXT]) is not None
    return is_said or status == TOO_LARGE or type(error).__name__ == WINDOW_EXCEEDED


def taken_share(error: object) -> float:
    """The part of a too large request, 0 to 1, that the deployment would have taken; UNSAID where it names no limit."""
    said = LIMIT_SAID.search(str(error)[:MOST_TEXT])
    if said is None:
        return UNSAID
    limit, asked = (float(said[name].replace(",", "")) for name in ("limit", "asked"))
    return limit / asked if 0 < limit < asked else UNSAID


def _is_proxys_own(error: object) -> bool:
    return not PROXYS_OWN.isdisjoint(kind.__name__ for kind in type(error).__mro__)


def _is_unreadable(error: object, request: Mapping[str, object]) -> bool:
    """Whether LiteLLM's own code failed before it sent the request, for example because its messages are no list.

    LiteLLM reports that as a failed connection.
    """
    details = getattr(request.get("litellm_logging_obj"), "model_call_details", None)
    if not isinstance(details, Mapping) or details.get("api_call_start_time") is not None:
        return False
    root = error
    for _ in range(_NESTING):
        cause = getattr(root, "__cause__", None) or getattr(root, "__context__", None)
        if cause is None:
            break
        root = cause
    return type(root).__module__ == "builtins" and not isinstance(root, OSError | MemoryError)


def _holds(request: object, words: str, nesting: int = _NESTING) -> bool:
    """Whether what a client sent has these words anywhere."""
    if isinstance(request, str):
        return words in request.lower()
    if not isinstance(request, Mapping | list) or not nesting:
        return not nesting
    inner = request
    if isinstance(request, Mapping):
        inner = [part for name, value in request.items() if name not in _LITELLMS_OWN for part in (name, value)]
    return any(_holds(part, words, nesting - 1) for part in inner)


def wait_s(error: object, now_s: float) -> float | None:
    """For how many seconds the deployment says that it stays full; `None` where it does not say."""
    headers = getattr(error, "litellm_response_headers", None)
    if not headers:
        headers = getattr(getattr(error, "response", None), "headers", None)
    return ratelimit.wait_s(headers if isinstance(headers, Mapping) else {}, str(error), now_s)


async def health(deployment: Deployment) -> Health:
    """What LiteLLM's health check finds, made as its own `/health` makes it; `unclear` where that tells nothing."""
    info, params = deployment["model_info"], deployment["litellm_params"]
    if not isinstance(info, Mapping) or not isinstance(params, Mapping) or info.get("disable_background_health_check"):
        return "unclear"
    once = {**params, "max_retries": 0, "num_retries": 0}
    copy = {**deployment, "model_info": dict(info), "litellm_params": once}  # LiteLLM writes into it
    healthy, _, *errors = await health_check.perform_health_check(model_list=[copy])
    if healthy:
        return "answers"
    error = errors[0].get(info["id"]) if errors else None
    has_status = isinstance(getattr(error, "status_code", None), int)  # without one the check itself failed
    if not has_status:
        return "unclear"
    return "fails" if fault_of(error, {}) in ("deployment", "quota") else "refuses"
