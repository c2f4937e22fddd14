"""References in an answer: which sources it really names."""

import re
from collections.abc import Mapping

from tenantry.tools.base import Citation

_REFERENCE = r"(?:doc|query|verified|call):[1-9][0-9]{0,5}"
_BRACKET = re.compile(rf"[ \t]?\[(?:{_REFERENCE})(?:\s*[,;]\s*(?:{_REFERENCE}))*\]", re.ASCII)
_EACH = re.compile(_REFERENCE, re.ASCII)


def cited(answer: str, known: Mapping[str, Citation]) -> tuple[Citation, ...]:
    """The citations that `answer` names in brackets, in the order of their first mention.

    A reference that no tool of this turn gave is no source: it is left out.
    """
    named = (ref for bracket in _BRACKET.findall(answer) for ref in _EACH.findall(bracket))
    return tuple(known[ref] for ref in dict.fromkeys(named) if ref in known)


def without_references(answer: str) -> str:
    """An answer of an earlier turn without its references: they mean other sources now."""
    return _BRACKET.sub("", answer)
