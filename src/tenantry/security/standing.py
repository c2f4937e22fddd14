"""What credentials stood for when they were last looked up; so a request costs no round trip.

Threat: a credential goes on working after it was revoked, or works as it did before a change.
Invariant: what is remembered was read after the last change of its tenant that this process could
have heard of, while it was hearing, and not longer ago than `LONGEST_S`. A change made by this
process itself is dropped before its caller gets an answer; another's arrives as a notice,
milliseconds after its commit. Without notices (`is_live`) nothing is remembered.

Keys are remembered by the digest under which they are stored, never in clear.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tenantry.core.clock import Clock
from tenantry.core.ids import TenantId
from tenantry.db.queries import load
from tenantry.isolation.notices import Listener

_SQL = load("tenantry.security")
LONGEST_S = 10.0
_MOST = 50_000
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Known:
    row: Row
    tenant: TenantId
    until: float


class Standing:
    """Remembers rows of credentials, the least recently used dropped first.

    Attributes:
        clock: by which credentials end.
    """

    def __init__(self, clock: Clock, is_live: Callable[[], bool]) -> None:
        self.clock = clock
        self._is_live = is_live
        self._known: OrderedDict[Hashable, _Known] = OrderedDict()
        self._of_tenant: dict[TenantId, set[Hashable]] = {}
        self._changes = 0

    @property
    def moment(self) -> int:
        """To be taken before a look-up and given to `remember` after it."""
        return self._changes

    def find(self, credential: Hashable) -> Row | None:
        """What is known of a credential, if it may still be believed."""
        known = self._known.get(credential)
        if known is None or not self._is_live():
            return None
        if known.until <= self.clock.monotonic():
            self._drop(credential)
            return None
        self._known.move_to_end(credential)
        return known.row

    def remember(self, credential: Hashable, tenant: TenantId, row: Row, moment: int) -> None:
        """Keep what a look-up gave, unless something changed while it was under way."""
        if moment != self._changes or not self._is_live():
            return
        self._known[credential] = _Known(row, tenant, self.clock.monotonic() + LONGEST_S)
        self._of_tenant.setdefault(tenant, set()).add(credential)
        if len(self._known) > _MOST:
            self._drop(next(iter(self._known)))

    def forget(self, tenant: TenantId) -> None:
        """Drop everything of a tenant: a key, a member or the tenant itself has changed."""
        self._changes += 1
        for credential in self._of_tenant.pop(tenant, ()):
            self._known.pop(credential, None)

    def forget_all(self) -> None:
        """Drop everything: changes may have been missed."""
        self._changes += 1
        self._known.clear()
        self._of_tenant.clear()

    def listener(self) -> Listener:
        """Who hears of changed credentials."""
        return Listener("tenantry_standing", _SQL["listen_standing"], self.heard, self.forget_all)

    def heard(self, payload: str) -> None:
        """Take note of a notice: the tenant whose credentials changed."""
        try:
            self.forget(TenantId(UUID(payload)))
        except ValueError:
            self.forget_all()

    def _drop(self, credential: Hashable) -> None:
        known = self._known.pop(credential)
        of_tenant = self._of_tenant.get(known.tenant)
        if of_tenant is not None:
            of_tenant.discard(credential)
            if not of_tenant:
                del self._of_tenant[known.tenant]
