"""Which IP addresses belong to nobody on the public internet, and which hide another inside.

Python's `is_global` is not used: it calls multicast, NAT64, 6to4 of loopback and more global, and
its answer changes between releases. The rows are those of the IANA special-purpose registries
(https://www.iana.org/assignments/iana-ipv4-special-registry and …/iana-ipv6-special-registry),
multicast, the deprecated forms that registries dropped, and what clouds keep for themselves. Rows
the registry calls globally reachable (anycast sinks and relays) are here too: none is a server of
anyone's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Row:
    """A range that is not to be reached.

    Attributes:
        network: the range.
        reason: what it is, in words of the registry; ends up in the audit log.
    """

    network: Network
    reason: str


def _rows(table: str) -> tuple[Row, ...]:
    lines = (line.split(maxsplit=1) for line in table.strip().splitlines())
    return tuple(Row(ip_network(network), reason.strip()) for network, reason in lines)


NEVER = _rows("""
    0.0.0.0/32          unspecified
    169.254.0.0/16      link-local, metadata
    100.100.100.200/32  metadata
    168.63.129.16/32    metadata
    192.0.0.192/32      metadata
    224.0.0.0/4         multicast
    255.255.255.255/32  broadcast
    ::/128              unspecified
    fe80::/10           link-local, metadata
    fd00:ec2::/32       metadata
    fd20:ce::254/128    metadata
    ff00::/8            multicast
""")
"""Refused whatever the operator allows. The metadata services hand out the machine's own
credentials: AWS, Azure, GCP, Oracle, DigitalOcean and others on 169.254/16 (AWS also fd00:ec2::/32,
GCP also fd20:ce::254), Alibaba 100.100.100.200, Oracle 192.0.0.192, Azure's wire server
168.63.129.16, a public address."""

SPECIAL = _rows("""
    0.0.0.0/8           this network
    10.0.0.0/8          private
    100.64.0.0/10       carrier-grade NAT
    127.0.0.0/8         loopback
    172.16.0.0/12       private
    192.0.0.0/24        protocol assignments
    192.0.2.0/24        documentation
    192.31.196.0/24     AS112 sink
    192.52.193.0/24     multicast relay
    192.88.99.0/24      6to4 relay
    192.168.0.0/16      private
    192.175.48.0/24     AS112 sink
    198.18.0.0/15       benchmarking
    198.51.100.0/24     documentation
    203.0.113.0/24      documentation
    240.0.0.0/4         reserved
    ::1/128             loopback
    ::/96               IPv4-compatible
    ::ffff:0:0/96       IPv4-mapped
    ::ffff:0:0:0/96     IPv4-translated
    64:ff9b:1::/48      local NAT64
    100::/64            discard
    100:0:0:1::/64      dummy prefix
    2001::/32           Teredo
    2001::/23           protocol assignments
    2001:db8::/32       documentation
    2002::/16           6to4
    2620:4f:8000::/48   AS112 sink
    3ffe::/16           6bone
    3fff::/20           documentation
    5f00::/16           segment routing
    fc00::/7            unique local
    fec0::/10           site-local
""")
"""Refused unless the operator allows them."""

_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: how an IPv6-only network reaches public IPv4
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # all that was ever handed out (RFC 4291, 2.4)
_TEREDO = IPv6Network("2001::/32")
_6TO4 = IPv6Network("2002::/16")
# Whose last 32 bits are an IPv4 address: compatible, mapped, translated, both kinds of NAT64.
_TRAILING = tuple(
    IPv6Network(text)
    for text in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")
)
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})  # RFC 5214, 6.1: middle of the interface identifier


def parse_address(text: str) -> Address | None:
    """The address that `text` is in canonical spelling; None for anything else, zones included."""
    try:
        return None if "%" in text else ip_address(text)
    except ValueError:
        return None


def forms(address: Address) -> tuple[Address, ...]:
    """The address, and every IPv4 address that it carries inside."""
    if isinstance(address, IPv4Address):
        return (address,)
    return (address, *_embedded(address))


def never(address: Address) -> str | None:
    """Why this form is refused whatever is allowed; None if it is not."""
    return _reason(NEVER, address)


def special(address: Address) -> str | None:
    """Why this form is no public address; None if it is one."""
    reason = _reason(NEVER, address) or _reason(SPECIAL, address)
    if reason is not None or isinstance(address, IPv4Address):
        return reason
    return None if address in _GLOBAL_UNICAST or address in _NAT64 else "unallocated"


def _reason(rows: tuple[Row, ...], address: Address) -> str | None:
    return next((row.reason for row in rows if address in row.network), None)


def _embedded(address: IPv6Address) -> Iterator[IPv4Address]:
    bits = int(address)
    if bits > 1 and any(address in network for network in _TRAILING):  # not :: and ::1
        yield IPv4Address(bits & 0xFFFF_FFFF)
    if address in _6TO4:
        yield IPv4Address(bits >> 80 & 0xFFFF_FFFF)
    if address in _TEREDO:  # RFC 4380, 4: the server in the clear, the client with bits inverted
        yield IPv4Address(bits >> 64 & 0xFFFF_FFFF)
        yield IPv4Address(~bits & 0xFFFF_FFFF)
    if bits >> 32 & 0xFFFF_FFFF in _ISATAP:
        yield IPv4Address(bits & 0xFFFF_FFFF)
