"""A large tenant's own index: a shelf that holds its vectors and nobody else's.

An index over all tenants with a filter on the tenant loses rows: it walks to the neighbours'
vectors first, and the filter leaves few. A shelf's index has nothing to filter away but what the
question itself rules out, and the scan goes on until enough is left
(`db/migrations/0035_vector_shelves.sql`).
"""

from dataclasses import dataclass

from tenantry.db.queries import load
from tenantry.isolation.transaction import Transaction
from tenantry.vectors.base import Near, Question, vector_text

_SQL = load("tenantry.vectors")


@dataclass(frozen=True, slots=True)
class Shelf:
    """A shelf that can be searched.

    Attributes:
        number: which.
        dimension: of its vectors.
        passing: how many of the tenant's passages pass the question's filter.
    """

    number: int
    dimension: int
    passing: int


async def ready_shelf(tx: Transaction, question: Question) -> Shelf | None:
    """The tenant's shelf for this question, if it has one that is ready."""
    row = await tx.row(
        _SQL["ready_shelf"],
        version=question.version,
        dimension=len(question.vector),
        **question.where.parameters(),
    )
    return None if row is None else Shelf(row["shelf"], row["dimension"], row["passing"])


async def nearest_on_shelf(tx: Transaction, shelf: Shelf, question: Question) -> list[Near]:
    """The nearest passages by the shelf's index; fewer than asked when the scan gave up.

    Complexity: O(log passages), times what the filter throws away.
    """
    rows = await tx.rows(
        _SQL["nearest_on_shelf"],
        shelf=shelf.number,
        dimension=shelf.dimension,
        embedding=vector_text(question.vector),
        version=question.version,
        most=question.most,
        **question.where.parameters(),
    )
    return [Near(row["distance"], row["document_id"], row["chunk_no"]) for row in rows]
