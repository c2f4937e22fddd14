"""Makes a request of checked arguments (CON-1, CON-4).

Threat: an argument that leads the request to another host or path.
Invariant: scheme, host, port and base path are the configuration's; arguments are percent-encoded
into what follows.
"""

from collections.abc import Mapping
from dataclasses import replace

import orjson

from tenantry.connectors.http_credentials import Authentication
from tenantry.connectors.http_options import HttpOptions
from tenantry.connectors.openapi_document import ApiOperation
from tenantry.connectors.openapi_parameters import in_header, in_path, in_query
from tenantry.core.errors import QueryRefused
from tenantry.core.events import Json
from tenantry.security.egress.messages import EgressRequest

_MOST_URL = 8_000
_ACCEPT = "application/json, text/*;q=0.5"


def without_credential(operation: ApiOperation, auth: Authentication) -> ApiOperation:
    """The operation without the parameter that carries the key, if its document names that."""
    if auth.kind != "api_key":
        return operation
    rest = tuple(
        each
        for each in operation.parameters
        if (each.place, each.name.lower()) != (auth.place, auth.name.lower())
    )
    return replace(operation, parameters=rest)


def request_of(
    options: HttpOptions, operation: ApiOperation, arguments: Mapping[str, Json]
) -> EgressRequest:
    """The request, without a credential; arguments fit the operation's schema.

    Raises:
        QueryRefused: an argument cannot be sent where it belongs.
    """
    path, query = operation.path, list[str]()
    headers = {"accept": _ACCEPT}
    places: dict[str, str] = {}
    for parameter in operation.parameters:
        value = arguments.get(parameter.key)
        if value is None:
            continue
        if parameter.place == "path":
            places[f"{{{parameter.name}}}"] = in_path(parameter, value)
        elif parameter.place == "query":
            query += in_query(parameter, value)
        else:
            headers[parameter.name.lower()] = in_header(parameter, value)
    url = (options.base.url if options.base else "") + _placed(path, places)
    if query:
        url += "?" + "&".join(query)
    if len(url) > _MOST_URL:
        raise QueryRefused("The arguments are too long for a URL.")
    body = None
    if operation.body is not None and "body" in arguments:
        body = orjson.dumps(arguments["body"])
        headers["content-type"] = "application/json"
    return EgressRequest(operation.method, url, headers, body)


def _placed(path: str, places: Mapping[str, str]) -> str:
    """The path with each `{name}` replaced once: a value that looks like a name stays a value."""
    steps = path.split("{")
    placed = steps[0]
    for step in steps[1:]:
        name, _, rest = step.partition("}")
        if f"{{{name}}}" not in places:
            raise QueryRefused(f"The argument {name} is missing.")
        placed += places[f"{{{name}}}"] + rest
    return placed
