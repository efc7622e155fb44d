"""Finds private data by its form: one finder per kind, a function from a text to the places of its findings.

In doubt a finder reports a text. But too many wrong placeholders change a prompt, so a finder requires a checksum or a
strict form where there is one. Cards must pass Luhn's check. IBANs must pass ISO 7064 and have their country's length.
Telephone numbers must be grouped as in their country (libphonenumber's strict grouping).

Every pattern begins at a border and is bounded, so the time is linear in the length of the text.
"""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from phonenumbers import SUPPORTED_REGIONS, Leniency, PhoneNumberMatcher

Finding: TypeAlias = tuple[int, int, str]
"""Start, end and kind of a text to replace. The kind becomes the placeholder's name."""
Finder: TypeAlias = Callable[[str], Iterable[Finding]]

REGIONS = SUPPORTED_REGIONS
DEFAULT_REGIONS = ("US", "GB", "DE", "FR")  # whose telephone numbers are found without +country code

_EMAIL = re.compile(
    r"""(?<![\w.!\#$%&'*+/=?^`{|}~-])[\w.!\#$%&'*+/=?^`{|}~-]{1,64}
    @(?:[\w-]{1,63}\.){1,16}(?:xn--[\w-]{2,59}|[^\W\d_]{2,63})(?![\w-])""",
    re.VERBOSE | re.IGNORECASE,
)
_CARD = re.compile(r"(?<![\d.,+-])(?:\d[ -]?){12,18}\d(?![\d-]|[.,]\d)")
_CARD_ISSUER = re.compile(r"4|5[0-8]|6[0-9]|2[2-7]|3[0-9]")  # of payment cards; 13 to 19 digits
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]){11,30}")
_IBAN_LENGTHS = """
    AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29
    ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28
    LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25
    QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30
"""
_LENGTH_OF: Mapping[str, int] = {entry[:2]: int(entry[2:]) for entry in _IBAN_LENGTHS.split()}
_IP = re.compile(
    r"""(?<![\w.:])(?<!\bv)(?<![Vv]ersion[ ])(?:
        (?:\d{1,3}\.){3}\d{1,3}
       |(?=[0-9A-Fa-f:]{0,39}\d)[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:(?:\.\d{1,3}){3})?
    )(?![\w:]|\.\w)""",
    re.VERBOSE,
)
_PHONE_LIKE = re.compile(r"(?<![\w.])\+?\(?\d{1,15}(?:[ \u00a0().\-–/]{1,3}\d{1,10}){0,6}(?!\w)")
_KEYS = re.compile(
    r"""-----BEGIN[ ][A-Z ]{0,30}PRIVATE[ ]KEY-----[\s\S]{1,20000}?(?:-----END[ ][A-Z ]{0,30}PRIVATE[ ]KEY-----|\Z)
    |(?<![A-Za-z0-9])(?:
        (?:sk|pk|rk)[-_](?=[A-Za-z_-]{0,64}\d)[\w-]{16,}          # OpenAI, Anthropic, LiteLLM, Stripe
       |(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}                      # AWS
       |gh[opusr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}
       |xox[a-z]-[A-Za-z0-9-]{10,}|AIza[\w-]{30,}|ya29\.[\w-]{20,}
       |hf_[A-Za-z0-9]{20,}|gsk_[A-Za-z0-9]{20,}|r8_[A-Za-z0-9]{20,}|nvapi-[\w-]{20,}|xai-[\w-]{20,}|pplx-[\w-]{20,}
       |npm_[A-Za-z0-9]{30,}|pypi-[\w-]{40,}|dop_v1_[a-f0-9]{40,}|SG\.[\w-]{16,}\.[\w-]{16,}
       |eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]{8,})?                  # a JSON web token
    )""",
    re.VERBOSE,
)
_ASSIGNED = re.compile(  # the text itself says that a value is secret; the value has a digit, for words have none
    r"""(?ix)(?:
        (?:pass(?:word|wd|phrase)?|pwd)["']?[ ]{0,2}(?:[:=]|is)[ ]{0,2}["']?
            (?P<word>(?=[^\s"'<>(){}\[\]$]{0,64}\d)[^\s"'<>(){}\[\]$,;]{6,64})
       |(?:api[_-]?key|secret(?:[_-]?(?:access[_-]?)?key)?|(?:access[_-]?|auth[_-]?)?token|bearer)
            ["']?[ ]{0,2}[:= ][ ]{0,2}["']?(?P<token>(?=[^\s"']{0,64}\d)[\w+/=.-]{16,512})
       |[a-z][a-z0-9+.-]{1,20}://[^\s:/@]{0,64}:(?P<url>[^\s:/@]{1,128})@
    )""",
)


def emails(text: str) -> Iterator[Finding]:
    """E-mail addresses."""
    return ((match.start(), match.end(), "EMAIL") for match in _EMAIL.finditer(text)) if "@" in text else iter(())


def cards(text: str) -> Iterator[Finding]:
    """Payment card numbers, spaced or not, that pass Luhn's check."""
    for match in _CARD.finditer(text):
        digits = re.sub("[ -]", "", match[0])
        if _CARD_ISSUER.match(digits) and passes_luhn(digits):
            yield *match.span(), "CARD"


def ibans(text: str) -> Iterator[Finding]:
    """Bank accounts of the countries in the IBAN registry, without characters beyond the account's length."""
    for match in _IBAN.finditer(text):
        length = _LENGTH_OF.get(match[0][:2].upper(), 0)
        places = [place for place, letter in enumerate(match[0]) if letter != " "][:length]
        account = "".join(match[0][place] for place in places)
        if 0 < length == len(account) and is_iban(account):
            yield match.start(), match.start() + places[-1] + 1, "IBAN"


def keys(text: str) -> Iterator[Finding]:
    """API keys by their makers' prefixes, private keys, and values that are called password, token or secret."""
    yield from ((match.start(), match.end(), "KEY") for match in _KEYS.finditer(text))
    for match in _ASSIGNED.finditer(text):
        yield *match.span(match.lastgroup or 0), "KEY"


def addresses(text: str) -> Iterator[Finding]:
    """IPv4 and IPv6 addresses, without version numbers and the addresses of every machine: 127.0.0.1, ::1, 0.0.0.0."""
    for match in _IP.finditer(text):
        try:
            address = ipaddress.ip_address(match[0])
        except ValueError:
            continue
        slice_like = address.version == 6 and max(map(len, match[0].split(":"))) < 3  # x[::2]
        if not (address.is_loopback or address.is_unspecified or slice_like):
            yield *match.span(), "IP"


def phones(regions: Sequence[str]) -> Finder:
    """Telephone numbers: international ones, and national ones of these regions (ISO 3166, two letters)."""

    def find(text: str) -> Iterator[Finding]:
        for candidate in _PHONE_LIKE.finditer(text):
            groups = re.findall(r"\d+", candidate[0])
            decimal = len(groups) == 2 and ".".join(groups) == candidate[0].lstrip("(")
            if decimal or not 7 <= sum(map(len, groups)) <= 16 or max(map(len, groups)) < 2:
                continue
            start = max(candidate.start() - 12, 0)  # libphonenumber judges by what stands around a number, too
            window = text[start : candidate.end() + 12]
            for region in regions or (None,):
                for match in PhoneNumberMatcher(window, region, Leniency.STRICT_GROUPING, sys.maxsize):
                    lone = match.raw_string.startswith("(") and ")" not in match.raw_string
                    yield start + match.start + lone, start + match.end, "PHONE"

    return find


def passes_luhn(digits: str) -> bool:
    """Whether a card's check digit is right. A single repeated digit is not a card."""
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (doubled + sum(int(digit) for digit in digits[-1::-2])) % 10 == 0 and len(set(digits)) > 1


def is_iban(account: str) -> bool:
    """ISO 7064, mod 97-10: letters count from 10, the first four characters come last."""
    return int("".join(str(int(letter, 36)) for letter in account[4:] + account[:4])) % 97 == 1
