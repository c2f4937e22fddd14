"""How a server that is spoken to over HTTP is told who calls, and the secret at hand (CON-4).

Threat: an argument or a redirect that carries the credential away, a source that sends it back.
Invariant: the credential is added last, and never by anything that came from outside.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import quote

from tenantry.connectors.option_values import object_of
from tenantry.core.errors import InvalidRequest
from tenantry.core.events import Json
from tenantry.core.secret import Secret
from tenantry.security.egress.messages import EgressRequest

AuthKind = Literal["none", "bearer", "basic", "api_key"]
SECRET_OF: Mapping[str, str] = {"bearer": "token", "basic": "password", "api_key": "api_key"}
"""The secret that each kind of authentication needs."""

_AUTH_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_FRAMING = frozenset({"host", "connection", "content-length", "transfer-encoding", "te", "upgrade"})


@dataclass(frozen=True, slots=True)
class Authentication:
    """How the API is told who calls.

    Attributes:
        kind: `none`, `bearer`, `basic` or `api_key`.
        user: of `basic`.
        place: of `api_key`: `header` or `query`.
        name: of the header or query parameter of an `api_key`.
    """

    kind: AuthKind = "none"
    user: str = ""
    place: Literal["header", "query"] = "header"
    name: str = ""

    @classmethod
    def read(cls, given: Json) -> "Authentication":
        """What the option `auth` says.

        Raises:
            InvalidRequest: it says something else than it may.
        """
        if given is None:
            return cls()
        parts = object_of(given, "auth")
        kind = parts.get("kind")
        wanted = {"none": (), "bearer": (), "basic": ("user",), "api_key": ("in", "name")}
        if not isinstance(kind, str) or kind not in wanted:
            raise InvalidRequest("auth.kind is none, bearer, basic or api_key.")
        if set(parts) != {"kind", *wanted[kind]}:
            needs = ", ".join(("kind", *wanted[kind]))
            raise InvalidRequest(f"auth of kind {kind} has exactly {needs}.")
        if kind == "basic":
            user = parts["user"]
            if not isinstance(user, str) or not user or ":" in user or not user.isprintable():
                raise InvalidRequest("auth.user is a text without colons.")
            return cls("basic", user=user[:200])
        if kind == "api_key":
            return cls._key(parts["in"], parts["name"])
        return cls("bearer") if kind == "bearer" else cls()

    @classmethod
    def _key(cls, place: Json, name: Json) -> "Authentication":
        if not isinstance(name, str) or not _AUTH_NAME.fullmatch(name) or name.lower() in _FRAMING:
            raise InvalidRequest("auth.name is the name of a header or query parameter.")
        if place == "header":
            return cls("api_key", place="header", name=name)
        if place == "query":
            return cls("api_key", place="query", name=name)
        raise InvalidRequest("auth.in is header or query.")

    def stored(self) -> dict[str, Json]:
        """As the option `auth`."""
        if self.kind == "basic":
            return {"kind": "basic", "user": self.user}
        if self.kind == "api_key":
            return {"kind": "api_key", "in": self.place, "name": self.name}
        return {"kind": self.kind}


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
