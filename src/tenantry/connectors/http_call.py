"""Makes a request of checked arguments (CON-1, CON-4).

Threat: an argument that leads the request to another host or path, or that carries the credential
away.
Invariant: scheme, host, port and base path are the configuration's; arguments are percent-encoded
into what follows; the credential is added last, and never by anything that came from outside.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

import orjson

from tenantry.connectors.http_options import SECRET_OF, Authentication, HttpOptions
from tenantry.connectors.openapi_document import ApiOperation
from tenantry.connectors.openapi_parameters import in_header, in_path, in_query
from tenantry.core.errors import InvalidRequest, QueryRefused
from tenantry.core.events import Json
from tenantry.core.secret import Secret
from tenantry.security.egress.messages import EgressRequest

_MOST_URL = 8_000
_ACCEPT = "application/json, text/*;q=0.5"


@dataclass(frozen=True, slots=True)
class Credentials:
    """How a request is signed, with the secret at hand.

    Attributes:
        auth: how.
        secret: of the kind that `auth` needs; None where it needs none.
    """

    auth: Authentication
    secret: Secret | None = None

    @classmethod
    def of(cls, auth: Authentication, secrets: Mapping[str, Secret]) -> "Credentials":
        """The one secret that `auth` needs.

        Raises:
            InvalidRequest: it is missing, there is another one, or it cannot be sent.
        """
        wanted = SECRET_OF.get(auth.kind)
        if other := sorted(secrets.keys() - {wanted}):
            raise InvalidRequest(f"auth of kind {auth.kind} has no secret {other[0][:40]}.")
        if wanted is None:
            return cls(auth)
        secret = secrets.get(wanted)
        if not secret:
            raise InvalidRequest(f"The secret {wanted} is missing.")
        text = secret.reveal()
        if auth.kind != "basic" and not (text.isascii() and text.isprintable()):
            raise InvalidRequest(f"The secret {wanted} holds characters that cannot be sent.")
        return cls(auth, secret)

    def signed(self, request: EgressRequest) -> EgressRequest:
        """The request with the credential in it."""
        auth = self.auth
        if self.secret is None:
            return request
        text = self.secret.reveal()
        if auth.kind == "api_key" and auth.place == "query":
            between = "&" if "?" in request.url else "?"
            pair = f"{quote(auth.name, safe='')}={quote(text, safe='')}"
            return replace(request, url=f"{request.url}{between}{pair}")
        header, value = "authorization", f"Bearer {text}"
        if auth.kind == "basic":
            value = f"Basic {self._pair()}"
        if auth.kind == "api_key":
            header, value = auth.name.lower(), text
        return replace(request, headers={**request.headers, header: value})

    def traces(self) -> Sequence[str]:
        """The forms in which a source could send the secret back."""
        if self.secret is None:
            return ()
        text = self.secret.reveal()
        forms = {text, quote(text, safe=""), base64.b64encode(text.encode()).decode()}
        if self.auth.kind == "basic":
            forms.add(self._pair())
        return sorted(forms, key=len, reverse=True)

    def _pair(self) -> str:
        text = self.secret.reveal() if self.secret else ""
        return base64.b64encode(f"{self.auth.user}:{text}".encode()).decode()


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
    url = options.base_url + _placed(path, places)
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
