"""The composition root: settings in, a running platform out. Imported by the edges only.

Every room is built once, here, and taken down in reverse order.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tenantry.admission import Admission
from tenantry.agent.boundary import ModelBoundary
from tenantry.agent.loop import AgentLoop
from tenantry.agent.parts import AgentLimits, AgentParts
from tenantry.connectors.base import ConnectorServices
from tenantry.connectors.catalog import ConnectorCatalog
from tenantry.connectors.file_store import FileStore
from tenantry.connectors.guarding import reading_places
from tenantry.connectors.mcp_commands import read_commands
from tenantry.connectors.result_files import ResultFiles
from tenantry.core.clock import Clock, SystemClock
from tenantry.core.errors import (
    StartupRefused,
)
from tenantry.core.settings import Settings
from tenantry.db.migrate import SigningKey, migrate, pending_migrations
from tenantry.db.store import Store, open_store
from tenantry.foundation import Foundation
from tenantry.gateway.passthrough import Gateway
from tenantry.isolation.break_glass import BreakGlass
from tenantry.isolation.context import ContextMint, TenantContext
from tenantry.isolation.doors import Doors
from tenantry.isolation.signing import ContextSigner
from tenantry.isolation.statements import RoleDatabase
from tenantry.isolation.tenants import TenantDirectory
from tenantry.isolation.transaction import Database
from tenantry.jobs.jobs import Jobs
from tenantry.knowledge.documents import Documents
from tenantry.knowledge.ingest import Ingestor
from tenantry.knowledge.retrieve import Retriever
from tenantry.limits.plans import BudgetPlans
from tenantry.memory.patterns import Patterns
from tenantry.metering.ledger import Ledger
from tenantry.metering.price_list import install_default_prices
from tenantry.metering.reconcile import Reconciler
from tenantry.metering.reports import UsageReports
from tenantry.metering.storage import StorageMeter
from tenantry.pools.base import PoolCaps
from tenantry.pools.pools import Pools
from tenantry.providers.base import Embedder
from tenantry.providers.directory import ModelDirectory
from tenantry.providers.embedded_e5 import EmbeddedE5
from tenantry.providers.fair_embedder import FairEmbedder
from tenantry.providers.own.accounts import AccountServices, ProviderAccounts
from tenantry.providers.own.clients import OwnClients
from tenantry.providers.own.models import OwnModels
from tenantry.providers.own.policies import ModelPolicies
from tenantry.providers.registry import KEYLESS, ProviderRegistry
from tenantry.security.audit import AuditLog
from tenantry.security.auth import Authenticator
from tenantry.security.cursors import START, Cursors
from tenantry.security.egress.guard import EgressGuard
from tenantry.security.egress.policy import EgressPolicy
from tenantry.security.members import Members
from tenantry.security.operators import Operators
from tenantry.security.standing import Standing
from tenantry.security.tokens import TokenIssuer
from tenantry.security.vault.keepers import key_encryption
from tenantry.security.vault.keys import KeyEncryption
from tenantry.security.vault.rotation import Rotation
from tenantry.security.vault.vault import Vault
from tenantry.sessions.assistants import Assistants, Draft
from tenantry.sessions.conversations import Conversations
from tenantry.tools.direct import DirectAccess
from tenantry.tools.toolbox import TOOL_NAMES, Toolbox, ToolServices
from tenantry.upkeep import Upkeep
from tenantry.vectors.shelves import Shelves


class _Closable(Protocol):
    async def close(self) -> None: ...


T = TypeVar("T", bound=_Closable)
_DEFAULT_ASSISTANT = "analyst"
_DEFAULT_INSTRUCTIONS = (
    "You are the analyst of this organisation. Answer from its documents and data only, "
    "say which source each statement comes from, and show the figures you used."
)


@dataclass(frozen=True, slots=True)
class Platform:
    """Everything a running process has, built once."""

    settings: Settings
    store: Store
    clock: Clock
    db: Database
    operator_db: RoleDatabase
    audit: AuditLog
    authenticator: Authenticator
    standing: Standing
    tokens: TokenIssuer
    operators: Operators
    members: Members
    tenants: TenantDirectory
    ledger: Ledger
    reports: UsageReports
    reconciler: Reconciler
    storage: StorageMeter
    providers: ModelDirectory
    policies: ModelPolicies
    embedder: Embedder
    jobs: Jobs
    documents: Documents
    retriever: Retriever
    ingestor: Ingestor
    connectors: ConnectorCatalog
    pools: Pools
    upkeep: Upkeep
    files: FileStore
    results: ResultFiles
    direct: DirectAccess
    break_glass: BreakGlass
    patterns: Patterns
    assistants: Assistants
    conversations: Conversations
    admission: Admission
    plans: BudgetPlans
    agent: AgentLoop
    gateway: Gateway
    cursors: Cursors
    mint: ContextMint = field(repr=False)

    @property
    def passages(self) -> FairEmbedder:
        """The embedder for passages of many tenants, in turns."""
        return self.providers.platform.fair_embedder(self.admission.capacity)

    async def check_database(self) -> None:
        """Return if PostgreSQL answers.

        Raises:
            StoreUnavailable: it does not.
        """
        await self.tenants.list_tenants(START, 1)

    async def provision_assistant(self, ctx: TenantContext) -> None:
        """Give a new tenant its first assistant: keyless, with every tool."""
        draft = Draft(_DEFAULT_INSTRUCTIONS, KEYLESS)
        await self.assistants.create(ctx, _DEFAULT_ASSISTANT, draft)


def migrate_store(store: Store) -> list[str]:
    """Bring the store's database to this version; the names of the migrations applied.

    Raises:
        StartupRefused: an applied migration was changed, or the server lacks something.
    """
    signer = ContextSigner(bytes.fromhex(store.secrets.signing_key))
    return migrate(store.admin_url, store.secrets, SigningKey(signer.key_id, *signer.blocks()))


@asynccontextmanager
async def open_platform(
    settings: Settings, clock: Clock | None = None, *, upkeep: bool = True
) -> AsyncIterator[Platform]:
    """A running platform, for as long as the block runs.

    Args:
        settings: what to run.
        clock: the machine's unless given.
        upkeep: sweep, anchor and tidy in the background; off for commands that look and leave.

    Raises:
        StartupRefused: the database, its roles or its policies are not as they must be.
        StoreUnavailable: the database cannot be reached.
    """
    async with AsyncExitStack() as stack:
        store = stack.enter_context(open_store(settings))
        await asyncio.to_thread(_prepare, store)
        doors = await Doors.open(stack, settings, store)
        await doors.refuse_if_unsafe()
        await install_default_prices(doors.operator)
        base = await Foundation.build(stack, settings, store, doors, clock or SystemClock())
        platform = _build(stack, base)
        if upkeep:
            await stack.enter_async_context(platform.upkeep.running())
        yield platform


def _prepare(store: Store) -> None:
    if store.embedded:
        migrate_store(store)
        return
    password = store.secrets.operator_password
    pending = pending_migrations(
        make_conninfo(store.url, user="tenantry_operator", password=password)
    )
    if pending:
        raise StartupRefused(
            f"The database lacks {len(pending)} migrations. Run `tenantry migrate` as its owner."
        )


def _build(stack: AsyncExitStack, base: Foundation) -> Platform:
    settings, clock, ledger = base.settings, base.clock, base.ledger
    db, audit = base.db, base.audit
    secrets, operator, standing = base.store.secrets, base.doors.operator, base.standing
    pepper, most_bytes = bytes.fromhex(secrets.key_pepper), settings.max_upload_bytes
    tokens = TokenIssuer(bytes.fromhex(secrets.token_key), clock)
    keys = _kept(stack, key_encryption(settings.vault_keys, settings.data_dir, clock=clock))
    pools = (services := _lent(stack, base, keys)).pools
    registry = (providers := _providers(stack, base, services)).platform
    admission = Admission(registry.terms(), base.budgets, ledger, audit, clock)
    connectors = _kept(stack, ConnectorCatalog(services))
    embedder, passages = registry.embedder, registry.fair_embedder(admission.capacity)
    patterns = Patterns(db, embedder, ledger, audit)
    retriever, results = _retriever(base, registry), ResultFiles(db)
    tools = ToolServices(connectors, results, retriever, patterns, audit, clock)
    tenants, storage = TenantDirectory(operator), StorageMeter(db, base.prices, clock)
    rotation, shelves, jobs = Rotation(db, keys, audit, clock), Shelves(db, audit), Jobs(db, audit)
    return Platform(
        settings=settings,
        store=base.store,
        clock=clock,
        db=db,
        operator_db=operator,
        audit=audit,
        authenticator=_authenticator(base, tokens, pepper),
        standing=standing,
        tokens=tokens,
        operators=Operators(operator, pepper, audit, clock),
        members=Members(db, pepper, audit, standing, clock),
        tenants=tenants,
        ledger=ledger,
        reports=UsageReports(db),
        reconciler=Reconciler(db, operator, base.prices),
        storage=storage,
        providers=providers,
        policies=ModelPolicies(db, audit, providers, providers.own.changed),
        embedder=embedder,
        jobs=jobs,
        documents=Documents(db, audit, jobs),
        retriever=retriever,
        ingestor=Ingestor(db, passages, ledger, audit, jobs, max_bytes=most_bytes),
        connectors=connectors,
        pools=pools,
        upkeep=Upkeep(
            base, tenants, admission, pools, embedder, results, rotation, storage, shelves, jobs
        ),
        files=_kept(stack, FileStore(services, most_bytes)),
        results=results,
        break_glass=BreakGlass(operator, base.doors.breakglass),
        direct=DirectAccess(db, connectors, results, ledger, clock),
        patterns=patterns,
        assistants=Assistants(db, audit, TOOL_NAMES),
        conversations=Conversations(db, audit),
        agent=_agent(base, admission, providers, Toolbox(tools)),
        admission=admission,
        plans=base.plans,
        gateway=Gateway(admission, ledger, audit, clock),
        cursors=Cursors(bytes.fromhex(secrets.cursor_key)),
        mint=base.mint,
    )


def _kept(stack: AsyncExitStack, opened: T) -> T:
    stack.push_async_callback(opened.close)
    return opened


def _authenticator(base: Foundation, tokens: TokenIssuer, pepper: bytes) -> Authenticator:
    door, standing = base.doors.auth, base.standing
    return Authenticator(door, base.mint, tokens, pepper, base.refused, standing)


def _lent(stack: AsyncExitStack, base: Foundation, keys: KeyEncryption) -> ConnectorServices:
    """What connectors work with: rows, secrets, connections, and the way out."""
    settings, db, audit, clock = base.settings, base.db, base.audit, base.clock
    caps = PoolCaps(settings.source_connections, settings.source_connections_per_tenant)
    pools = Pools(caps, audit, clock)
    stack.push_async_callback(pools.close)
    return ConnectorServices(
        db=db,
        audit=audit,
        clock=clock,
        files_dir=settings.files_dir,
        vault=Vault(db, keys, audit, clock),
        pools=pools,
        egress=EgressGuard(audit, _egress_policy(base)),
        reading=reading_places(),
        commands=read_commands(settings.mcp_commands_file),
    )


def _providers(
    stack: AsyncExitStack, base: Foundation, services: ConnectorServices
) -> ModelDirectory:
    """The platform's accounts, and what tenants bring of their own."""
    file = base.settings.providers_file
    registry = _kept(stack, ProviderRegistry.from_file(file, EmbeddedE5(base.clock)))
    clients = OwnClients(services.vault, services.egress)
    own = _kept(stack, OwnModels(base.db, clients, base.clock, base.notices.is_live))
    base.notices.add(own.listener())
    parts = AccountServices(base.db, services.vault, services.egress, base.audit, own.changed)
    return ModelDirectory(registry, own, ProviderAccounts(parts))


def _retriever(base: Foundation, registry: ProviderRegistry) -> Retriever:
    """What finds passages, with the deployment's embedder and reranker."""
    return Retriever(
        base.db, registry.embedder, base.ledger, base.clock, reranker=registry.reranker
    )


def _egress_policy(base: Foundation) -> EgressPolicy:
    """What the operator allows; never ourselves or our database."""
    settings, database = base.settings, conninfo_to_dict(base.store.url)
    own = [(settings.host, settings.port)] if settings.port else []
    if host := str(database.get("host", "")):
        own.append((host, int(database.get("port") or 5432)))
    return EgressPolicy.parse(settings.egress_allow, own)


def _agent(
    base: Foundation, admission: Admission, providers: ModelDirectory, toolbox: Toolbox
) -> AgentLoop:
    boundary = ModelBoundary(admission, base.audit, base.ledger, base.clock)
    limits = AgentLimits(max_steps=base.settings.max_steps)
    return AgentLoop(
        AgentParts(
            base.db, base.ledger, boundary, providers.resolve, toolbox.bind, base.clock, limits
        )
    )
