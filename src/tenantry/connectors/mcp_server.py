"""Connector kind `mcp`: tools of a tenant's own or a stranger's MCP server (CON-1, CON-4, SEC-3).

Threat: a server that is a stranger's program with a stranger's texts: descriptions that talk to the
model, tools that change after they were looked at, answers without end, a credential sent back.
Invariant: only tools that an administrator named are called, each as it was accepted; every
argument is in the schema shown; the server is reached over the egress guard, or is a command that
the operator allows, in a sandbox. Each call has a session, and a process, of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, TypeVar

from tenantry.connectors.base import (
    ConnectorConfig,
    ConnectorDraft,
    ConnectorServices,
    Operation,
    QueryLimits,
)
from tenantry.connectors.exposure import Offer, check_use
from tenantry.connectors.http_credentials import SECRET_OF, Credentials
from tenantry.connectors.mcp_acceptance import (
    Definitions,
    changed_in,
    gone_from,
    listed,
    pinned,
    warnings,
)
from tenantry.connectors.mcp_answer import answer_of
from tenantry.connectors.mcp_commands import Command
from tenantry.connectors.mcp_options import McpOptions
from tenantry.connectors.mcp_suspension import Suspensions
from tenantry.connectors.operation_gate import OperationGate, shown_operations
from tenantry.connectors.slots import Slots
from tenantry.core.errors import InvalidRequest, QueryFailed, QueryRefused, QueryTimeout
from tenantry.core.events import Json
from tenantry.core.secret import Secret
from tenantry.isolation.context import TenantContext
from tenantry.security.vault.envelope import SecretOwner

if TYPE_CHECKING:
    from tenantry.connectors.mcp_client import McpSession

_LOOK_S = 20.0
_MOST_PROCESSES, _MOST_PROCESSES_OF_ONE = 16, 4
_SUSPENDED = (
    "The server changed this tool since it was accepted. It is suspended until an administrator "
    "accepts it anew."
)
T = TypeVar("T")


class McpConnector:
    """Opens connectors of MCP servers; holds nothing of any tenant."""

    kind: ClassVar[str] = "mcp"

    def __init__(self, services: ConnectorServices) -> None:
        self._services = services
        self._places = Slots(_MOST_PROCESSES, _MOST_PROCESSES_OF_ONE)

    @property
    def secret_fields(self) -> frozenset[str]:
        """What a server over HTTP may need, and what the operator's commands name."""
        named = (name for command in self._services.commands.values() for name in command.secrets)
        return frozenset(SECRET_OF.values()) | frozenset(named)

    def check(self, options: Mapping[str, Json]) -> Mapping[str, Json]:
        """The options as they are to be stored.

        Raises:
            InvalidRequest: one is missing, unknown or wrong, or nothing can be offered.
        """
        read = McpOptions.read(options)
        self._command(read)
        if read.tools is None:
            return read.stored()  # `complete` asks the server
        offers, left_out = read.offers()
        check_use(offers, left_out, read.exposure)
        return replace(read, left_out=left_out).stored()

    async def complete(self, ctx: TenantContext, draft: ConnectorDraft) -> Mapping[str, Json]:
        """The options of `check` with the tools chosen in them, as the server describes them now.

        Raises:
            InvalidRequest: the server has no such tool, or a secret is missing.
            EgressRefused: its address may not be reached.
            QueryFailed, QueryTimeout: it cannot be asked.
        """
        options = McpOptions.read(draft.options)
        if options.tools is not None:
            return draft.options

        async def look(session: "McpSession") -> tuple[Definitions, str]:
            return await session.tools(), session.protocol

        found, protocol = await self.in_session(ctx, options, draft.secrets, _LOOK_S, look)
        tools, left_out = pinned(options, found)
        accepted = replace(
            options, tools=tools, protocol=protocol, left_out=left_out, acceptance=""
        )
        return self.check(accepted.stored())

    def destination(self, options: Mapping[str, Json]) -> str:
        """The server's URL and where in a request the secret is, or the command."""
        read = McpOptions.read(options)
        if read.base is None:
            return f"command {read.command}"
        return f"{read.base.origin} {read.base.url} {read.auth.stored()}"

    async def probe(self, ctx: TenantContext, draft: ConnectorDraft) -> Sequence[str]:
        """Open a session: does the server answer, and are its tools those accepted?

        Raises:
            InvalidRequest: a secret is missing or superfluous.
            EgressRefused: the server may not be reached.
            QueryFailed, QueryTimeout: it does not answer, or its tools are others.
        """
        options = McpOptions.read(draft.options)
        found = await self.look(ctx, options, draft.secrets)
        if wrong := gone_from(options, found) + changed_in(options, found):
            raise QueryFailed(f"The server's tools are not those given: {listed(wrong)}.")
        return warnings(options, self._command(options))

    def open(self, ctx: TenantContext, config: ConnectorConfig) -> "McpSource":
        """The tools of one connector of one tenant; performs no I/O."""
        return McpSource(ctx, config, self)

    async def retire(self, ctx: TenantContext, config: ConnectorConfig) -> None:
        """Nothing to let go of: each call has a session of its own."""

    async def forget(self, ctx: TenantContext, config: ConnectorConfig) -> None:
        """What was suspended goes with the connector's row."""

    async def close(self) -> None:
        """Nothing is held."""

    @property
    def services(self) -> ConnectorServices:
        """What the platform lends."""
        return self._services

    async def look(
        self, ctx: TenantContext, options: McpOptions, secrets: Mapping[str, Secret]
    ) -> Definitions:
        """The tools that the server lists now.

        Raises:
            EgressRefused, QueryFailed, QueryTimeout: as for `in_session`.
        """

        async def tools(session: "McpSession") -> Definitions:
            return await session.tools()

        return await self.in_session(ctx, options, secrets, _LOOK_S, tools)

    async def in_session(
        self,
        ctx: TenantContext,
        options: McpOptions,
        secrets: Mapping[str, Secret],
        timeout_s: float,
        work: "Callable[[McpSession], Awaitable[T]]",
    ) -> T:
        """Do something in a session of its own; see `mcp_client.in_session`.

        Raises:
            InvalidRequest: a secret is missing or superfluous, or the SDK is not installed.
        """
        await asyncio.to_thread(_load)  # a second of importing, which others need not wait for
        if options.base is not None:
            credentials = Credentials.of(options.auth, secrets)
            return await self._over_http(ctx, options, credentials, timeout_s, work)
        return await self._in_process(ctx, options, secrets, timeout_s, work)

    async def _over_http(
        self,
        ctx: TenantContext,
        options: McpOptions,
        credentials: Credentials,
        timeout_s: float,
        work: "Callable[[McpSession], Awaitable[T]]",
    ) -> T:
        from tenantry.connectors.mcp_client import in_session
        from tenantry.connectors.mcp_http import HttpWay, Server

        if options.base is None:
            raise InvalidRequest("The server has no url.")
        server = Server(options.base, credentials, self._services.egress, self._services.clock)
        return await in_session(HttpWay(ctx, server, timeout_s), options.protocol, timeout_s, work)

    async def _in_process(
        self,
        ctx: TenantContext,
        options: McpOptions,
        secrets: Mapping[str, Secret],
        timeout_s: float,
        work: "Callable[[McpSession], Awaitable[T]]",
    ) -> T:
        from tenantry.connectors.mcp_client import in_session
        from tenantry.connectors.mcp_stdio import StdioWay

        command = self._command(options)
        if command is None:
            raise InvalidRequest("The server has neither url nor command.")
        way = StdioWay(command, secrets)
        try:
            async with asyncio.timeout(timeout_s), self._places.hold(ctx.tenant):
                return await in_session(way, options.protocol, timeout_s, work)
        except TimeoutError:
            raise QueryTimeout("The MCP server did not answer in time.") from None

    def _command(self, options: McpOptions) -> Command | None:
        """The operator's command that the options name; None where the server has a URL."""
        found = self._services.commands.get(options.command)
        if found is None and options.command:
            known = listed(sorted(self._services.commands))
            raise InvalidRequest(f"There is no command {options.command!r}. Allowed: {known}.")
        return found

    def traces(self, options: McpOptions, secrets: Mapping[str, Secret]) -> Sequence[str]:
        """The forms in which a server could send its secrets back."""
        if options.base is not None:
            return Credentials.of(options.auth, secrets).traces()
        return sorted({secret.reveal() for secret in secrets.values()}, key=len, reverse=True)


@dataclass(frozen=True, slots=True)
class McpSource:
    """The tools of one connector, for one tenant."""

    ctx: TenantContext
    config: ConnectorConfig
    connector: McpConnector

    async def operations(self) -> Sequence[Operation]:
        """Tools that a model may call, as they were accepted; those suspended say so."""
        options = McpOptions.read(self.config.options)
        suspended = await self._suspensions(options).names()
        return [
            replace(each, description=_SUSPENDED, suspended=True)
            if each.name in suspended
            else each
            for each in shown_operations(options.offers()[0])
        ]

    async def to_approve(self, operation: str, arguments: Mapping[str, Json]) -> bytes | None:
        """What a member must approve before a model may make this call; None if nothing.

        Raises:
            QueryRefused: it may not be made at all; recorded as for `call`.
        """
        options = McpOptions.read(self.config.options)
        gate = OperationGate(self.ctx, self.connector.services.audit, self.config.name)
        offer, whole = await self._admitted(gate, options, operation, arguments)
        return gate.to_approve(offer, whole, writes=options.writes)

    async def call(
        self, operation: str, arguments: Mapping[str, Json], limits: QueryLimits
    ) -> Json:
        """Make one call; the answer is untrusted data.

        Raises:
            QueryRefused: no such tool here, it is suspended, or its arguments do not fit; recorded,
                unless it is a mere mistake in a value.
            EgressRefused: the server may not be reached; recorded.
            QueryFailed: it cannot be reached, speaks no MCP, or says that the tool went wrong.
            QueryTimeout: it ran out of time.
        """
        options, services = McpOptions.read(self.config.options), self.connector.services
        gate = OperationGate(self.ctx, services.audit, self.config.name)
        offer, whole = await self._admitted(gate, options, operation, arguments)
        suspensions = self._suspensions(options)
        secrets = await self._secrets()

        async def called(session: "McpSession") -> Mapping[str, Json]:
            found = await session.tools()
            changed = changed_in(options, found)
            await suspensions.add(changed)
            if offer.name in changed:
                raise QueryRefused(_SUSPENDED)
            if offer.name not in found:
                raise QueryFailed("The server does not offer this tool any more.")
            await gate.record_sent(offer)
            return await session.call(offer.name, whole)

        result = await self.connector.in_session(
            self.ctx, options, secrets, limits.timeout_s, called
        )
        return answer_of(result, self.connector.traces(options, secrets), limits.max_bytes)

    async def test(self) -> None:
        """Check that the server answers, and that its tools are still those accepted.

        Raises:
            QueryFailed: it does not, or they are not, and which.
        """
        options = McpOptions.read(self.config.options)
        found = await self.connector.look(self.ctx, options, await self._secrets())
        suspensions = self._suspensions(options)
        await suspensions.add(changed_in(options, found))
        if suspended := sorted(await suspensions.names()):
            raise QueryFailed(
                f"The server changed {listed(suspended)} since it was accepted. It is suspended "
                "until the connector's options are given again without tools."
            )
        if gone := gone_from(options, found):
            raise QueryFailed(f"The server does not offer {listed(gone)} any more.")

    async def _admitted(
        self, gate: OperationGate, options: McpOptions, tool: str, arguments: Mapping[str, Json]
    ) -> tuple[Offer, dict[str, Json]]:
        offers, _ = options.offers()
        offer, whole = await gate.admitted(offers, tool, arguments, writes=options.writes)
        if offer.name in await self._suspensions(options).names():
            await gate.refuse(offer.name, "suspended")
            raise QueryRefused(_SUSPENDED)
        return offer, whole

    def _suspensions(self, options: McpOptions) -> Suspensions:
        services = self.connector.services
        return Suspensions(services.db, services.audit, self.ctx, self.config, options.acceptance)

    async def _secrets(self) -> Mapping[str, Secret]:
        if not self.config.credential_version:
            return {}
        owner = SecretOwner("connector", self.config.connector)
        vault = self.connector.services.vault
        return (await vault.open(self.ctx, owner, self.config.credential_version)).fields


def _load() -> None:
    """Import what speaks the protocol.

    Raises:
        InvalidRequest: it is not installed.
    """
    try:
        import_module("tenantry.connectors.mcp_http")
        import_module("tenantry.connectors.mcp_stdio")
        import_module("tenantry.connectors.mcp_client")
    except ImportError as error:
        raise InvalidRequest(
            "MCP servers need the extra `connectors`: pip install 'tenantry[connectors]'."
        ) from error
