"""One way to write each host and URL; all others are refused before anybody is asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from tenantry.security.egress.spelling import Refusal, canonical_host, named, parse_url

pytestmark = pytest.mark.req("CON-4")


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("example.com", "example.com"), ("EXAMPLE.com", "example.com"),
        ("example.com.", "example.com"), ("xn--mnchen-3ya.de", "xn--mnchen-3ya.de"),
        ("my_service.example", "my_service.example"), ("db", "db"), ("1.2.3.4", "1.2.3.4"),
        ("1.2.3.4.", "1.2.3.4"), ("::1", "::1"), ("[::1]", "::1"), ("[2A00::0:1]", "2a00::1"),
        ("3com.com", "3com.com"), ("1.2.3.4.example.com", "1.2.3.4.example.com"),
    ],
)  # fmt: skip
def test_a_host_has_one_spelling(text: str, host: str) -> None:
    assert canonical_host(text) == canonical_host(host) == host


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "..", "a..b", ".a", "a b", "a\n", "a\x00", "a/b", "a?b", "a#b", "a@b", "a\\b",
        "a%41", "a,b", "*.a", "münchen.de", "a。b", "-a.b", "a-.b", "x" * 64, "a." * 127 + "com",
        "[::1", "::1]", "[]", "[a]", "[1.2.3.4]", "::g", "fe80::1%1", "1:2", "/tmp/socket",
        "1.2.3", "1.2.3.256", "1.2.3.04", "01.2.3.4", "1", "0x1", "a.0x1", "a.1", "a.0x",
        "1.2.3.4..",
    ],
)  # fmt: skip
def test_a_host_written_otherwise_is_refused(text: str) -> None:
    with pytest.raises(Refusal, match="spelling"):
        canonical_host(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://a.test", "http://a.test:80/"), ("https://a.test", "https://a.test:443/"),
        ("https://A.test:8443/x/../y?q=1&q=%32#f", "https://a.test:8443/x/../y?q=1&q=%32"),
        ("HTTP://a.test./", "http://a.test:80/"), ("http://[::1]:80/x", "http://[::1]:80/x"),
        ("http://a.test/p@th", "http://a.test:80/p@th"), ("http://a.test?x", "http://a.test:80/?x"),
        ("http://a.test/%2e%2e/x", "http://a.test:80/%2e%2e/x"),
    ],
)  # fmt: skip
def test_a_url_is_taken_apart_and_put_together(text: str, url: str) -> None:
    target = parse_url(text)
    assert target.url == URL(url, encoded=True)
    assert (target.url.raw_host, target.url.port) == (target.host, target.port)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ftp://a.test/", "scheme"), ("file:///etc/passwd", "scheme"), ("a.test", "scheme"),
        ("", "scheme"), ("//a.test", "scheme"), ("javascript:1", "scheme"),
        ("http:a.test", "spelling"), ("http:///a", "spelling"), ("http://", "spelling"),
        ("http://u@a.test", "user name"), ("http://@a.test", "user name"),
        ("http://a.test:80@b.test", "user name"), ("http://a.test\\@b", "spelling"),
        ("http://a.test:0/", "port"), ("http://a.test:65536/", "port"), ("http://a.test:/", "port"),
        ("http://a.test:+80/", "port"), ("http://a.test:8_0/", "port"),
        ("http://a.test:0080000/", "port"), ("http://::1/", "spelling"),
        ("http://[::1]x/", "port"), ("http://[::1]x:80/", "spelling"),
        ("http://a.test/\r\nx", "spelling"), ("http://a.test/ x", "spelling"),
        ("http://a.test/\t", "spelling"), (" http://a.test/", "spelling"),
        ("http://a.test/ü", "spelling"), ("http://[v1.x]/", "spelling"),
        ("http://a.test/" + "x" * 9000, "spelling"),
    ],
)  # fmt: skip
def test_a_url_that_parsers_disagree_on_is_refused(text: str, reason: str) -> None:
    with pytest.raises(Refusal, match=reason):
        parse_url(text)


@given(st.text(alphabet="ht:p/s@\\.127[]%#?0xa\t\n ü-", max_size=24))
def test_any_text_gives_a_url_that_all_parsers_read_alike_or_a_refusal(text: str) -> None:
    try:
        target = parse_url("http://" + text)
    except Refusal:
        return
    shown = URL(str(target.url))
    assert (shown.raw_host, shown.port) == (target.host, target.port)
    assert shown.user is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("example.com", "example.com"),
        ("https://example.com:8443/x?key=s3cret", "example.com:8443"),
        ("https://user:s3cret@example.com/", "example.com"), ("user:s3cret@example.com", ""),
        ("https://user:s3cret@a@b/", "b"), ("http://a.test\\@s3cret", "a.test"),
        ("http://a\x1b[31m\r\nb/", "a?[31m??b"), ("javascript:s3cret@x", ""),
        ("h" * 500, "h" * 100),
        ("http://ü.test/", "?.test"), ("https:s3cret@x", ""), ("", ""), ("[::1]", "[::1]"),
    ],
)  # fmt: skip
def test_what_is_recorded_names_the_host_and_no_credential(text: str, name: str) -> None:
    assert named(text) == name
