"""A real DNS server on this machine, whose answers change as an attacker's would."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address

from dnslib import AAAA, CNAME, QTYPE, RCODE, RR, A, DNSRecord
from dnslib.server import DNSLogger, DNSServer

Answer = tuple[str, ...]


@dataclass
class LocalDns:
    """Answers over UDP on 127.0.0.1.

    Attributes:
        names: answers of a name, in order: the first question gets the first, and so on; the last
            is repeated. An answer mixes IPv4 and IPv6, or is one name that it stands for.
        asked: how often a name was asked for, by (name, type).
        port: UDP port, once it serves.
    """

    names: dict[str, list[Answer]] = field(default_factory=dict)
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    port: int = 0

    def resolve(self, request: DNSRecord, _handler: object) -> DNSRecord:
        """The answer to one question; called by dnslib's thread."""
        reply = request.reply()
        name, kind = str(request.q.qname).rstrip(".").lower(), QTYPE[request.q.qtype]
        turns = self.names.get(name)
        if turns is None:
            reply.header.rcode = RCODE.NXDOMAIN
            return reply
        turn = turns[min(self.asked[name, kind], len(turns) - 1)]
        self.asked[name, kind] += 1
        for text in turn:
            if (record := _record(text, kind)) is not None:
                reply.add_answer(RR(request.q.qname, QTYPE.reverse[kind], ttl=0, rdata=record))
            elif not _is_address(text):
                reply.add_answer(RR(request.q.qname, QTYPE.CNAME, ttl=0, rdata=CNAME(text)))
                for address in self.names[text][0]:
                    if (record := _record(address, kind)) is not None:
                        reply.add_answer(RR(text, QTYPE.reverse[kind], ttl=0, rdata=record))
        return reply

    @contextmanager
    def serving(self) -> Iterator["LocalDns"]:
        """Serve for as long as the block runs."""
        server = DNSServer(self, address="127.0.0.1", port=0, logger=DNSLogger(logf=_unsaid))
        self.port = server.server.server_address[1]
        # Its own thread would look only twice a second whether it is to stop.
        thread = threading.Thread(target=server.server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            server.server.shutdown()
            thread.join()
            server.server.server_close()


class UdpResolver:
    """`Resolver` that asks one DNS server, A and AAAA, as a stub resolver does."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def addresses(self, host: str) -> Sequence[str]:
        """Every address of a name, in the order of the answers."""
        return await asyncio.to_thread(self._ask, host)

    def _ask(self, host: str) -> Sequence[str]:
        found: list[str] = []
        for kind in ("A", "AAAA"):
            question = DNSRecord.question(host, kind)
            reply = DNSRecord.parse(question.send("127.0.0.1", self._port, timeout=5))
            packed = [bytes(rr.rdata.data) for rr in reply.rr if QTYPE[rr.rtype] == kind]
            found += [str(ip_address(data)) for data in packed]
        if not found:
            raise OSError("no such name")
        return found


def _unsaid(_line: str) -> None:
    """Takes the server's log lines."""


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _record(text: str, kind: str) -> A | AAAA | None:
    if not _is_address(text):
        return None
    if ip_address(text).version == 4:
        return A(text) if kind == "A" else None
    return AAAA(tuple(ip_address(text).packed)) if kind == "AAAA" else None
