"""What an operator may allow, what stays refused, and how a mistake is told."""

import socket

import pytest

from tenantry.core.errors import StartupRefused
from tenantry.security.egress.policy import EgressPolicy

pytestmark = pytest.mark.req("CON-4")


def test_only_public_addresses_are_allowed_by_default() -> None:
    policy = EgressPolicy.parse("")
    assert policy == EgressPolicy()
    assert policy.refusal("8.8.8.8", 443) is None
    assert policy.refusal("2606:4700::1111", 443) is None
    assert policy.refusal("10.0.0.1", 443) == "private"
    assert policy.refusal("127.0.0.1", 443) == "loopback"


@pytest.mark.parametrize(
    ("text", "reached", "refused"),
    [
        ("10.20.0.0/16", ("10.20.3.4", 1), ("10.21.0.1", 1)),
        ("10.20.3.4", ("10.20.3.4", 1), ("10.20.3.5", 1)),
        ("10.20.0.0/16:5432", ("10.20.3.4", 5432), ("10.20.3.4", 5433)),
        ("fd12::/48", ("fd12::1", 1), ("fd13::1", 1)),
        ("[fd12::/48]", ("fd12::1", 1), ("fd13::1", 1)),
        ("[fd12::/48]:443", ("fd12::1", 443), ("fd12::1", 80)),
        ("[fd12::7]:443", ("fd12::7", 443), ("fd12::8", 443)),
        (" 192.168.1.0/24 ,, 10.0.0.1:80 ,", ("10.0.0.1", 80), ("10.0.0.1", 81)),
        ("::1", ("::1", 5432), ("::2", 5432)),
    ],
)
def test_an_entry_allows_what_it_says(
    text: str, reached: tuple[str, int], refused: tuple[str, int]
) -> None:
    policy = EgressPolicy.parse(text)
    assert policy.refusal(*reached) is None
    assert policy.refusal(*refused) is not None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("10.0.0.5/8", "Write 10.0.0.0/8 for the network"),
        ("db.internal", "names are not taken"),
        ("db.internal:5432", "names are not taken"),
        ("10.0.0.0/33", "is no network"),
        ("10.0.0.0/8:", "between 1 and 65535"),
        ("[fd12::/48]:", "between 1 and 65535"),
        ("10.0.0.0/8:0", "between 1 and 65535"),
        ("10.0.0.0/8:65536", "between 1 and 65535"),
        ("10.0.0.0/8:http", "between 1 and 65535"),
        ("10.0.0.0/8:٣", "between 1 and 65535"),
        ("[fd12::/48", "is no network"),
        ("[fd12::/48]443", "is no network"),
        ("fd12::1/48", "Write fd12::/48"),
        ("10.0.0.0-10.0.0.9", "is no network"),
        ("*", "is no network"),
    ],
)
def test_a_mistake_is_told_with_the_entry_and_what_to_write(text: str, told: str) -> None:
    with pytest.raises(StartupRefused) as caught:
        EgressPolicy.parse(f"192.168.0.0/16, {text}")
    assert "TENANTRY_EGRESS_ALLOW" in caught.value.message
    assert told in caught.value.message
    assert text in caught.value.message


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "192.0.0.192",
        "fd00:ec2::254", "fd20:ce::254", "fe80::1", "224.0.0.1", "ff02::1", "255.255.255.255",
        "0.0.0.0", "::", "::ffff:169.254.169.254", "2002:a9fe:a9fe::", "64:ff9b::a9fe:a9fe",
        "::a9fe:a9fe", "2001:470::5efe:169.254.169.254",
    ],
)  # fmt: skip
def test_metadata_and_multicast_stay_refused_whatever_is_allowed(address: str) -> None:
    assert EgressPolicy.parse("0.0.0.0/0, ::/0").refusal(address, 80) is not None


def test_allowing_the_outside_of_an_address_does_not_allow_its_inside() -> None:
    policy = EgressPolicy.parse("2002::/16, 64:ff9b:1::/48")
    assert policy.refusal("2002:808:808::1", 80) is None
    assert policy.refusal("2002:a00:1::1", 80) == "private"
    assert policy.refusal("64:ff9b:1::a00:1", 80) == "private"


def test_the_platforms_own_listeners_stay_refused_in_an_allowed_range() -> None:
    own = [("127.0.0.1", 8080), ("10.0.0.9", 5432), ("/run/postgresql", 5432)]
    policy = EgressPolicy.parse("127.0.0.0/8, 10.0.0.0/8, ::/96, ::ffff:0:0/96", own)
    assert policy.refusal("127.0.0.1", 8080) == "the platform's own listener"
    assert policy.refusal("::ffff:127.0.0.1", 8080) == "the platform's own listener"
    assert policy.refusal("10.0.0.9", 5432) == "the platform's own listener"
    assert policy.refusal("10.0.0.9", 5433) is None
    assert policy.refusal("10.0.0.8", 5432) is None


def test_a_public_listener_of_ours_is_refused_too() -> None:
    assert EgressPolicy.parse("", [("8.8.8.8", 443)]).refusal("8.8.8.8", 443) is not None


@pytest.mark.parametrize("everywhere", ["0.0.0.0", "::", ""])
def test_listening_everywhere_means_every_address_of_this_machine(everywhere: str) -> None:
    policy = EgressPolicy.parse("127.0.0.0/8, ::1, 10.0.0.0/8", [(everywhere, 8080)])
    for address in ("127.0.0.1", "127.9.9.9", "::1"):
        assert policy.refusal(address, 8080) == "the platform's own listener"
        assert policy.refusal(address, 8081) is None
    assert policy.refusal("10.255.254.253", 8080) is None  # another machine's


def test_a_name_of_ours_is_looked_up_once_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        asked.append(host)
        if host == "gone.test":
            raise socket.gaierror("unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.9", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    policy = EgressPolicy.parse("10.0.0.0/8", [("db.test", 5432)])
    assert policy.refusal("10.0.0.9", 5432) == "the platform's own listener"
    assert asked == ["db.test"]
    with pytest.raises(StartupRefused, match=r"gone\.test"):
        EgressPolicy.parse("", [("gone.test", 1)])


def test_an_address_with_a_zone_or_in_odd_spelling_is_refused() -> None:
    policy = EgressPolicy.parse("0.0.0.0/0, ::/0")
    for text in ("fe80::1%eth0", "::1%1", "127.1", "localhost", ""):
        assert policy.refusal(text, 80) == "spelling of an address"
