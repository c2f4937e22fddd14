"""The composition root: settings in, a running platform out. Imported by the edges only.

Every room is built once, here, and taken down in reverse order.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from psycopg.conninfo import make_conninfo

from tenantry.admission import Admission
from tenantry.agent.boundary import ModelBoundary
from tenantry.agent.loop import AgentLoop
from tenantry.agent.parts import AgentLimits, AgentParts
from tenantry.assembly import Content, Models, People, Sources
from tenantry.connectors.catalog import ConnectorCatalog
from tenantry.connectors.file_store import FileStore
from tenantry.connectors.result_files import ResultFiles
from tenantry.core.clock import Clock, SystemClock
from tenantry.core.errors import StartupRefused
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
from tenantry.knowledge.embedders import Embedders
from tenantry.knowledge.ingest import Ingestor
from tenantry.knowledge.reembedding import Reembedding
from tenantry.knowledge.retrieve import Retriever
from tenantry.limits.plans import BudgetPlans
from tenantry.memory.patterns import Patterns
from tenantry.metering.ledger import Ledger
from tenantry.metering.price_list import install_default_prices
from tenantry.metering.reconcile import Reconciler
from tenantry.metering.reports import UsageReports
from tenantry.metering.storage import StorageMeter
from tenantry.pools.pools import Pools
from tenantry.providers.base import Embedder
from tenantry.providers.directory import ModelDirectory
from tenantry.providers.fair_embedder import FairEmbedder
from tenantry.providers.own.policies import ModelPolicies
from tenantry.providers.registry import KEYLESS
from tenantry.security.audit import AuditLog
from tenantry.security.auth import Authenticator
from tenantry.security.cursors import START, Cursors
from tenantry.security.groups import Groups
from tenantry.security.members import Members
from tenantry.security.operators import Operators
from tenantry.security.standing import Standing
from tenantry.security.tokens import TokenIssuer
from tenantry.sessions.assistants import Assistants, Draft
from tenantry.sessions.conversations import Conversations
from tenantry.tools.direct import DirectAccess
from tenantry.tools.toolbox import TOOL_NAMES, Toolbox, ToolServices
from tenantry.upkeep import Upkeep

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
    groups: Groups
    tenants: TenantDirectory
    ledger: Ledger
    reports: UsageReports
    reconciler: Reconciler
    storage: StorageMeter
    providers: ModelDirectory
    policies: ModelPolicies
    embedder: Embedder
    embedders: Embedders
    reembedding: Reembedding
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
    db, audit, ledger, clock = base.db, base.audit, base.ledger, base.clock
    people, sources = People.build(base), Sources.build(stack, base)
    models = Models.build(stack, base, sources)
    content, storage = Content.build(base, models), StorageMeter(db, base.prices, clock)
    return Platform(
        settings=base.settings,
        store=base.store,
        clock=clock,
        db=db,
        operator_db=base.doors.operator,
        audit=audit,
        authenticator=people.authenticator,
        standing=base.standing,
        tokens=people.tokens,
        operators=people.operators,
        members=people.members,
        groups=people.groups,
        tenants=people.tenants,
        ledger=ledger,
        reports=UsageReports(db),
        reconciler=Reconciler(db, base.doors.operator, base.prices),
        storage=storage,
        providers=models.providers,
        policies=models.policies,
        embedder=models.embedder,
        embedders=content.embedders,
        reembedding=content.reembedding,
        jobs=content.jobs,
        documents=content.documents,
        retriever=content.retriever,
        ingestor=content.ingestor,
        connectors=sources.connectors,
        pools=sources.pools,
        upkeep=Upkeep(base, people, sources, models, content, storage),
        files=sources.files,
        results=sources.results,
        break_glass=BreakGlass(base.doors.operator, base.doors.breakglass),
        direct=DirectAccess(db, sources.connectors, sources.results, ledger, clock),
        patterns=content.patterns,
        assistants=Assistants(db, audit, TOOL_NAMES),
        conversations=Conversations(db, audit),
        agent=_agent(base, sources, models, content),
        admission=models.admission,
        plans=base.plans,
        gateway=models.gateway,
        cursors=Cursors(bytes.fromhex(base.store.secrets.cursor_key)),
        mint=base.mint,
    )


def _agent(base: Foundation, sources: Sources, models: Models, content: Content) -> AgentLoop:
    db, audit, ledger, clock = base.db, base.audit, base.ledger, base.clock
    toolbox = Toolbox(
        ToolServices(
            sources.connectors, sources.results, content.retriever, content.patterns, audit, clock
        )
    )
    boundary = ModelBoundary(models.admission, audit, ledger, clock)
    limits = AgentLimits(max_steps=base.settings.max_steps)
    return AgentLoop(
        AgentParts(db, ledger, boundary, models.providers.resolve, toolbox.bind, clock, limits)
    )
