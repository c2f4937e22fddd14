"""Every row of the tables, the addresses beside them, and what hides inside IPv6."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from tenantry.security.egress.addresses import (
    NEVER,
    SPECIAL,
    Row,
    forms,
    never,
    parse_address,
    special,
)

pytestmark = pytest.mark.req("CON-4")


@pytest.mark.parametrize("row", SPECIAL, ids=lambda row: str(row.network))
def test_a_special_range_is_refused_from_its_first_address_to_its_last(row: Row) -> None:
    for address in (row.network[0], row.network[row.network.num_addresses // 2], row.network[-1]):
        assert special(address) is not None
    assert special(row.network[row.network.num_addresses // 3]) is not None


@pytest.mark.parametrize("row", NEVER, ids=lambda row: str(row.network))
def test_what_nobody_may_allow_is_refused_by_both_tables(row: Row) -> None:
    for address in (row.network[0], row.network[-1]):
        assert never(address) == special(address) == row.reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        # IANA IPv4 special-purpose registry, an address of each row.
        ("0.0.0.1", "this network"), ("10.1.2.3", "private"), ("100.64.0.1", "carrier-grade NAT"),
        ("100.127.255.255", "carrier-grade NAT"), ("127.0.0.53", "loopback"),
        ("169.254.1.1", "link-local, metadata"), ("172.16.0.1", "private"),
        ("172.31.255.255", "private"), ("192.0.0.8", "protocol assignments"),
        ("192.0.0.9", "protocol assignments"), ("192.0.0.170", "protocol assignments"),
        ("192.0.2.1", "documentation"), ("192.31.196.1", "AS112 sink"),
        ("192.52.193.1", "multicast relay"), ("192.88.99.1", "6to4 relay"),
        ("192.168.255.255", "private"), ("192.175.48.6", "AS112 sink"),
        ("198.18.0.1", "benchmarking"), ("198.19.255.255", "benchmarking"),
        ("198.51.100.7", "documentation"), ("203.0.113.9", "documentation"),
        ("240.0.0.1", "reserved"), ("255.255.255.255", "broadcast"), ("224.0.0.1", "multicast"),
        ("239.1.1.1", "multicast"),
        # Clouds.
        ("169.254.169.254", "link-local, metadata"), ("169.254.170.2", "link-local, metadata"),
        ("168.63.129.16", "metadata"), ("100.100.100.200", "metadata"),
        ("192.0.0.192", "metadata"), ("fd00:ec2::254", "metadata"),
        ("fd20:ce::254", "metadata"),
        # IANA IPv6 special-purpose registry.
        ("::", "unspecified"), ("::1", "loopback"), ("::ffff:8.8.8.8", "IPv4-mapped"),
        ("::ffff:0:808:808", "IPv4-translated"), ("64:ff9b:1::1", "local NAT64"),
        ("100::1", "discard"), ("100:0:0:1::1", "dummy prefix"), ("2001::1", "Teredo"),
        ("2001:1::1", "protocol assignments"), ("2001:2::1", "protocol assignments"),
        ("2001:3::1", "protocol assignments"), ("2001:4:112::1", "protocol assignments"),
        ("2001:10::1", "protocol assignments"), ("2001:20::1", "protocol assignments"),
        ("2001:30::1", "protocol assignments"), ("2001:db8::1", "documentation"),
        ("2002:808:808::1", "6to4"), ("2620:4f:8000::1", "AS112 sink"),
        ("3fff::1", "documentation"), ("5f00::1", "segment routing"), ("fc00::1", "unique local"),
        ("fdff::1", "unique local"), ("fe80::1", "link-local, metadata"),
        # Beside the registries: multicast, what was withdrawn, what was never handed out.
        ("ff02::1", "multicast"), ("ff0e::1", "multicast"), ("fec0::1", "site-local"),
        ("::8.8.8.8", "IPv4-compatible"), ("3ffe::1", "6bone"), ("4000::1", "unallocated"),
        ("1::1", "unallocated"), ("e000::1", "unallocated"), ("64:ff9c::1", "unallocated"),
    ],
)  # fmt: skip
def test_an_address_that_is_nobodys_server_is_named(text: str, reason: str) -> None:
    assert special(ip_address(text)) == reason


@pytest.mark.parametrize(
    "text",
    [
        "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
        "126.255.255.255", "128.0.0.0", "168.63.129.15", "168.63.129.17", "169.253.255.255",
        "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0",
        "192.0.3.0", "192.88.98.255", "192.88.100.0", "192.167.255.255", "192.169.0.0",
        "198.17.255.255", "198.20.0.0", "198.51.99.255", "203.0.114.0", "223.255.255.255",
        "2001:200::1", "2001:4860:4860::8888", "2003::1", "2606:4700::1111", "2620:4f:8001::1",
        "2a00:1450::1", "64:ff9b::808:808",
    ],
)  # fmt: skip
def test_the_public_neighbours_of_each_range_are_public(text: str) -> None:
    address = ip_address(text)
    assert [special(form) for form in forms(address)] == [None] * len(forms(address))


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("::7f00:1", ["127.0.0.1"]),
        ("::ffff:127.0.0.1", ["127.0.0.1"]),
        ("::ffff:0:10.0.0.1", ["10.0.0.1"]),
        ("64:ff9b::a9fe:a9fe", ["169.254.169.254"]),
        ("64:ff9b:1::a9fe:a9fe", ["169.254.169.254"]),
        ("2002:a9fe:a9fe::1", ["169.254.169.254"]),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", ["65.54.227.120", "192.0.2.45"]),  # RFC 4380
        ("2001:470::5efe:10.0.0.1", ["10.0.0.1"]),
        ("2001:470::200:5efe:10.0.0.1", ["10.0.0.1"]),
        ("2002:a9fe:a9fe::5efe:127.0.0.1", ["169.254.169.254", "127.0.0.1"]),
        ("::1", []),
        ("::", []),
        ("2606:4700::1111", []),
        ("2606:4700::5eff:7f00:1", []),
    ],
)
def test_ipv4_is_found_inside_ipv6(text: str, inside: list[str]) -> None:
    address = IPv6Address(text)
    assert forms(address) == (address, *(IPv4Address(part) for part in inside))


def test_an_ipv4_address_has_one_form() -> None:
    assert forms(IPv4Address("8.8.8.8")) == (IPv4Address("8.8.8.8"),)


def test_the_rows_that_pythons_own_answer_would_let_through_are_refused() -> None:
    # What `is_global` says of these changes between releases; ours may not.
    for text in (
        "224.0.0.1", "239.1.1.1", "192.88.99.1", "64:ff9b:1::1", "2002:7f00:1::", "fec0::1",
        "::127.0.0.1", "5f00::1", "ff0e::1", "168.63.129.16",
    ):  # fmt: skip
        assert special(ip_address(text)) is not None


def test_no_row_is_there_twice_and_each_names_why() -> None:
    rows = NEVER + SPECIAL
    assert len({row.network for row in rows}) == len(rows)
    assert all(row.reason for row in rows)


def test_of_the_first_addresses_of_ipv4s_blocks_only_these_are_refused() -> None:
    refused = {n for n in range(256) if special(IPv4Address(n << 24 | 1)) is not None}
    assert refused == {0, 10, 127, 192, *range(224, 256)}


@pytest.mark.parametrize(
    "text", ["", "fe80::1%eth0", "127.1", "0x7f000001", "2130706433", "[::1]", "localhost", "1.2.3"]
)
def test_only_canonical_spelling_is_an_address(text: str) -> None:
    assert parse_address(text) is None
