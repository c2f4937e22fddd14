"""Pagination cursors sealed to their tenant and list (api-04): a forged or foreign one is refused.

A cursor is base64url(HMAC-SHA256 over tenant, list and position, cut to 16 bytes | position).
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from tenantry.core.errors import InvalidRequest

START = UUID(int=0)
_TAG = 16


class CursorRefused(InvalidRequest):
    """The cursor is not valid."""


class Cursors:
    """Writes and reads cursors; holds their key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def write(self, owner: UUID, collection: str, position: object) -> str:
        """The cursor that continues after `position` (written as text) in a list of `owner`."""
        text = str(position).encode()
        return base64.urlsafe_b64encode(self._tag(owner, collection, text) + text).decode()

    def read(self, owner: UUID, collection: str, cursor: str) -> str:
        """The position that `write` was given.

        Raises:
            CursorRefused: the cursor was not made here for this owner and list.
        """
        try:
            raw = base64.b64decode(cursor.encode(), b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise CursorRefused from error
        tag, text = raw[:_TAG], raw[_TAG:]
        if not hmac.compare_digest(tag, self._tag(owner, collection, text)):
            raise CursorRefused
        return text.decode()

    def read_id(self, owner: UUID, collection: str, cursor: str | None) -> UUID:
        """The id to continue after; the start of the list without a cursor.

        Raises:
            CursorRefused: the cursor was not made here for this owner and list.
        """
        return START if cursor is None else UUID(self.read(owner, collection, cursor))

    def page(
        self,
        owner: UUID,
        collection: str,
        rows: Sequence[Mapping[str, Any]],
        limit: int,
        key: Callable[[Mapping[str, Any]], UUID],
    ) -> dict[str, Any]:
        """A page of a list, from `limit + 1` rows asked for: `{data, has_more, next_cursor}`."""
        shown = rows[:limit]
        more = len(rows) > limit
        cursor = self.write(owner, collection, key(shown[-1])) if more else None
        return {"data": list(shown), "has_more": more, "next_cursor": cursor}

    def _tag(self, owner: UUID, collection: str, text: bytes) -> bytes:
        name = collection.encode()
        message = owner.bytes + len(name).to_bytes(2) + name + text
        return hmac.new(self._key, message, hashlib.sha256).digest()[:_TAG]
