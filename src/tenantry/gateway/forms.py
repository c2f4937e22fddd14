"""What the gateway must know of each API: how a request is read, and where its figures are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tenantry.gateway.request import Given, RawRequest
from tenantry.gateway.requests import (
    chat_request,
    embeddings_request,
    messages_request,
    responses_request,
)
from tenantry.metering.once import RequestKey
from tenantry.metering.usage import Operation, TokenUsage
from tenantry.providers.message_usage import MessageMeter, usage_of_message
from tenantry.providers.routes import RawRoute
from tenantry.providers.surfaces import Surface
from tenantry.providers.usage import StreamMeter, usage_of


@dataclass(frozen=True, slots=True)
class Form:
    """One API.

    Attributes:
        surface: its name.
        operation: what its calls are in the ledger.
        prepare: makes a client's body the provider's.
        usage: reads the `usage` object of a whole answer.
        meter: reads along with a stream.
    """

    surface: Surface
    operation: Operation
    prepare: Callable[[Given, RawRoute], RawRequest]
    usage: Callable[[object], TokenUsage | None]
    meter: Callable[[], StreamMeter]

    def usage_in(self, answer: Mapping[str, Any]) -> TokenUsage | None:
        """The usage that a whole answer reports; None when it reports none."""
        return self.usage(answer.get("usage"))


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client asks: the same whatever route it goes.

    Attributes:
        form: by which API.
        given: the client's body.
        headers: what of the client's own goes along.
        key: the client's idempotency key, or empty.
    """

    form: Form
    given: Given
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    key: str = field(default="", repr=False)

    @property
    def request_key(self) -> RequestKey | None:
        """The key as the ledger takes it, bound to what is asked."""
        if not self.key:
            return None
        return RequestKey.of(self.key, self.form.surface.encode(), self.given.raw)

    def prepare(self, route: RawRoute) -> RawRequest:
        """The request for one route's provider.

        Raises:
            InvalidRequest: a field that is read is not what it must be.
        """
        return self.form.prepare(self.given, route)


CHAT = Form("chat", "chat", chat_request, usage_of, StreamMeter)
RESPONSES = Form("responses", "chat", responses_request, usage_of, StreamMeter)
MESSAGES = Form("messages", "chat", messages_request, usage_of_message, MessageMeter)
EMBEDDINGS = Form("embeddings", "embedding", embeddings_request, usage_of, StreamMeter)
