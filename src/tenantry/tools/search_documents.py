"""`search_documents`: passages of the tenant's own documents."""

from typing import Annotated

from pydantic import Field

from tenantry.core.events import Json
from tenantry.isolation.context import TenantContext
from tenantry.knowledge.retrieve import Passage, Retriever
from tenantry.tools.base import Citation, ToolResult
from tenantry.tools.references import References

_QUOTE = 300


class SearchDocuments:
    """Searches; the tenant is inside."""

    name = "search_documents"

    def __init__(self, ctx: TenantContext, retriever: Retriever, references: References) -> None:
        self._ctx = ctx
        self._retriever = retriever
        self._references = references

    async def run(
        self,
        query: Annotated[str, Field(min_length=1, max_length=2000, description="What to look for")],
        limit: Annotated[int, Field(ge=1, le=20, description="How many passages at most")] = 5,
    ) -> ToolResult:
        """Search the organisation's documents; gives the passages nearest to the query."""
        found = await self._retriever.search(self._ctx, query, limit)
        shown: list[Json] = []
        citations = []
        for passage in found:
            ref = self._references.of("doc", (passage.document_id, passage.chunk_no))
            shown.append(_shown(ref, passage))
            citations.append(_citation(ref, passage))
        return ToolResult({"passages": shown}, "documents", tuple(citations), len(found))


def _shown(ref: str, passage: Passage) -> Json:
    return {
        "ref": ref,
        "title": passage.title,
        "heading": passage.heading,
        "page": passage.page,
        "text": passage.text,
        "score": round(passage.score, 4),
    }


def _citation(ref: str, passage: Passage) -> Citation:
    return Citation(
        ref=ref,
        kind="document",
        title=passage.title,
        locator=passage.heading or f"page {passage.page}",
        start=passage.start,
        end=passage.end,
        quote=passage.text[:_QUOTE],
        document_id=str(passage.document_id),
    )
