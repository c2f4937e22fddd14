"""What becomes of a call whose client goes away: it is heard out for a moment, then cancelled.

A provider charges for what it has produced, and tells how much at the end. So a call that is nearly
done is cheaper to hear out than to guess at; one that is not is cancelled, so that nobody pays for
an answer that nobody reads.

Threat: clients that come, ask and go keep the provider working for a tenant, or for the platform.
Invariant: a call outlives its client by `_HEARD_OUT_S` at most, and few calls of a tenant do at
once; one that was not sent yet is cancelled at once.
"""

from collections import Counter

from tenantry.core.ids import TenantId

_HEARD_OUT_S = 2.0
_MOST_OF_A_TENANT = 8


class Departures:
    """The calls that go on without their clients, counted by tenant."""

    def __init__(self) -> None:
        self._going_on: Counter[TenantId] = Counter()

    def of(self, tenant: TenantId) -> "Departure":
        """For one call."""
        return Departure(self._going_on, tenant)


class Departure:
    """For one call: whether its client left, and how long it may go on.

    Attributes:
        is_sent: whether the call has left for the provider.
    """

    def __init__(self, going_on: "Counter[TenantId]", tenant: TenantId) -> None:
        self.is_sent = False
        self._going_on = going_on
        self._tenant = tenant
        self._counts = False

    def begin(self) -> float:
        """The client has left: seconds that the call may go on."""
        if not self.is_sent or self._going_on[self._tenant] >= _MOST_OF_A_TENANT:
            return 0.0
        self._going_on[self._tenant] += 1
        self._counts = True
        return _HEARD_OUT_S

    def end(self) -> None:
        """The call has ended."""
        if self._counts:
            self._counts = False
            self._going_on[self._tenant] -= 1
            if not self._going_on[self._tenant]:
                del self._going_on[self._tenant]
