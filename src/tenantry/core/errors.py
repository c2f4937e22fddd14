"""Every error a client can meet, in one tree.

    TenantryError
    ├── InvalidRequest ── TooLarge, TooSlow, UnsupportedMedia, DocumentUnreadable, KeyReused;
    │     AccountRefused
    ├── Unauthenticated
    ├── Forbidden ── BoundaryCrossed ── OwnershipViolated; EgressRefused, ModelNotAllowed
    ├── NotFound
    ├── Conflict ── AlreadyMade, AccountRemoved
    ├── ContextMissing, ContextInvalid
    ├── QueryRefused, QueryTimeout, QueryFailed ── SourceUnreachable
    ├── PoolExhausted, QueueFull, FairTurnDeadline
    ├── SecretUnreadable, VaultUnavailable
    ├── ProviderError ── ProviderUnavailable ── BreakerOpen, AccountLimited;
    │     ProviderTimeout; ProviderRejected ── CredentialRefused; ProviderMalformed
    ├── BudgetExhausted
    ├── StoreUnavailable ── StoreBusy, LeaseLost
    └── StartupRefused

The class docstring is the default message. `code` is stable: clients may switch on it.
`tenantry.api.errors` alone maps these to HTTP (RFC 9457); no message ever carries a secret, a
foreign id, SQL of ours, or a path.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar


class TenantryError(Exception):
    """Something went wrong inside Tenantry."""

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None, *, retry_after_s: float | None = None) -> None:
        """With `retry_after_s`: seconds after which it may go better, where that is known."""
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])
        self.retry_after_s = retry_after_s

    @property
    def message(self) -> str:
        """What to tell the caller: one or two plain sentences."""
        return str(self.args[0])


class InvalidRequest(TenantryError):
    """The request is not valid."""

    code = "invalid_request"
    http_status = 400


class TooLarge(InvalidRequest):
    """What was sent is larger than the limit."""

    code = "too_large"
    http_status = 413


class TooSlow(InvalidRequest):
    """The request did not arrive in time."""

    code = "too_slow"
    http_status = 408


class KeyReused(InvalidRequest):
    """Something else was asked under this idempotency key."""

    code = "idempotency_key_reused"
    http_status = 422


class UnsupportedMedia(InvalidRequest):
    """This kind of file is not supported."""

    code = "unsupported_media"
    http_status = 415


class DocumentUnreadable(InvalidRequest):
    """The document could not be read."""

    code = "document_unreadable"
    http_status = 422


class AccountRefused(InvalidRequest):
    """The account at the model provider cannot be used like this."""

    code = "account_refused"
    http_status = 422


class Unauthenticated(TenantryError):
    """The credential is missing, unknown, expired or revoked."""

    code = "unauthenticated"
    http_status = 401


class Forbidden(TenantryError):
    """This credential may not do that."""

    code = "forbidden"
    http_status = 403


class BoundaryCrossed(Forbidden):
    """The request reached outside its tenant. It was refused and recorded."""

    code = "boundary_crossed"


class OwnershipViolated(BoundaryCrossed):
    """A pooled connection was not this tenant's own. It was closed and recorded."""

    code = "ownership_violated"


class EgressRefused(Forbidden):
    """This address may not be reached from here."""

    code = "egress_refused"


class ModelNotAllowed(Forbidden):
    """This organisation does not allow that model."""

    code = "model_not_allowed"


class NotFound(TenantryError):
    """There is no such thing here."""

    code = "not_found"
    http_status = 404


class Conflict(TenantryError):
    """The request conflicts with what is stored."""

    code = "conflict"
    http_status = 409


class AlreadyMade(Conflict):
    """This call was made before; it is not made again, and its answer is not kept."""

    code = "already_made"


class AccountRemoved(Conflict):
    """This account at the model provider was removed."""

    code = "account_removed"


class ContextMissing(TenantryError):
    """No tenant context was set; nothing was read."""

    code = "context_missing"


class ContextInvalid(TenantryError):
    """The tenant context is not genuine, has expired, or belongs elsewhere; nothing was read."""

    code = "context_invalid"


class QueryRefused(TenantryError):
    """The query is outside what this connector allows."""

    code = "query_refused"
    http_status = 422


class QueryFailed(TenantryError):
    """The data source could not run the query."""

    code = "query_failed"
    http_status = 422


class SourceUnreachable(QueryFailed):
    """The data source cannot be reached."""

    code = "source_unreachable"


class PoolExhausted(TenantryError):
    """No connection to the data source became free in time."""

    code = "pool_exhausted"
    http_status = 503
    retryable = True


class QueueFull(TenantryError):
    """Too many of your calls wait for their turn already. Send fewer at once."""

    code = "queue_full"
    http_status = 429
    retryable = True


class FairTurnDeadline(TenantryError):
    """The call's fair turn would not have come in time. Try again shortly."""

    code = "fair_turn_deadline"
    http_status = 503
    retryable = True


class SecretUnreadable(TenantryError):
    """A sealed credential could not be opened."""

    code = "secret_unreadable"


class VaultUnavailable(TenantryError):
    """The keeper of the encryption keys cannot be reached just now."""

    code = "vault_unavailable"
    http_status = 503
    retryable = True


class QueryTimeout(TenantryError):
    """The query took longer than allowed and was stopped."""

    code = "query_timeout"
    http_status = 504


class ProviderError(TenantryError):
    """The model provider failed."""

    code = "provider_error"
    http_status = 502


class ProviderUnavailable(ProviderError):
    """The model provider could not be reached."""

    code = "provider_unavailable"
    http_status = 503
    retryable = True


class BreakerOpen(ProviderUnavailable):
    """The model provider keeps failing; it is left alone for a while."""

    code = "breaker_open"


class AccountLimited(ProviderUnavailable):
    """The model provider takes no more calls of this account just now."""

    code = "account_limited"
    http_status = 429


class ProviderTimeout(ProviderError):
    """The model provider did not answer in time."""

    code = "provider_timeout"
    http_status = 504
    retryable = True


class ProviderRejected(ProviderError):
    """The model provider refused the request."""

    code = "provider_rejected"


class CredentialRefused(ProviderRejected):
    """The model provider refuses the account's credential. It must be replaced."""

    code = "credential_refused"


class ProviderMalformed(ProviderError):
    """The model provider sent something that is not a valid answer."""

    code = "provider_malformed"


class StoreUnavailable(TenantryError):
    """The platform's database cannot be reached just now."""

    code = "store_unavailable"
    http_status = 503
    retryable = True


class StoreBusy(StoreUnavailable):
    """Too much is waiting to be written. Try again shortly."""

    code = "store_busy"


class LeaseLost(StoreUnavailable):
    """The lease of the budgets was over before the call could be made. Try again."""

    code = "lease_lost"


class BudgetExhausted(TenantryError):
    """A budget has no room for this call.

    Attributes:
        facts: which budget, for the problem document.
        headers: the standard rate limit headers.
    """

    code = "budget_exhausted"
    http_status = 429

    def __init__(
        self,
        message: str | None = None,
        *,
        retry_after_s: float | None = None,
        facts: Mapping[str, object] = MappingProxyType({}),
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.facts = facts
        self.headers = headers


class StartupRefused(TenantryError):
    """Tenantry will not start like this."""

    code = "startup_refused"
