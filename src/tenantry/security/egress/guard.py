"""The egress guard: every way out to an address that a tenant names begins here."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

import aiohttp

from tenantry.core.events import AuditSink
from tenantry.isolation.context import TenantContext
from tenantry.security.egress.connecting import GuardedConnector
from tenantry.security.egress.fetching import opened, pieces, plain_headers, timed_out
from tenantry.security.egress.gate import Gate
from tenantry.security.egress.messages import (
    Allowance,
    EgressRequest,
    EgressResponse,
    EgressStream,
)
from tenantry.security.egress.policy import EgressPolicy, EntryPoint
from tenantry.security.egress.resolver import LookUps, Resolver, SystemResolver


class EgressGuard:
    """One a process; keeps nothing of any tenant beyond its requests."""

    def __init__(
        self, audit: AuditSink, policy: EgressPolicy, resolver: Resolver | None = None
    ) -> None:
        """Opens nothing.

        Args:
            audit: where refusals are recorded.
            policy: what the operator allows.
            resolver: where names are looked up; the machine's own unless given.
        """
        self._audit = audit
        self._policy = policy
        self._look_ups = LookUps(resolver or SystemResolver())

    async def resolve(
        self, ctx: TenantContext, entry: EntryPoint, host: str, port: int
    ) -> tuple[str, ...]:
        """Every address of a host, as checked IP literals: connect to these, never to the name.

        Raises:
            EgressRefused: one of them, or the host's spelling, may not be; recorded.
            SourceUnreachable: the name is unknown.
        """
        return await self.gate(ctx, entry).addresses(host, port)

    def connector(self, ctx: TenantContext, entry: EntryPoint) -> aiohttp.TCPConnector:
        """A connector for an aiohttp session of one tenant; close it with the session.

        It guards addresses only: `fetch` and `stream` also guard URLs, redirects and sizes.
        """
        return GuardedConnector(self.gate(ctx, entry))

    def gate(self, ctx: TenantContext, entry: EntryPoint) -> Gate:
        """Who judges the attempts of one caller at one entry point."""
        return Gate(self._audit, self._policy, self._look_ups, ctx, entry)

    async def fetch(
        self, ctx: TenantContext, entry: EntryPoint, request: EgressRequest, allowance: Allowance
    ) -> EgressResponse:
        """Send a request and read its answer whole.

        Raises:
            EgressRefused: an address, URL, redirect, host or port that may not be; recorded.
            InvalidRequest: a header that cannot be sent.
            SourceUnreachable: no connection, or no trust in the certificate.
            QueryTimeout: it took longer than `allowance.timeout_s` in all.
            QueryFailed: the answer is too large, broken off, or not HTTP.
        """
        gate = self.gate(ctx, entry)
        try:
            async with (
                asyncio.timeout(allowance.timeout_s),
                opened(gate, request, allowance) as response,
            ):
                body = bytearray()
                async for piece in pieces(response, allowance.max_bytes):
                    body += piece
                return EgressResponse(
                    response.status, plain_headers(response), bytes(body), str(response.url)
                )
        except TimeoutError:
            raise timed_out() from None

    @asynccontextmanager
    async def stream(
        self, ctx: TenantContext, entry: EntryPoint, request: EgressRequest, allowance: Allowance
    ) -> AsyncIterator[EgressStream]:
        """Send a request and read its answer as it comes; closed with the block.

        Raises:
            EgressRefused, InvalidRequest, SourceUnreachable, QueryTimeout, QueryFailed: as `fetch`
                does; `allowance.timeout_s` counts until the headers, then for each piece.
        """
        async with AsyncExitStack() as stack:
            exchange = opened(self.gate(ctx, entry), request, allowance)
            try:
                async with asyncio.timeout(allowance.timeout_s):
                    response = await stack.enter_async_context(exchange)
            except TimeoutError:
                raise timed_out() from None
            body = pieces(response, allowance.max_bytes, allowance.timeout_s)
            await stack.enter_async_context(aclosing(body))
            yield EgressStream(response.status, plain_headers(response), body, str(response.url))
