"""What the operator allows besides public addresses, and what nobody may allow."""

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Literal

from tenantry.core.errors import StartupRefused
from tenantry.security.egress.addresses import (
    Address,
    Network,
    forms,
    never,
    parse_address,
    special,
)

EntryPoint = Literal[
    "http_connector", "openapi_document", "postgres", "mysql", "mcp", "oidc_issuer", "jwks",
    "webhook", "provider_account",
]  # fmt: skip
"""Where a tenant can name an address: each of the nine goes through the one guard."""

_SETTING = "TENANTRY_EGRESS_ALLOW"
_BRACKETED = re.compile(r"\[([^\]]*)\](?::(.*))?")


@dataclass(frozen=True, slots=True)
class Allowed:
    """A network that the operator opens to tenants' sources.

    Attributes:
        network: the range.
        port: the one port of it; None is every port.
    """

    network: Network
    port: int | None = None

    def covers(self, address: Address, port: int) -> bool:
        """True if this entry speaks of that address and port."""
        return self.port in {None, port} and address in self.network


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """Which addresses may be reached.

    Attributes:
        allowed: ranges besides the public ones.
        own: listeners of the platform itself and its database, as address and port; refused
            whatever is allowed. An unspecified address (`0.0.0.0`, `::`) means every address of
            this machine.
    """

    allowed: tuple[Allowed, ...] = ()
    own: frozenset[tuple[Address, int]] = frozenset()

    @classmethod
    def parse(cls, text: str, own: Iterable[tuple[str, int]] = ()) -> "EgressPolicy":
        """Read the operator's list: `network` or `network:port`, separated by commas.

        Args:
            text: such as `10.20.0.0/16, 192.168.7.5:5432, [fd12::/48]:443`; empty allows none.
            own: where the platform and its database listen, as host and port; a name is looked up
                here and now (this blocks), a path of a Unix socket is passed over.

        Raises:
            StartupRefused: an entry cannot be read; the message says which and why.
        """
        entries = tuple(_allowed(entry.strip()) for entry in text.split(",") if entry.strip())
        listeners = ((address, port) for host, port in own for address in _addresses(host))
        return cls(entries, frozenset(listeners))

    def refusal(self, address: str, port: int) -> str | None:
        """Why this IP literal may not be reached at this port; None if it may.

        Source: the order is that of `docs/egress.md`; the strictest comes first.
        """
        parsed = parse_address(address)
        if parsed is None:  # an IPv6 zone names an interface of this machine
            return "spelling of an address"
        for form in forms(parsed):
            reason = never(form) or self._own(form, port) or self._special(form, port)
            if reason is not None:
                return reason
        return None

    def _special(self, address: Address, port: int) -> str | None:
        if any(entry.covers(address, port) for entry in self.allowed):
            return None
        return special(address)

    def _own(self, address: Address, port: int) -> str | None:
        for listener, listening in self.own:
            if listening != port:
                continue
            if address == listener or (listener.is_unspecified and _is_this_machine(address)):
                return "the platform's own listener"
        return None


def _is_this_machine(address: Address) -> bool:
    """True if the address is one of this machine's: only those can be bound; nothing is sent."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


def _allowed(entry: str) -> Allowed:
    network, port = entry, None
    if bracketed := _BRACKETED.fullmatch(entry):
        network, port = bracketed.groups()
    elif entry.count(":") == 1:
        network, port = entry.split(":")
    return Allowed(_network(entry, network), None if port is None else _port(entry, port))


def _network(entry: str, text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        meant = ip_network(text, strict=False)
    except ValueError:
        raise StartupRefused(
            f"{_SETTING}: '{entry}' is no network. Write 10.20.0.0/16, 192.168.7.5:5432 or "
            "[fd12::/48]:443, separated by commas; names are not taken."
        ) from None
    raise StartupRefused(
        f"{_SETTING}: '{entry}' is an address within a network. Write {meant} for the network, or "
        f"the address alone."
    )


def _port(entry: str, text: str) -> int:
    if not (text.isdecimal() and text.isascii() and len(text) <= 5 and 0 < int(text) < 65_536):
        raise StartupRefused(f"{_SETTING}: the port of '{entry}' is not between 1 and 65535.")
    return int(text)


def _addresses(host: str) -> frozenset[Address]:
    if host.startswith("/"):
        return frozenset()
    if (address := parse_address(host or "0.0.0.0")) is not None:  # noqa: S104 - meant: everywhere
        return frozenset({address})
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        raise StartupRefused(f"The platform's own host '{host}' cannot be looked up.") from None
    parsed = (parse_address(str(info[4][0])) for info in found)
    return frozenset(address for address in parsed if address is not None)
