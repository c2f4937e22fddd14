"""Signature Version 4, with which AWS knows who sends a request.

Only what a JSON request without query needs. Checked against AWS's own published example.
Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class AwsCredentials:
    """An identity at AWS; `session_token` is empty for a long-lived one."""

    key_id: str
    secret: str = field(repr=False)
    session_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Audience:
    """Whom a signature is for."""

    region: str
    service: str


@dataclass(frozen=True, slots=True)
class AwsRequest:
    """What is signed; header names are in lower case, and `host` is among them."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


def signed_headers(
    request: AwsRequest, identity: AwsCredentials, audience: Audience, now: datetime
) -> dict[str, str]:
    """The request's headers with those that sign it; `now` is in UTC."""
    moment = f"{now:%Y%m%dT%H%M%SZ}"
    headers = {**request.headers, "x-amz-date": moment}
    if identity.session_token:
        headers["x-amz-security-token"] = identity.session_token
    names = ";".join(sorted(headers))
    listed = "".join(f"{name}:{headers[name].strip()}\n" for name in sorted(headers))
    payload = hashlib.sha256(request.body).hexdigest()
    canonical = "\n".join((request.method, request.path, "", listed, names, payload))
    scope = f"{moment[:8]}/{audience.region}/{audience.service}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = "\n".join((_ALGORITHM, moment, scope, digest))
    key = ("AWS4" + identity.secret).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (
        f"{_ALGORITHM} Credential={identity.key_id}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return headers
