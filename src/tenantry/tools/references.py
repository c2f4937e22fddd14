"""What a model is given instead of ids: `doc:1`, `query:1`, good within one session only."""

from typing import Literal
from uuid import UUID

Kind = Literal["doc", "query", "verified", "call", "chart", "file", "approval"]


class References:
    """Numbers what a session has seen; the same thing keeps its number.

    Attributes:
        conversation: the one in which they are good; None outside of any.
    """

    def __init__(self, conversation: UUID | None = None) -> None:
        self.conversation = conversation
        self._known: dict[tuple[Kind, object], str] = {}
        self._counts: dict[Kind, int] = {}

    def of(self, kind: Kind, thing: object) -> str:
        """The reference that stands for `thing` (anything hashable) in this session."""
        known = self._known.get((kind, thing))
        if known is None:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            known = self._known[(kind, thing)] = f"{kind}:{self._counts[kind]}"
        return known
