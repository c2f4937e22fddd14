"""The demo tenants' verified queries: questions with the SQL that is known to answer them."""

import re
from dataclasses import dataclass
from importlib import resources

_QUESTION = re.compile(r"^-- question: (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class VerifiedQuery:
    """A question of the tenant's, and the DuckDB SQL over its uploaded tables that answers it."""

    question: str
    sql: str


def verified_queries(tenant: str) -> tuple[VerifiedQuery, ...]:
    """The verified queries of a demo tenant, in the order of its file."""
    folder = resources.files(__package__).joinpath("verified_queries")
    _, *parts = _QUESTION.split(folder.joinpath(f"{tenant}.sql").read_text("utf-8"))
    return tuple(
        VerifiedQuery(question.strip(), sql.strip().removesuffix(";"))
        for question, sql in zip(parts[::2], parts[1::2], strict=True)
    )
