"""The guard bound to one tenant and one entry point: says no, and records it, once an attempt."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

from tenantry.core.errors import EgressRefused, SourceUnreachable
from tenantry.core.events import AuditSink, Json
from tenantry.isolation.context import TenantContext
from tenantry.security.egress.addresses import parse_address
from tenantry.security.egress.policy import EgressPolicy, EntryPoint
from tenantry.security.egress.resolver import LookUps
from tenantry.security.egress.spelling import Refusal, Target, canonical_host, named, parse_url


@dataclass(frozen=True, slots=True)
class Gate:
    """Judges hosts, answers and addresses.

    Attributes:
        audit: where refusals go.
        policy: what may be reached.
        look_ups: where names are looked up.
        ctx: whose attempts these are.
        entry: where the address was named.
    """

    audit: AuditSink
    policy: EgressPolicy
    look_ups: LookUps
    ctx: TenantContext
    entry: EntryPoint

    async def addresses(self, host: str, port: int) -> tuple[str, ...]:
        """Every address of a host, each of them checked; one look-up.

        Raises:
            EgressRefused: the spelling, or any one address of the answer, may not be reached.
            SourceUnreachable: the name is unknown.
        """
        name = await self.spelled(host, port)
        literal = parse_address(name) is not None
        answer = (name,) if literal else await self._look_up(name)
        if (reason := self.judged(answer, port)) is not None:
            await self.refuse(reason, host, port)
        return answer

    async def spelled(self, host: str, port: int) -> str:
        """The host in its one spelling.

        Raises:
            EgressRefused: it, or the port, is written in a way that is not taken.
        """
        try:
            if not 0 < port < 65_536:
                raise Refusal("port")
            return canonical_host(host)
        except Refusal as refusal:
            await self.refuse(refusal.reason, host, port)

    async def target(self, url: str) -> Target:
        """A URL taken apart, in its one spelling.

        Raises:
            EgressRefused: it is written in a way that is not taken.
        """
        try:
            return parse_url(url)
        except Refusal as refusal:
            await self.refuse(refusal.reason, url, 0)

    def judged(self, answer: Iterable[str], port: int) -> str | None:
        """Why one of these IP literals, and so all of them, may not be reached; None if they may.

        A mixed answer is refused whole: which of its addresses is used is not ours to say.
        """
        reasons = (self.policy.refusal(address, port) for address in answer)
        return next((reason for reason in reasons if reason is not None), None)

    async def refuse(self, reason: str, host: str, port: int) -> NoReturn:
        """Record a refusal, then raise it.

        Raises:
            EgressRefused: always.
            StoreUnavailable: it could not be recorded; nothing was reached either.
        """
        detail: dict[str, Json] = {
            "entry": self.entry,
            "host": named(host),
            "port": port,
            "reason": reason,
        }
        await self.audit.record(
            self.ctx.event("egress.refused", "refused", "egress", named(host), detail)
        )
        raise EgressRefused

    async def _look_up(self, name: str) -> tuple[str, ...]:
        try:
            answer = await self.look_ups.addresses(self.ctx.tenant, name)
        except (OSError, UnicodeError):  # unknown, malformed, or nobody answered in time
            answer = ()
        if not answer:
            raise SourceUnreachable("The host's name is unknown.")
        return answer
