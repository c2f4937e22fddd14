"""What is known of a tenant's own account: everything but its key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from tenantry.core.errors import InvalidRequest, NotFound
from tenantry.core.events import Json
from tenantry.core.ids import TenantId
from tenantry.core.secret import Secret
from tenantry.providers.base import UpstreamAccount
from tenantry.providers.providers_file import AccountEntry, faults_of
from tenantry.security.vault.envelope import SecretOwner

_OPENAI_URL = "https://api.openai.com/v1"
_KINDS = ("openai_compatible", "anthropic", "google")
_STORED = ("name", "upstream", "kind", "max_output_tokens")


@dataclass(frozen=True, slots=True)
class Description:
    """How an account is reached, and what it offers.

    Attributes:
        kind: `openai_compatible`, `anthropic` or `google`.
        models: each with `name`, and `upstream`, `kind`, `max_output_tokens` where they differ
            from what `providers_file.ModelEntry` says.
        base_url: the provider's own unless given.
        max_tokens_field: what an OpenAI-compatible server calls the output bound.
    """

    kind: str
    models: Sequence[Mapping[str, Json]]
    base_url: str = ""
    max_tokens_field: str = "max_completion_tokens"

    def entry(self, name: str) -> AccountEntry:
        """The account of this name, checked.

        Raises:
            InvalidRequest: something of it is not as it must be.
        """
        if self.kind not in _KINDS:
            raise InvalidRequest(f"kind: one of {', '.join(_KINDS)} is needed.")
        base_url = self.base_url or (_OPENAI_URL if self.kind == "openai_compatible" else "")
        given = {
            "name": name,
            "kind": self.kind,
            "base_url": base_url,
            "max_tokens_field": self.max_tokens_field,
            "models": [dict(model) for model in self.models],
        }
        try:
            return AccountEntry.model_validate(given)
        except ValidationError as error:
            raise InvalidRequest(f"The account is not valid: {faults_of(error)}") from None


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account to add; its key is in the clear until it is sealed."""

    name: str
    description: Description
    key: Secret = field(repr=False)


@dataclass(frozen=True, slots=True)
class AccountChange:
    """What to change of an account; what is None stays."""

    base_url: str | None = None
    max_tokens_field: str | None = None
    models: Sequence[Mapping[str, Json]] | None = None
    key: Secret | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class OwnAccount:
    """An account as it is stored.

    Attributes:
        id: of the account.
        entry: how it is reached and what it offers.
        credential_version: of its key in the vault.
        created_at: when it was added.
        removed_at: when it was removed; its name is held until it is released.
    """

    id: UUID
    entry: AccountEntry
    credential_version: int
    created_at: datetime
    removed_at: datetime | None

    @property
    def secret_owner(self) -> SecretOwner:
        """What its key in the vault belongs to."""
        return SecretOwner("provider_account", self.id)

    def identity(self, tenant: TenantId) -> UpstreamAccount:
        """Whose key calls go out with."""
        # An account that was removed and added anew counts its keys from 1 again; what was
        # remembered of the earlier one's (a breaker that is open) must not meet the new.
        version = int(self.created_at.timestamp() * 1000) + self.credential_version
        return UpstreamAccount(self.entry.name, tenant, version)

    @classmethod
    def of_row(cls, row: Mapping[str, Any] | None) -> "OwnAccount":
        """The account that a row holds.

        Raises:
            NotFound: there is no row.
        """
        if row is None:
            raise NotFound
        described = Description(
            row["kind"], row["models"], row["base_url"], row["max_tokens_field"]
        )
        return cls(
            row["account_id"],
            described.entry(row["name"]),
            row["credential_version"],
            row["created_at"],
            row["removed_at"],
        )


def stored_models(entry: AccountEntry) -> list[dict[str, Any]]:
    """An account's models as they are stored and shown."""
    return [model.model_dump(include=set(_STORED)) for model in entry.models]
