"""How the rooms above the foundation are put together, group by group.

A new room joins the group that it works with, and `platform.py` hands it on by name.
"""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Protocol, TypeVar

from psycopg.conninfo import conninfo_to_dict

from tenantry.admission import Admission
from tenantry.connectors.base import ConnectorServices
from tenantry.connectors.catalog import ConnectorCatalog
from tenantry.connectors.file_store import FileStore
from tenantry.connectors.guarding import reading_places
from tenantry.connectors.mcp_commands import read_commands
from tenantry.connectors.result_files import ResultFiles
from tenantry.foundation import Foundation
from tenantry.gateway.embedder import EmbedderTrial, RoutedEmbedder
from tenantry.gateway.passthrough import Gateway
from tenantry.isolation.context import TenantContext
from tenantry.isolation.tenants import TenantDirectory
from tenantry.jobs.jobs import Jobs
from tenantry.knowledge.documents import Documents
from tenantry.knowledge.embedders import Embedders
from tenantry.knowledge.ingest import Ingestor
from tenantry.knowledge.reembedding import Reembedding, Services
from tenantry.knowledge.retrieve import Retriever
from tenantry.memory.patterns import Patterns
from tenantry.pools.base import PoolCaps
from tenantry.pools.pools import Pools
from tenantry.providers.base import Embedder, TenantEmbedder
from tenantry.providers.directory import ModelDirectory
from tenantry.providers.embedded_e5 import EmbeddedE5
from tenantry.providers.own.accounts import AccountServices, ProviderAccounts
from tenantry.providers.own.clients import OwnClients
from tenantry.providers.own.models import OwnModels
from tenantry.providers.own.policies import ModelPolicies
from tenantry.providers.registry import ProviderRegistry
from tenantry.security.auth import Authenticator
from tenantry.security.egress.guard import EgressGuard
from tenantry.security.egress.policy import EgressPolicy
from tenantry.security.groups import Groups
from tenantry.security.members import Members
from tenantry.security.operators import Operators
from tenantry.security.tokens import TokenIssuer
from tenantry.security.vault.keepers import key_encryption
from tenantry.security.vault.rotation import Rotation
from tenantry.security.vault.vault import Vault
from tenantry.vectors.shelves import Shelves
from tenantry.vectors.versions import Choice


class _Closable(Protocol):
    async def close(self) -> None: ...


T = TypeVar("T", bound=_Closable)


@dataclass(frozen=True, slots=True)
class People:
    """Who may come in: tenants, their members, operators, and what they sign in with."""

    tokens: TokenIssuer
    authenticator: Authenticator
    operators: Operators
    members: Members
    groups: Groups
    tenants: TenantDirectory

    @classmethod
    def build(cls, base: Foundation) -> "People":
        """On the foundation alone."""
        pepper = bytes.fromhex(base.store.secrets.key_pepper)
        tokens = TokenIssuer(bytes.fromhex(base.store.secrets.token_key), base.clock)
        operator, standing = base.doors.operator, base.standing
        return cls(
            tokens=tokens,
            authenticator=Authenticator(
                base.doors.auth, base.mint, tokens, pepper, base.refused, standing
            ),
            operators=Operators(operator, pepper, base.audit, base.clock),
            members=Members(base.db, pepper, base.audit, standing, base.clock),
            groups=Groups(base.db, base.audit),
            tenants=TenantDirectory(operator),
        )


@dataclass(frozen=True, slots=True)
class Sources:
    """Tenants' own data, where it is: connections, credentials, files, and the way out."""

    services: ConnectorServices
    pools: Pools
    rotation: Rotation
    connectors: ConnectorCatalog
    files: FileStore
    results: ResultFiles

    @classmethod
    def build(cls, stack: AsyncExitStack, base: Foundation) -> "Sources":
        """What must be closed closes with `stack`."""
        settings, db, audit, clock = base.settings, base.db, base.audit, base.clock
        keys = _kept(stack, key_encryption(settings.vault_keys, settings.data_dir, clock=clock))
        caps = PoolCaps(settings.source_connections, settings.source_connections_per_tenant)
        pools = _kept(stack, Pools(caps, audit, clock))
        services = ConnectorServices(
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
        return cls(
            services=services,
            pools=pools,
            rotation=Rotation(db, keys, audit, clock),
            connectors=_kept(stack, ConnectorCatalog(services)),
            files=_kept(stack, FileStore(services, settings.max_upload_bytes)),
            results=ResultFiles(db),
        )


@dataclass(frozen=True, slots=True)
class Models:
    """The platform's models and the tenants' own, and the gate before each call of one."""

    providers: ModelDirectory
    policies: ModelPolicies
    admission: Admission
    gateway: Gateway

    @classmethod
    def build(cls, stack: AsyncExitStack, base: Foundation, sources: Sources) -> "Models":
        """What must be closed closes with `stack`."""
        db, audit, clock = base.db, base.audit, base.clock
        vault, egress = sources.services.vault, sources.services.egress
        registry = _kept(stack, _registry(base))
        own = _kept(stack, OwnModels(db, OwnClients(vault, egress), clock, base.notices.is_live))
        base.notices.add(own.listener())
        accounts = ProviderAccounts(AccountServices(db, vault, egress, audit, own.changed))
        providers = ModelDirectory(registry, own, accounts)
        admission = Admission(registry.terms(), base.budgets, base.ledger, audit, clock)
        return cls(
            providers=providers,
            policies=ModelPolicies(db, audit, providers, own.changed),
            admission=admission,
            gateway=Gateway(admission, base.ledger, audit, clock),
        )

    @property
    def embedder(self) -> Embedder:
        """The deployment's embedder."""
        return self.providers.platform.embedder

    def embedders(self, base: Foundation) -> Embedders:
        """What each tenant is embedded with: the deployment's, the package's, or a model."""
        registry, capacity = self.providers.platform, self.admission.capacity

        async def route(ctx: TenantContext, choice: Choice) -> TenantEmbedder:
            await self.providers.resolve_alone(ctx, choice.embedder)
            return RoutedEmbedder(self.gateway, self.providers.resolve_alone, choice)

        default, embedded = registry.fair_embedder(capacity), registry.embedded_in_turns(capacity)
        return Embedders(base.db, default, route, embedded)


@dataclass(frozen=True, slots=True)
class Content:
    """What tenants put in, how it is found again, and the jobs that carry it there."""

    jobs: Jobs
    documents: Documents
    shelves: Shelves
    embedders: Embedders
    reembedding: Reembedding
    retriever: Retriever
    ingestor: Ingestor
    patterns: Patterns

    @classmethod
    def build(cls, base: Foundation, models: Models) -> "Content":
        """With the deployment's embedder and reranker."""
        db, audit, ledger = base.db, base.audit, base.ledger
        registry, embedder = models.providers.platform, models.embedder
        jobs, most_bytes = Jobs(db, audit), base.settings.max_upload_bytes
        embedders, shelves = models.embedders(base), Shelves(db, audit)
        services = Services(db, jobs, shelves, ledger, audit, base.clock)
        trial = EmbedderTrial(models.gateway, models.providers.resolve_alone)
        return cls(
            jobs=jobs,
            documents=Documents(db, audit, jobs),
            shelves=shelves,
            embedders=embedders,
            reembedding=Reembedding(services, embedders, trial),
            retriever=Retriever(db, embedders, ledger, base.clock, reranker=registry.reranker),
            ingestor=Ingestor(db, embedders, ledger, audit, jobs, max_bytes=most_bytes),
            patterns=Patterns(db, embedder, ledger, audit),
        )


def _kept(stack: AsyncExitStack, opened: T) -> T:
    stack.push_async_callback(opened.close)
    return opened


def _registry(base: Foundation) -> ProviderRegistry:
    return ProviderRegistry.from_file(base.settings.providers_file, EmbeddedE5(base.clock))


def _egress_policy(base: Foundation) -> EgressPolicy:
    """What the operator allows; never ourselves or our database."""
    settings, database = base.settings, conninfo_to_dict(base.store.url)
    own = [(settings.host, settings.port)] if settings.port else []
    if host := str(database.get("host", "")):
        own.append((host, int(database.get("port") or 5432)))
    return EgressPolicy.parse(settings.egress_allow, own)
