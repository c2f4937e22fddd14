"""Signed contexts as an attacker would want them: forged, stolen, spliced, too old."""

import hmac
import time
from hashlib import sha256
from uuid import UUID

from tenantry.isolation.signing import ContextSigner


def sign(signer: ContextSigner, body: str) -> str:
    """`body` with a genuine MAC of the deployment's own key."""
    inner, outer = signer.blocks()
    mac = sha256(outer + sha256(inner + body.encode()).digest()).hexdigest()
    assert mac == hmac.new(signer._key, body.encode(), sha256).hexdigest()
    return body + mac


def body(
    tenant: UUID,
    pid: int,
    *,
    key_id: str = "k1",
    life_s: int = 300,
    actor: UUID | None = None,
    view: str = "g",
) -> str:
    """The part of a token that is signed."""
    expiry = int(time.time()) + life_s
    return f"{key_id}{tenant.hex}{(actor or tenant).hex}{expiry:010d}{view}{pid}"


def forgeries(signer: ContextSigner, victim: UUID, own: UUID, pid: int) -> dict[str, str]:
    """Tokens for the victim that the attacker might make, find or be given, by name."""
    genuine_own = sign(signer, body(own, pid))
    fresh = body(victim, pid)
    other_key = ContextSigner(b"the attacker's own key of 32 byte")
    return {
        "bare-tenant": str(victim),
        "no-mac": fresh,
        "zero-mac": fresh + "0" * 64,
        "own-mac": fresh + genuine_own[-64:],
        "own-token-with-tenant-replaced": genuine_own.replace(own.hex, victim.hex),
        "signed-with-another-key": sign(other_key, fresh),
        "plain-sha256-instead-of-hmac": fresh + sha256(fresh.encode()).hexdigest(),
        "expired": sign(signer, body(victim, pid, life_s=-1)),
        "expired-long-ago": sign(signer, body(victim, pid, life_s=-1_000_000)),
        "of-another-backend": sign(signer, body(victim, pid + 1)),
        "of-a-backend-with-a-longer-number": sign(signer, body(victim, pid * 10)),
        "of-an-unknown-key": sign(signer, body(victim, pid, key_id="zz")),
        "of-a-retired-key": sign(signer, body(victim, pid, key_id="r0")),
        "mac-in-upper-case": fresh + sign(signer, fresh)[-64:].upper() + " ",
        "with-bytes-after-it": sign(signer, fresh) + "0",
        "with-bytes-before-it": "x" + sign(signer, fresh),
        "cut-short": sign(signer, fresh)[:-1],
        "64-characters": "0" * 64,
        "one-character": "x",
        "very-long": "k1" + "9" * 100_000,
        "not-ascii": "k1" + "é" * 200,
        "wildcard-key": "%_" + sign(signer, fresh)[2:],
    }


NAMES = tuple(forgeries(ContextSigner(b"any"), UUID(int=1), UUID(int=2), 1))
"""Names of all forgeries."""
