"""Connector kind `http`: a tenant's HTTP API, as its OpenAPI document describes it (CON-1, CON-4).

Threat: a document or an answer that a stranger wrote, a model that was talked into another's data,
a credential that goes elsewhere.
Invariant: the document is read once and kept as it was accepted; only GET and HEAD unless others
are named; every argument is in the schema shown; every byte leaves through the egress guard, to the
one host of the configuration; the credential is opened for the one request it signs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from tenantry.connectors.answers import MOST_BYTES
from tenantry.connectors.base import (
    ConnectorConfig,
    ConnectorDraft,
    ConnectorServices,
    Operation,
    QueryLimits,
)
from tenantry.connectors.exposure import Offer, check_use, left_out_of, offered
from tenantry.connectors.http_answer import answer_of
from tenantry.connectors.http_call import request_of, without_credential
from tenantry.connectors.http_credentials import SECRET_OF, Credentials
from tenantry.connectors.http_options import HttpOptions, digest_of
from tenantry.connectors.openapi_document import MOST_BYTES as MOST_DOCUMENT_BYTES
from tenantry.connectors.openapi_document import read as read_document
from tenantry.connectors.openapi_schema import Unreadable
from tenantry.connectors.operation_gate import OperationGate, shown_operations
from tenantry.core.errors import InvalidRequest, QueryFailed
from tenantry.core.events import Json
from tenantry.core.secret import Secret
from tenantry.isolation.context import TenantContext
from tenantry.security.egress.messages import Allowance, EgressRequest
from tenantry.security.vault.envelope import SecretOwner

_PROBE_S = 10.0
_DOCUMENT_S = 20.0
_MOST_WARNINGS = 20
_NAMES_SHOWN = 40


class HttpConnector:
    """Opens connectors of HTTP APIs; holds nothing of any tenant."""

    kind: ClassVar[str] = "http"
    secret_fields: ClassVar[frozenset[str]] = frozenset(SECRET_OF.values())

    def __init__(self, services: ConnectorServices) -> None:
        self._services = services

    def check(self, options: Mapping[str, Json]) -> Mapping[str, Json]:
        """The options as they are to be stored: the document with what is offered alone.

        Raises:
            InvalidRequest: one is missing, unknown or wrong, or nothing can be offered.
        """
        read = HttpOptions.read(options)
        if read.document is None:
            return read.stored({})  # `complete` fetches it
        offers, left_out = _offers(read)
        check_use(offers, left_out, read.exposure)
        document = replace(
            read.document,
            operations={name: read.document.operations[name] for name in offers},
        )
        allow = None if read.allow is None else tuple(n for n in read.allow if n in offers)
        return replace(read, document=document, allow=allow).stored(left_out)

    async def complete(self, ctx: TenantContext, draft: ConnectorDraft) -> Mapping[str, Json]:
        """The options of `check` with the document in them, fetched if only its URL was given.

        Raises:
            EgressRefused: its address may not be reached.
            QueryFailed: it cannot be fetched.
            InvalidRequest: as for `check`.
        """
        options = draft.options
        if "document" in options:
            return options
        text = await self._fetched(ctx, str(options["document_url"]))
        return self.check({**options, "document": text})

    def destination(self, options: Mapping[str, Json]) -> str:
        """Base URL, and where in a request the secret is: it is sent nowhere else."""
        read = HttpOptions.read(options)
        return f"{read.base.origin} {read.base.url} {read.auth.stored()}" if read.base else ""

    async def probe(self, ctx: TenantContext, draft: ConnectorDraft) -> Sequence[str]:
        """Ask the base URL for its headers, without a credential.

        Raises:
            InvalidRequest: a secret is missing or superfluous.
            EgressRefused: the host may not be reached.
            QueryFailed: nobody answers there in HTTP.
        """
        options = HttpOptions.read(draft.options)
        Credentials.of(options.auth, draft.secrets)
        await self._reached(ctx, options)
        return _warnings(options, draft.options.get("left_out"))

    def open(self, ctx: TenantContext, config: ConnectorConfig) -> "HttpSource":
        """The calls of one connector of one tenant; performs no I/O."""
        return HttpSource(ctx, config, self)

    async def retire(self, ctx: TenantContext, config: ConnectorConfig) -> None:
        """Nothing to let go of: each request has a connection of its own."""

    async def forget(self, ctx: TenantContext, config: ConnectorConfig) -> None:
        """Nothing is kept."""

    async def close(self) -> None:
        """Nothing is held."""

    @property
    def services(self) -> ConnectorServices:
        """What the platform lends."""
        return self._services

    async def look(self, ctx: TenantContext, options: HttpOptions) -> None:
        """Check that the API answers, and that its document is still the one accepted.

        Raises:
            QueryFailed: it does not, or it is not; which operations differ.
        """
        await self._reached(ctx, options)
        if not options.document_url or options.document is None:
            return
        known, text = options.document.operations, await self._fetched(ctx, options.document_url)
        try:
            if digest_of(text) == options.document_sha256:
                return
            now = read_document(text, list(known))
        except InvalidRequest as error:
            raise QueryFailed(f"The document at its URL changed: {error.message}") from None
        changed = [name for name in known if now.operations.get(name) != known[name]]
        what = f"operations {', '.join(changed[:_NAMES_SHOWN])}" if changed else "other parts"
        raise QueryFailed(
            f"The document at its URL changed ({what}). The accepted one stays in use until "
            "the connector's options are given again without it."
        )

    async def _reached(self, ctx: TenantContext, options: HttpOptions) -> None:
        # Without a credential, so that redirects may be followed wherever the guard allows.
        request = EgressRequest("HEAD", f"{options.base.url if options.base else ''}/")
        allowance = Allowance(max_bytes=MOST_BYTES, timeout_s=_PROBE_S)
        await self._services.egress.fetch(ctx, "http_connector", request, allowance)

    async def _fetched(self, ctx: TenantContext, url: str) -> bytes:
        request = EgressRequest("GET", url, {"accept": "application/json"})
        allowance = Allowance(max_bytes=MOST_DOCUMENT_BYTES, timeout_s=_DOCUMENT_S)
        response = await self._services.egress.fetch(ctx, "openapi_document", request, allowance)
        if response.status != 200:
            raise QueryFailed(f"The document's URL answered {response.status}.")
        return response.body


@dataclass(frozen=True, slots=True)
class HttpSource:
    """The calls of one connector, for one tenant."""

    ctx: TenantContext
    config: ConnectorConfig
    connector: HttpConnector

    async def operations(self) -> Sequence[Operation]:
        """Calls that a model may make, with the arguments that it may fill."""
        offers, _ = _offers(HttpOptions.read(self.config.options))
        return shown_operations(offers)

    async def to_approve(self, operation: str, arguments: Mapping[str, Json]) -> bytes | None:
        """What a member must approve before a model may make this call; None if nothing.

        Raises:
            QueryRefused: it may not be made at all; recorded as for `call`.
        """
        options = HttpOptions.read(self.config.options)
        gate = OperationGate(self.ctx, self.connector.services.audit, self.config.name)
        offer, whole = await gate.admitted(
            _offers(options)[0], operation, arguments, writes=options.writes
        )
        return gate.to_approve(offer, whole, writes=options.writes)

    async def call(
        self, operation: str, arguments: Mapping[str, Json], limits: QueryLimits
    ) -> Json:
        """Make one call; the answer is untrusted data.

        Raises:
            QueryRefused: no such operation here, or its arguments do not fit; recorded, unless it
                is a mere mistake in a value.
            EgressRefused: its host may not be reached, or it redirects elsewhere; recorded.
            QueryFailed: the API cannot be reached, or says that it went wrong.
            QueryTimeout: it ran out of time.
        """
        options = HttpOptions.read(self.config.options)
        offers, _ = _offers(options)
        gate = OperationGate(self.ctx, self.connector.services.audit, self.config.name)
        offer, whole = await gate.admitted(offers, operation, arguments, writes=options.writes)
        if options.document is None or options.base is None:
            raise QueryFailed("The connector has no document.")
        request = request_of(options, options.document.operations[offer.name], whole)
        await gate.record_sent(offer)
        allowance = Allowance(
            hosts=frozenset({options.base.host}),  # also after a redirect
            ports=frozenset({options.base.port}),
            max_bytes=MOST_BYTES,
            timeout_s=limits.timeout_s,
        )
        credentials = Credentials.of(options.auth, await self._secrets(options))
        response = await self.connector.services.egress.fetch(
            self.ctx, "http_connector", credentials.signed(request), allowance
        )
        return answer_of(response, credentials.traces(), limits.max_bytes)

    async def test(self) -> None:
        """Check that the API answers, and that its document is still the one accepted.

        Raises:
            QueryFailed: it does not, or it is not, and why.
        """
        await self.connector.look(self.ctx, HttpOptions.read(self.config.options))

    async def _secrets(self, options: HttpOptions) -> Mapping[str, Secret]:
        if options.auth.kind not in SECRET_OF:
            return {}
        owner = SecretOwner("connector", self.config.connector)
        vault = self.connector.services.vault
        return (await vault.open(self.ctx, owner, self.config.credential_version)).fields


def _offers(options: HttpOptions) -> tuple[dict[str, Offer], dict[str, str]]:
    """What is offered, by name, and what is not, with the reason."""
    if options.document is None:
        return {}, {}
    left_out = dict(options.document.left_out)
    offers: dict[str, Offer] = {}
    for name, operation in options.document.operations.items():
        try:
            whole = without_credential(operation, options.auth).arguments
            offer = Offer(name, operation.description, operation.effect, whole)
            offers[name] = offered(offer, options.exposure)
        except Unreadable as error:
            left_out[name] = str(error)
    return offers, left_out


def _warnings(options: HttpOptions, left_out: Json) -> list[str]:
    said = []
    if options.base and options.base.url.startswith("http:"):
        said.append("The connection is not encrypted: use https.")
    if options.writes == "allowed":
        said.append("A model may change things through this connector, and nobody is asked first.")
    said += left_out_of(_offers(options)[0], left_out)
    return said[:_MOST_WARNINGS]
