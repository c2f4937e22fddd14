"""Every tool of the platform, and how a session gets those its assistant may use."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from tenantry.connectors.catalog import ConnectorCatalog
from tenantry.connectors.result_files import ResultFiles
from tenantry.core.clock import Clock
from tenantry.core.events import AuditSink
from tenantry.isolation.context import TenantContext
from tenantry.knowledge.retrieve import Retriever
from tenantry.memory.patterns import Patterns
from tenantry.tools.binding import Bound, Capability, Run, Shape
from tenantry.tools.call_api import CallApi, DescribeApi
from tenantry.tools.data import DescribeData, ListData, QueryData
from tenantry.tools.executor import Ceilings, ToolExecutor
from tenantry.tools.make_chart import MakeChart
from tenantry.tools.recall import RecallVerifiedQuery
from tenantry.tools.references import References
from tenantry.tools.search_documents import SearchDocuments


@dataclass(frozen=True, slots=True)
class ToolServices:
    """What tools work with; each call of `Toolbox.bind` closes over it with one context."""

    catalog: ConnectorCatalog
    results: ResultFiles
    retriever: Retriever
    patterns: Patterns
    audit: AuditSink
    clock: Clock


@dataclass(frozen=True, slots=True)
class _Tool:
    """A tool before it is bound: its name, the parameters of its work, and how to bind it."""

    name: str
    run: Run
    make: Callable[[TenantContext, ToolServices, References], Capability]


_TOOLS = (
    _Tool(
        SearchDocuments.name,
        SearchDocuments.run,
        lambda ctx, s, refs: SearchDocuments(ctx, s.retriever, refs),
    ),
    _Tool(ListData.name, ListData.run, lambda ctx, s, _refs: ListData(ctx, s.catalog)),
    _Tool(DescribeData.name, DescribeData.run, lambda ctx, s, _refs: DescribeData(ctx, s.catalog)),
    _Tool(
        QueryData.name,
        QueryData.run,
        lambda ctx, s, refs: QueryData(ctx, s.catalog, s.results, refs),
    ),
    _Tool(DescribeApi.name, DescribeApi.run, lambda ctx, s, _refs: DescribeApi(ctx, s.catalog)),
    _Tool(CallApi.name, CallApi.run, lambda ctx, s, refs: CallApi(ctx, s.catalog, refs)),
    _Tool(MakeChart.name, MakeChart.run, lambda ctx, s, refs: MakeChart(ctx, s.catalog, refs)),
    _Tool(
        RecallVerifiedQuery.name,
        RecallVerifiedQuery.run,
        lambda ctx, s, refs: RecallVerifiedQuery(ctx, s.patterns, s.catalog, refs),
    ),
)
TOOL_NAMES = tuple(tool.name for tool in _TOOLS)
"""Every tool that an assistant can be given."""


class Toolbox:
    """Binds tools to sessions."""

    def __init__(self, services: ToolServices, ceilings: Ceilings | None = None) -> None:
        self._services = services
        self._ceilings = ceilings
        self._tools = [(tool, Shape(tool.name, tool.run)) for tool in _TOOLS]

    def bind(
        self, ctx: TenantContext, names: Sequence[str], conversation: UUID | None = None
    ) -> ToolExecutor:
        """The tools of these names for one session; a name that is no tool gives none."""
        services, references = self._services, References(conversation)
        chosen = [
            Bound(tool.make(ctx, services, references), shape)
            for tool, shape in self._tools
            if tool.name in names
        ]
        return ToolExecutor(ctx, chosen, services.audit, services.clock, self._ceilings)
