"""What a tenant allows itself: which models, and what stands in for which."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PLATFORMS = "platform:"
"""Before a fallback's name: the platform's account, whatever the tenant has of that name."""


@dataclass(frozen=True, slots=True)
class ModelPolicy:
    """A tenant's policy.

    Attributes:
        allowed: names of models, or `account/*` for all of an account's; None allows every model.
        fallbacks: by a model's name, what is called in turn when it cannot answer just now.
    """

    allowed: frozenset[str] | None = None
    fallbacks: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def allows(self, name: str) -> bool:
        """Whether a model may be used; the built-in answerer, which sends nothing, always may."""
        account, slash, _ = name.partition("/")
        if self.allowed is None or not slash:
            return True
        return name in self.allowed or f"{account}/*" in self.allowed

    @classmethod
    def of_row(cls, row: Mapping[str, Any] | None) -> "ModelPolicy":
        """The policy that a row holds; without one, every model and no fallback."""
        if row is None:
            return cls()
        allowed = None if row["allowed"] is None else frozenset(row["allowed"])
        return cls(allowed, {name: tuple(others) for name, others in row["fallbacks"].items()})
