"""Short-lived member tokens: what the SaaS company's own backend mints for its signed-in user.

A token is a JWT (RFC 7519) signed with HMAC-SHA256, for one member of one tenant, at most an hour.
The member's standing is looked up at each use, so disabling a member ends its tokens at once.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import jwt

from tenantry.core.clock import Clock
from tenantry.core.errors import InvalidRequest, Unauthenticated
from tenantry.core.ids import MemberId, TenantId, new_id, parse_id

_ALGORITHM = "HS256"  # pinned: the header of a presented token is never trusted to choose
_AUDIENCE = "tenantry"
_LONGEST_S = 3600


@dataclass(frozen=True, slots=True)
class MemberToken:
    """What a genuine, unexpired token says."""

    tenant: TenantId
    member: MemberId
    scopes: frozenset[str]
    expires_at: datetime
    minted_by: UUID


class TokenIssuer:
    """Mints and reads member tokens; holds the signing key."""

    def __init__(self, key: bytes, clock: Clock) -> None:
        self._key = key
        self._clock = clock

    def mint(
        self,
        tenant: TenantId,
        member: MemberId,
        scopes: frozenset[str],
        lifetime_s: int,
        minted_by: UUID,
    ) -> tuple[str, datetime]:
        """A token and when it ends.

        Raises:
            InvalidRequest: the lifetime is not within 1 second and 1 hour.
        """
        if not 1 <= lifetime_s <= _LONGEST_S:
            raise InvalidRequest(f"A token lives 1 to {_LONGEST_S} seconds.")
        now = self._clock.now()
        expires_at = now + timedelta(seconds=lifetime_s)
        claims = {
            "aud": _AUDIENCE,
            "tid": str(tenant),
            "sub": str(member),
            "scope": " ".join(sorted(scopes)),
            "iat": int(now.timestamp()),
            "exp": int(expires_at.timestamp()),
            "jti": str(new_id()),
            "act": str(minted_by),
        }
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM), expires_at

    def read(self, text: str) -> MemberToken:
        """What the token says.

        Raises:
            Unauthenticated: it is not ours, was changed, or has expired.
        """
        try:
            claims: dict[str, Any] = jwt.decode(
                text,
                self._key,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                # The clock is ours to pass, so expiry is checked below.
                options={
                    "require": ["exp", "tid", "sub", "scope", "act"],
                    "verify_exp": False,
                    "verify_iat": False,
                },
            )
        except jwt.PyJWTError as error:
            raise Unauthenticated from error
        tenant, member = parse_id(str(claims["tid"])), parse_id(str(claims["sub"]))
        minted_by = parse_id(str(claims["act"]))
        expires_at = datetime.fromtimestamp(int(claims["exp"]), tz=self._clock.now().tzinfo)
        if tenant is None or member is None or minted_by is None or expires_at <= self._clock.now():
            raise Unauthenticated
        scopes = frozenset(str(claims["scope"]).split())
        return MemberToken(TenantId(tenant), MemberId(member), scopes, expires_at, minted_by)
