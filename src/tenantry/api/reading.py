"""Reads a JSON body of a hot route: bounded, an object, and silent about tenants."""

import orjson
from starlette.requests import Request

from tenantry.api.credentials import BOUNDARY_FIELDS, record_refusal
from tenantry.core.errors import BoundaryCrossed, InvalidRequest, TooLarge
from tenantry.gateway.request import Given
from tenantry.gateway.splice import refuse_brackets
from tenantry.isolation.context import TenantContext
from tenantry.platform import Platform

LARGEST_BODY = 8 * 1024 * 1024


async def read_body(request: Request, most_bytes: int = LARGEST_BODY) -> bytes:
    """The body.

    Raises:
        TooLarge: it is larger than `most_bytes`.
        InvalidRequest: the client went away before its end.
    """
    parts: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise InvalidRequest("The request ended early.")
        part: bytes = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > most_bytes:
            raise TooLarge(f"A request has at most {most_bytes} bytes.")
        if not message.get("more_body", False):
            return b"".join(parts)


async def read_object(platform: Platform, request: Request, ctx: TenantContext) -> Given:
    """The body, which must be a JSON object.

    Raises:
        InvalidRequest: it is not a JSON object.
        BoundaryCrossed: a field names a tenant, account or other actor; audited.
    """
    try:
        raw = await read_body(request)
        refuse_brackets(raw)
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest("The body is not valid JSON.") from error
    if not isinstance(body, dict):
        raise InvalidRequest("The body is not a JSON object.")
    named = sorted(BOUNDARY_FIELDS.intersection(name.lower() for name in body))
    if named:
        await record_refusal(platform, ctx, "request.tenant_field", named[0])
        raise BoundaryCrossed(f"A request may not say '{named[0]}'.")
    return Given(raw, body)
