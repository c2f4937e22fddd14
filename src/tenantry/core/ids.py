"""Distinct types for the ids of the domain, so that no bare string can pass for one.

Ids are UUIDv7 (RFC 9562, section 5.7): time-ordered, so that primary keys stay dense on disk.
They are no secrets; isolation never rests on one being hard to guess.
"""

from typing import NewType
from uuid import UUID

from uuid_utils.compat import uuid7

TenantId = NewType("TenantId", UUID)
MemberId = NewType("MemberId", UUID)
KeyId = NewType("KeyId", UUID)
AssistantId = NewType("AssistantId", UUID)
ConversationId = NewType("ConversationId", UUID)
ConnectorId = NewType("ConnectorId", UUID)
DocumentId = NewType("DocumentId", UUID)
CallId = NewType("CallId", UUID)

PLATFORM = TenantId(UUID(int=0))
"""Owner of what belongs to no tenant: audit entries of operators and of failed sign-ins."""


def new_id() -> UUID:
    """A fresh UUIDv7; wrap it in the type it is meant for."""
    return uuid7()


def parse_id(text: str) -> UUID | None:
    """The UUID written in `text` in canonical form, or None: an id that cannot exist is unknown."""
    try:
        value = UUID(text)
    except ValueError:
        return None
    return value if str(value) == text.lower() else None
