"""What a statement reaches for that cannot be read as SQL: a refusal of it must be recorded too.

Threat: a statement that only the server could read names a table or a function outside the scope;
answered as a slip of the pen, the attempt would leave no trace.
Nothing is let through by what is found here: the statement is refused either way.
"""

import re
from collections.abc import Collection
from dataclasses import replace

from tenantry.connectors.sql_refusals import Refused, short
from tenantry.connectors.sql_relations import Relation
from tenantry.connectors.sql_vocabulary import Vocabulary

# Each begins at a word's edge and gives nothing back, so that no text takes longer than its length.
_TEXT = re.compile(r"'(?:[^']|'')*+'")
_FROM_OF_A_FUNCTION = re.compile(
    r"\b(?:extract|overlay|substring|trim)\s*+\([^()]*+\)|\bdistinct\s++from\b", re.IGNORECASE
)
_DEFINED = re.compile(r"(?:\b(?:with|recursive|as)|,)\s++(\w++)\s*+(?:\(|as\b)", re.IGNORECASE)
_CALL = re.compile(r"\b(\w++)\s*+\(")
_TABLE = re.compile(r"\b(?:from|join)\s++((?:[\w.&]|\"[^\"]*+\"|`[^`]*+`)++|'')(?!\s*+\()", re.I)
_QUOTES = re.compile(r"[\"`]")


def judged(
    refused: Refused, text: str, vocabulary: Vocabulary, relations: Collection[Relation]
) -> Refused:
    """The refusal of an unreadable statement, with what it reached for; unchanged if for nothing.

    Args:
        refused: what is to be answered.
        text: the statement.
        vocabulary: of its dialect.
        relations: the tables that it might have named.
    """
    bare = _FROM_OF_A_FUNCTION.sub(" ", _TEXT.sub("''", text))
    defined = {name.lower() for name in _DEFINED.findall(bare)}
    for name in _CALL.findall(bare):
        known = name.lower() in vocabulary.callable or name.lower() in defined or name.isdigit()
        if not known:
            return replace(refused, reason="function", subject=short(name))
    tables = {part.lower() for relation in relations for part in (relation[-1], ".".join(relation))}
    for name in _TABLE.findall(bare):
        plain = _QUOTES.sub("", name).lower()
        if plain not in tables | defined | vocabulary.words:
            return replace(refused, reason="relation", subject=short(name))
    return refused
