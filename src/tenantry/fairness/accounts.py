"""What is asked for slots: an account at a provider, or our own processors."""

from dataclasses import dataclass, field
from typing import Protocol

from tenantry.core.ids import TenantId
from tenantry.fairness.concurrency import Bounds


class Account(Protocol):
    """Whose key calls go out with; `providers.base.UpstreamAccount` is one."""

    @property
    def name(self) -> str:
        """The account's name."""
        ...

    @property
    def owner(self) -> TenantId | None:
        """The tenant whose own it is; None for the platform's."""
        ...

    @property
    def version(self) -> int:
        """Of its credential; another one makes a refused credential worth trying again."""
        ...


@dataclass(frozen=True, slots=True)
class Own:
    """Something of this process that is used like an account."""

    name: str
    owner: TenantId | None = None
    version: int = 0


@dataclass(frozen=True, slots=True)
class AccountTerms:
    """What an account bears, and how long calls to it may queue.

    Attributes:
        concurrency: calls at once.
        queue: calls of one tenant that may wait, at most.
        wait_s: how long an interactive call waits for its turn, at most.
    """

    concurrency: Bounds = field(default_factory=Bounds)
    queue: int = 64
    wait_s: float = 30.0
