"""Pagination cursors sealed to their tenant and list (api-04): a forged or foreign one is refused.

A cursor is base64url(id bytes | HMAC-SHA256 over tenant, list and id, cut to 16 bytes).
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


class Cursors:
    """Writes and reads cursors; holds their key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def write(self, owner: UUID, collection: str, last: UUID) -> str:
        """The cursor that continues after `last` in a list of `owner`."""
        raw = last.bytes + self._tag(owner, collection, last)
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    def read(self, owner: UUID, collection: str, cursor: str | None) -> UUID:
        """The id to continue after; the start of the list without a cursor.

        Raises:
            InvalidRequest: the cursor was not made here for this owner and list.
        """
        if cursor is None:
            return START
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidRequest("The cursor is not valid.") from error
        if len(raw) != 16 + _TAG:
            raise InvalidRequest("The cursor is not valid.")
        last = UUID(bytes=raw[:16])
        if not hmac.compare_digest(raw[16:], self._tag(owner, collection, last)):
            raise InvalidRequest("The cursor is not valid.")
        return last

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

    def _tag(self, owner: UUID, collection: str, last: UUID) -> bytes:
        message = owner.bytes + last.bytes + collection.encode()
        return hmac.new(self._key, message, hashlib.sha256).digest()[:_TAG]
