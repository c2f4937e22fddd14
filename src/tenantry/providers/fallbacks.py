"""When a call may go out a second time, to another account or model.

Threat: a call that is billed twice, or paid by somebody who did not mean to.
Invariant: it may only after a failure by which nothing was used: never sent, or refused by the
provider as such. An own credential that is refused is an error, whatever else there is.
"""

from tenantry.core.errors import CredentialRefused, ProviderUnavailable
from tenantry.providers.base import UpstreamAccount
from tenantry.providers.calls import BrokenOff
from tenantry.providers.wire import Interrupted


def may_follow(error: Exception, account: UpstreamAccount) -> bool:
    """Whether a call that failed like this at `account` may go to the next of its route."""
    if isinstance(error, CredentialRefused):
        return account.owner is None  # the platform's accounts stand in for each other
    if isinstance(error, Interrupted | BrokenOff):
        return False  # the provider may have done the work
    return isinstance(error, ProviderUnavailable)
