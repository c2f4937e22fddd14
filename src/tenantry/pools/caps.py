"""Places under the caps: one for each connection, from before it is dialled until it is closed."""

from collections import Counter

from tenantry.core.ids import TenantId


class Places:
    """Counts connections, in all and by tenant; what is counted can never pass the caps.

    A connection that is idle for everyone with its login counts in all, but for no tenant.
    """

    def __init__(self, total: int, per_tenant: int) -> None:
        self._total = total
        self._per_tenant = per_tenant
        self._taken = 0
        self._by_tenant: Counter[TenantId] = Counter()

    @property
    def taken(self) -> int:
        """Places taken in all."""
        return self._taken

    @property
    def is_full(self) -> bool:
        """Whether the total cap is reached."""
        return self._taken >= self._total

    def left_for(self, tenant: TenantId) -> int:
        """Places up to the tenant's own cap."""
        return self._per_tenant - self._by_tenant[tenant]

    def is_full_for(self, tenant: TenantId) -> bool:
        """Whether the tenant's own cap is reached."""
        return self.left_for(tenant) <= 0

    def take(self, tenant: TenantId) -> None:
        """Take a place for a connection of the tenant.

        Raises:
            OverflowError: a cap is reached.
        """
        if self.is_full or self.is_full_for(tenant):
            raise OverflowError("no place under the caps")
        self._taken += 1
        self._by_tenant[tenant] += 1

    def free(self, tenant: TenantId | None) -> None:
        """Give up the place of a connection that is closed; whoever it counted for."""
        self._taken -= 1
        if tenant is not None:
            self._uncount(tenant)

    def count_for(self, tenant: TenantId) -> None:
        """A connection idle for everyone with its login is the tenant's from now on.

        Raises:
            OverflowError: the tenant's cap is reached.
        """
        if self.is_full_for(tenant):
            raise OverflowError("no place under the tenant's cap")
        self._by_tenant[tenant] += 1

    def count_for_nobody(self, tenant: TenantId) -> None:
        """The tenant's connection is idle for everyone with its login from now on."""
        self._uncount(tenant)

    def _uncount(self, tenant: TenantId) -> None:
        self._by_tenant[tenant] -= 1
        if not self._by_tenant[tenant]:
            del self._by_tenant[tenant]
