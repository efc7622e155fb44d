"""No planted secret survives in any text, and ordinary text with numbers stays unchanged."""

from __future__ import annotations

import string
import time

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat

from slo_bench.sampling.rules import DEFAULT_REGIONS, is_iban, passes_luhn
from slo_bench.sampling.scrub import RULES, Scrubber, built_in

FINDERS = built_in(RULES, DEFAULT_REGIONS)
ORDINARY = """Version 1.2.3.4 of 2024-11-25 12:30:45.123456 was released, v10.0.0.1 is next
Order 4829183746 shipped on 12/31/2023, total 1,234,567.89 EUR
Invoice no. 2023-004512-77 and ticket #889-12345
timestamp 1700000000 and 1700000000123 ms, 1700000000123456789 ns
UUID 550e8400-e29b-41d4-a716-446655440000
ISBN 978-3-16-148410-0 and ISSN 1234-5678
x[::2, 1::2, 2::2] → array([0.93773029, 0.7272727, (0.82276161), 415.5552671])
pi = 3.14159265358979, e = 2.718281828459045, c = 299792458, N = 6.02214076e23
git commit 8ca51de9f0 (2024 11 25)
for i in range(1000000000): x[123456789] += 0x1F4A | 0b101010
Mozilla/5.0 (X11; Linux x86_64) Chrome/120.0.6099.109 Safari/537.36
lat 52.520008, lon 13.404954
between 1990-1995 and 2000-2010, pages 123-145
ZIP 10115 Berlin, 90210-1234
$ 12 345 678.90
RFC 2616, RFC 7231 section 6.5.1
The years 1914 1918 1939 1945
Score 12-10, 21-19, 15-13
numpy==1.26.4 torch==2.1.0+cu118 react@18.2.0
10 000 000 people; 3 500 000 000 years
Steps: 1 2 3 4 5 6 7 8 9 10
sum 555 1234 999
call(0800, 1200) at 08:00-12:00, ports 5432 5433 5434
2023-01-01T00:00:00Z 20231125 20240101
0.001 0.002 0.003 1e-10
ID 12345678, 87654321
A4 210 x 297 mm; 17-18-19 20-21-22
std::vector<int> a::b; fab::dec x; 12:30:45
@app.route("/x") def f(A, B): return A @ B
password must have 8 characters; reset your password: click here
token: string; const token = getToken(); api_key=os.environ["OPENAI_API_KEY"]
sk-learn is scikit-learn; task-force-sk-something-long-name-here
http://localhost:8000/v1 http://127.0.0.1:4000 https://example.org/a:b
sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
GB82 is a model; DE89 is a road; AB12 3456
bearer of bad news; 15000 tokens; tokens per second: 1234
::1 0.0.0.0 127.0.0.1
Card 4111 1111 1111 1112 and 1234-5678-9012-3456 fail the check
tel 110, 911, 112""".splitlines()
WORDS = st.sampled_from(["", "see ", "Dear all,\n", '"', "(", "to: ", "<b>", "x=1; ", "– ", "価格は "])
ENDS = st.sampled_from(["", " now", ".", ",", ")", '"', "\n", "! Yes", "</b>", "、"])
SEPARATORS = st.sampled_from(["", " ", "-"])


@st.composite
def cards(draw: st.DrawFn) -> str:
    """Card numbers of sixteen digits from the large issuers, with the check digit."""
    digits = draw(st.sampled_from(["4", "51", "55", "2221", "6011"]))
    digits += draw(st.text(string.digits, min_size=15 - len(digits), max_size=15 - len(digits)))
    number = next(digits + check for check in string.digits if passes_luhn(digits + check))
    return draw(SEPARATORS).join(number[place : place + 4] for place in range(0, 16, 4))


@st.composite
def ibans(draw: st.DrawFn) -> str:
    """IBANs of countries whose account numbers are digits."""
    country, length = draw(st.sampled_from([("DE", 22), ("ES", 24), ("PL", 28), ("AT", 20), ("BE", 16)]))
    account = draw(st.text(string.digits, min_size=length - 4, max_size=length - 4))
    whole = next(one for check in range(100) if is_iban(one := f"{country}{check:02d}{account}"))
    return draw(st.sampled_from(["", " "])).join(whole[place : place + 4] for place in range(0, length, 4))


@st.composite
def keys(draw: st.DrawFn) -> str:
    prefix = draw(
        st.sampled_from(["sk-", "sk-proj-", "sk-ant-api03-", "ghp_", "hf_", "xoxb-", "glpat-", "gsk_", "pk_live_"])
    )
    return prefix + draw(st.text(string.ascii_letters + string.digits, min_size=31, max_size=40)) + "7"


def phones() -> st.SearchStrategy[str]:
    """Google's example number of each region in international form; for the default regions also in national form."""
    examples = {region: phonenumbers.example_number(region) for region in sorted(phonenumbers.SUPPORTED_REGIONS)}
    shown = [phonenumbers.format_number(one, PhoneNumberFormat.INTERNATIONAL) for one in examples.values() if one]
    for region in DEFAULT_REGIONS:
        forms = (PhoneNumberFormat.NATIONAL, PhoneNumberFormat.E164)
        example = examples[region]
        assert example is not None
        shown += [phonenumbers.format_number(example, form) for form in forms]
    return st.sampled_from(shown)


public = st.ip_addresses(v=4, network="0.0.0.0/1") | st.ip_addresses(v=6, network="2000::/3")
addresses = public.filter(lambda one: not one.is_unspecified and not one.is_loopback).map(str)
secrets = st.one_of(st.emails(), cards(), ibans(), keys(), phones(), addresses)


@settings(max_examples=80, deadline=None)
@given(WORDS, secrets, ENDS)
def test_no_planted_secret_survives(before: str, secret: str, after: str) -> None:
    clean = Scrubber(FINDERS).text(before + secret + after)
    assert secret not in clean
    assert clean.startswith(before)
    assert clean.endswith(after)
    assert Scrubber(FINDERS).text(clean) == clean


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert Scrubber(FINDERS).text(text) == text


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(exclude_characters="@", exclude_categories=["Nd", "Cs"])))
def test_text_without_digits_and_at_signs_stays_as_it_is(text: str) -> None:
    assert Scrubber(FINDERS).text(text) is text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("password: Tr0ub4dor&3 ok", "password: <KEY_1> ok"),
        ("PASSWORD=hunter22", "PASSWORD=<KEY_1>"),
        ('{"api_key": "0123456789abcdef0123"}', '{"api_key": "<KEY_1>"}'),
        ("Authorization: Bearer abcdef0123456789abcdef", "Authorization: Bearer <KEY_1>"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCY", "aws_secret_access_key = <KEY_1>"),
        ("AKIAIOSFODNN7EXAMPLE", "<KEY_1>"),
        ("redis://user:pw12345@db/0", "redis://user:<KEY_1>@db/0"),
        ("a -----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- b", "a <KEY_1> b"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE that was cut", "<KEY_1>"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0.dozjgNryP4J3jV", "<KEY_1>"),
        ("DE89 3704 0044 0532 0130 00 PLEASE", "<IBAN_1> PLEASE"),
        ("::ffff:192.0.2.1 and 2001:db8::1", "<IP_1> and <IP_2>"),
        ("+4915112345678", "<PHONE_1>"),
        ("jörg@müller.de wrote", "<EMAIL_1> wrote"),
    ],
)
def test_what_is_secret_by_its_place_or_form(text: str, clean: str) -> None:
    assert Scrubber(FINDERS).text(text) == clean


@pytest.mark.parametrize("unit", ["a", "QUJD", "1", "a@", "password:", "a:", "x://", "sk-", "1.2.", "DE12 ", "+1"])
def test_a_long_text_takes_linear_time(unit: str) -> None:
    start_s = time.process_time()
    Scrubber(FINDERS).text(unit * (40_000 // len(unit)))
    assert time.process_time() - start_s < 2
