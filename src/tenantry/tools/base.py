"""The shape of a bound tool and of what it gives back."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol
from uuid import UUID

from tenantry.core.errors import TenantryError
from tenantry.core.events import Json
from tenantry.providers.base import ToolSpec


@dataclass(frozen=True, slots=True)
class Citation:
    """Where a statement of an answer comes from.

    Attributes:
        ref: the session's reference, such as `doc:1` or `query:1`.
        kind: `document`, `query` or `call`.
        title: document title or connector name.
        locator: page or heading of a passage; of a query, the SQL that ran; of a call, operation
            and arguments.
        start: offset of the passage's first character in the document's text; 0 for a query.
        end: offset after its last character; for a query, the number of rows.
        quote: the passage's first characters, at most 300.
        document_id: the document, as text, for the tenant's own clients; never shown to a model.
    """

    ref: str
    kind: str
    title: str
    locator: str
    start: int
    end: int
    quote: str = ""
    document_id: str = ""


@dataclass(frozen=True, slots=True)
class Attachment:
    """What an answer carries besides its text, for the member; a model sees its `ref` only.

    Attributes:
        ref: the session's reference, such as `chart:1` or `file:1`.
        kind: `chart` (a Vega-Lite specification), `file` (a result to download) or `approval` (a
            call that waits for the member).
        title: of the chart, or name of the file.
        connector: name of the connector it came from.
        sql: the statement that gave its rows.
        rows: how many.
        spec: of a chart: Vega-Lite with its data, nothing to load and nothing to execute.
        result_id: of a file: what to ask the API for.
        approval_id: of an approval: what to approve or refuse.
    """

    ref: str
    kind: Literal["chart", "file", "approval"]
    title: str
    connector: str
    sql: str
    rows: int
    spec: Mapping[str, Json] | None = None
    result_id: str = ""
    approval_id: str = ""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gives back to the agent.

    Attributes:
        content: JSON value shown to the model, as untrusted data.
        origin: what the content derives from, for the prompt manifest.
        citations: sources that an answer built on it may cite.
        rows: rows returned, for metering.
        connector: the connector it reached, for metering.
        attachments: what the member is given beside the answer.
        is_error: True when the tool failed or refused; content then says why.
    """

    content: Json
    origin: str
    citations: tuple[Citation, ...] = ()
    rows: int = 0
    is_error: bool = False
    connector: UUID | None = None
    attachments: tuple[Attachment, ...] = ()


class FailedAt(Exception):
    """A tool failed at a connector; which one is metered, the error is what the model is told."""

    def __init__(self, error: TenantryError, connector: UUID) -> None:
        super().__init__(error.message)
        self.error = error
        self.connector = connector


@contextmanager
def at(connector: UUID) -> Iterator[None]:
    """Work at a connector: an error inside becomes `FailedAt`."""
    try:
        yield
    except TenantryError as error:
        raise FailedAt(error, connector) from error


class BoundTool(Protocol):
    """A capability made for one session by `bind`; the tenant is inside it, not an argument."""

    @property
    def spec(self) -> ToolSpec:
        """Name, description and closed argument schema, generated from the bound signature."""
        ...

    async def run(self, arguments: Mapping[str, Json]) -> ToolResult:
        """Execute with arguments that already passed the schema.

        Raises:
            TenantryError: any refusal or failure; the executor turns it into an error result.
            FailedAt: likewise, at a connector.
        """
        ...
