"""What databases were found to hold, remembered for minutes, per tenant and connector.

Threat: a cache that answers one tenant with another's schema.
Invariant: the key is the tenant, the connector and the version of its credential, all three from
the context and the stored configuration, never from a request.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from tenantry.connectors.base import ConnectorConfig
from tenantry.core.clock import Clock
from tenantry.core.ids import ConnectorId, TenantId
from tenantry.isolation.context import TenantContext

T = TypeVar("T")
_KEPT_S = 300.0
_MOST_SCHEMAS = 256


@dataclass(frozen=True, slots=True)
class _Key:
    tenant: TenantId
    connector: ConnectorId
    credential_version: int


class SchemaMemory(Generic[T]):
    """The latest schemas, the least recently used forgotten first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: OrderedDict[_Key, tuple[float, T]] = OrderedDict()

    async def tables(
        self,
        ctx: TenantContext,
        config: ConnectorConfig,
        look: Callable[[], Awaitable[T]],
        *,
        refresh: bool = False,
    ) -> T:
        """The tables of a connector: as remembered, or as `look` finds them.

        Raises:
            QueryFailed: or whatever else `look` raises; nothing is remembered then.
        """
        key = _Key(ctx.tenant, config.connector, config.credential_version)
        known = self._known.get(key)
        if known is not None and not refresh and self._clock.monotonic() - known[0] < _KEPT_S:
            self._known.move_to_end(key)
            return known[1]
        found = await look()
        self._known[key] = (self._clock.monotonic(), found)
        self._known.move_to_end(key)
        while len(self._known) > _MOST_SCHEMAS:
            self._known.popitem(last=False)
        return found

    def forget(self, ctx: TenantContext, connector: ConnectorId) -> None:
        """Forget a connector of the tenant, whichever its credential."""
        for key in [k for k in self._known if (k.tenant, k.connector) == (ctx.tenant, connector)]:
            del self._known[key]
