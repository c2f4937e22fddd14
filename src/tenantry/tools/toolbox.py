"""Every tool of the platform, and how a session gets those its assistant may use."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tenantry.connectors.catalog import ConnectorCatalog
from tenantry.core.clock import Clock
from tenantry.core.events import AuditSink
from tenantry.isolation.context import TenantContext
from tenantry.knowledge.retrieve import Retriever
from tenantry.memory.patterns import Patterns
from tenantry.tools.binding import Bound, Capability
from tenantry.tools.data import DescribeData, ListData, QueryData
from tenantry.tools.executor import Ceilings, ToolExecutor
from tenantry.tools.recall import RecallVerifiedQuery
from tenantry.tools.references import References
from tenantry.tools.search_documents import SearchDocuments


@dataclass(frozen=True, slots=True)
class ToolServices:
    """What tools work with; each call of `Toolbox.bind` closes over it with one context."""

    catalog: ConnectorCatalog
    retriever: Retriever
    patterns: Patterns
    audit: AuditSink
    clock: Clock


_Make = Callable[[TenantContext, ToolServices, References], Capability]
_TOOLS: Mapping[str, _Make] = MappingProxyType(
    {
        "search_documents": lambda ctx, s, refs: SearchDocuments(ctx, s.retriever, refs),
        "list_data": lambda ctx, s, _refs: ListData(ctx, s.catalog),
        "describe_data": lambda ctx, s, _refs: DescribeData(ctx, s.catalog),
        "query_data": lambda ctx, s, refs: QueryData(ctx, s.catalog, refs),
        "recall_verified_query": lambda ctx, s, refs: RecallVerifiedQuery(
            ctx, s.patterns, s.catalog, refs
        ),
    }
)
TOOL_NAMES = tuple(_TOOLS)
"""Every tool that an assistant can be given."""


class Toolbox:
    """Binds tools to sessions."""

    def __init__(self, services: ToolServices, ceilings: Ceilings | None = None) -> None:
        self._services = services
        self._ceilings = ceilings

    def bind(self, ctx: TenantContext, names: Sequence[str]) -> ToolExecutor:
        """The tools of these names for one session; a name that is no tool gives none."""
        references = References()
        chosen = [
            Bound(make(ctx, self._services, references))
            for name, make in _TOOLS.items()
            if name in names
        ]
        services = self._services
        return ToolExecutor(ctx, chosen, services.audit, services.clock, self._ceilings)
