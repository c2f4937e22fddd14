"""The default: all tenants' passages in one table, each search an exact pass over the tenant's own.

Nothing is approximate, so nothing is missed: recall is 1. Cost grows with the tenant's own passages
and with nothing else.
"""

from tenantry.db.queries import load
from tenantry.isolation.transaction import Transaction
from tenantry.vectors.base import Near, Question, vector_text

_SQL = load("tenantry.vectors")


async def nearest_exact(tx: Transaction, question: Question) -> list[Near]:
    """The nearest passages, each compared. Complexity: O(passages of the tenant x dimension)."""
    rows = await tx.rows(
        _SQL["nearest_exact"],
        embedding=vector_text(question.vector),
        version=question.version,
        most=question.most,
        **question.where.parameters(),
    )
    return [Near(row["distance"], row["document_id"], row["chunk_no"]) for row in rows]
