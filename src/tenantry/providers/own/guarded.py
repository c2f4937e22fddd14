"""The way out to a tenant's own account: connections kept for one key, each judged by the guard."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace

from tenantry.core.errors import BoundaryCrossed, SourceUnreachable
from tenantry.core.ids import TenantId
from tenantry.isolation.context import TenantContext
from tenantry.providers.connecting import Trust, Unreached
from tenantry.providers.upstream import HttpUpstream, Patience, UpstreamResponse
from tenantry.security.egress.guard import EgressGuard

_MOST_CONNECTIONS = 100


class GuardedUpstream(HttpUpstream):
    """The client of one key of one tenant; outlives its retirement for the calls under way.

    Attributes:
        tenant: whose it is; nobody else is let through.
    """

    def __init__(
        self,
        guard: EgressGuard,
        tenant: TenantId,
        base_url: str,
        headers: Mapping[str, str],
        patience: Patience,
        trust: Trust,
    ) -> None:
        super().__init__(
            base_url, headers, patience, trust=trust, most_connections=_MOST_CONNECTIONS
        )
        self._guard = guard
        self._under_way = 0
        self._end: Callable[[GuardedUpstream], None] | None = None
        self.tenant = tenant

    def asked_by(self, ctx: TenantContext) -> "AskedUpstream":
        """The way out for one caller, under whose name refusals are recorded.

        Raises:
            BoundaryCrossed: the caller is of another tenant.
        """
        if ctx.tenant != self.tenant:
            raise BoundaryCrossed
        return AskedUpstream(self, ctx)

    async def open_for(
        self, ctx: TenantContext, path: str, body: bytes, headers: Mapping[str, str]
    ) -> UpstreamResponse:
        """POST `body` to `path` below the base URL; see `Upstream.open`.

        Raises:
            EgressRefused: the address may not be reached; recorded under the caller's name.
        """
        gate = self._guard.gate(ctx, "provider_account")
        self._under_way += 1
        try:
            target = await gate.target(self._base + path)
            # A new connection goes to an address that the gate has let through, never to a name.
            response = await self._exchange(target.url, body, headers, gate.addresses)
        except SourceUnreachable as error:
            self._leave()
            raise Unreached from error
        except BaseException:
            self._leave()
            raise
        return self._counted(response)

    def retire(self, end: Callable[["GuardedUpstream"], None]) -> None:
        """Let go of it: `end` is called as soon as no call is under way."""
        self._end = end
        self._end_if_idle()

    async def close_if_idle(self) -> None:
        """Drop its connections, unless a call began meanwhile: then its end will."""
        if not self._under_way:
            await self.close()

    def _counted(self, response: UpstreamResponse) -> UpstreamResponse:
        left = False

        def leave() -> None:
            nonlocal left
            if not left:
                left = True
                self._leave()

        async def chunks() -> AsyncIterator[bytes]:
            try:
                async for chunk in response.chunks:
                    yield chunk
            finally:
                leave()

        def close() -> None:
            response.close()
            leave()

        return replace(response, chunks=chunks(), close=close)

    def _leave(self) -> None:
        self._under_way -= 1
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        if self._end is not None and not self._under_way:
            self._end(self)


class AskedUpstream:
    """`Upstream` of one caller's calls."""

    def __init__(self, upstream: GuardedUpstream, ctx: TenantContext) -> None:
        self._upstream = upstream
        self._ctx = ctx

    async def open(self, path: str, body: bytes, headers: Mapping[str, str]) -> UpstreamResponse:
        """POST `body` to `path` below the base URL; see `GuardedUpstream.open_for`."""
        return await self._upstream.open_for(self._ctx, path, body, headers)

    async def close(self) -> None:
        """The client is not this caller's to close."""
