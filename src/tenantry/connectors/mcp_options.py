"""Options of a connector to an MCP server: read from a request, and as they are stored (CON-2).

What is stored can be sent back as it is: reading it again gives the same.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

import orjson

from tenantry.connectors.exposure import Exposure, Offer, offered
from tenantry.connectors.http_credentials import Authentication
from tenantry.connectors.mcp_pin import PinnedTool
from tenantry.connectors.openapi_schema import Unreadable, clean
from tenantry.connectors.option_values import (
    MOST_NAMES,
    BaseUrl,
    Writes,
    names_of,
    object_of,
    writes_of,
)
from tenantry.core.errors import InvalidRequest
from tenantry.core.events import Json
from tenantry.core.ids import new_id

Effect = Literal["read", "write"]
_EFFECTS: tuple[Effect, ...] = ("read", "write")
_KNOWN = frozenset(
    {
        "url", "command", "auth", "operations", "fixed", "expose", "writes",
        "tools", "acceptance", "protocol", "left_out",
    }
)  # fmt: skip
_COMMAND = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_PROTOCOL = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOST_STORED_BYTES = 512 * 1024
_MOST_LEFT_OUT = 50


@dataclass(frozen=True, slots=True)
class McpOptions:
    """A connector to an MCP server, without its secrets.

    Attributes:
        base: where it is, when it is spoken to over HTTP.
        command: name of the operator's command that is it, when it is a process; else empty.
        auth: how it is told over HTTP who calls.
        effects: the tools chosen, and whether each reads or writes, as the administrator says.
        exposure: arguments that the configuration fills; of an argument's own parts, `a.b`.
        writes: whether tools that write may be called, and when.
        tools: those chosen, as they were accepted; None until the server was asked.
        acceptance: names the act of accepting them; empty until then.
        protocol: version that the server spoke then; empty if it is not known.
        left_out: tools chosen that are not offered, and why.
    """

    base: BaseUrl | None
    command: str
    auth: Authentication
    effects: Mapping[str, Effect]
    exposure: Exposure
    writes: Writes
    tools: Mapping[str, PinnedTool] | None
    acceptance: str
    protocol: str
    left_out: Mapping[str, str]

    @classmethod
    def read(cls, options: Mapping[str, Json]) -> "McpOptions":
        """The options as given or as stored.

        Raises:
            InvalidRequest: one is missing, unknown or wrong; the message says which.
        """
        if unknown := sorted(options.keys() - _KNOWN):
            raise InvalidRequest(f"A connector of kind mcp has no option {clean(unknown[0], 40)}.")
        command = options.get("command", "")
        if ("url" in options) == bool(command):
            raise InvalidRequest("Give either the url of the server, or a command's name.")
        if not isinstance(command, str) or (command and not _COMMAND.fullmatch(command)):
            raise InvalidRequest("command is the name of a command that the operator allows.")
        if command and "auth" in options:
            raise InvalidRequest("auth is for a server that has a url.")
        effects = _effects(options.get("operations", {}))
        tools = _tools(options.get("tools"), effects)
        return cls(
            base=BaseUrl.read(options["url"], "url") if "url" in options else None,
            command=command,
            auth=Authentication.read(options.get("auth")),
            effects=effects,
            exposure=Exposure.read(options),
            writes=writes_of(options.get("writes", "refused")),
            tools=tools,
            acceptance=_acceptance(options.get("acceptance"), is_needed=tools is not None),
            protocol=_protocol(options.get("protocol", "")),
            left_out=_left_out(options.get("left_out", {}), effects),
        )

    def stored(self) -> dict[str, Json]:
        """As they are kept: the tools chosen alone.

        Raises:
            InvalidRequest: that is too much.
        """
        kept: dict[str, Json] = {"writes": self.writes}
        if self.base is not None:
            kept |= {"url": self.base.url, "auth": self.auth.stored()}
        chosen: dict[str, Json] = {
            effect: [name for name in self.effects if self.effects[name] == effect]
            for effect in _EFFECTS
        }
        if self.tools is not None:
            kept["tools"] = {name: tool.stored() for name, tool in self.tools.items()}
        optional: dict[str, Json] = {
            "command": self.command,
            "operations": {effect: names for effect, names in chosen.items() if names},
            "acceptance": self.acceptance,
            "protocol": self.protocol,
            "left_out": dict(self.left_out),
            **self.exposure.stored(),
        }
        kept |= {name: value for name, value in optional.items() if value}
        if len(orjson.dumps(kept)) > _MOST_STORED_BYTES:
            raise InvalidRequest("The tools chosen are too much text; choose fewer.")
        return kept

    def offers(self) -> tuple[dict[str, Offer], dict[str, str]]:
        """What is offered, by name, and what is not, with the reason."""
        tools = self.tools or {}
        left_out = {name: why for name, why in self.left_out.items() if name not in tools}
        offers: dict[str, Offer] = {}
        for name, tool in tools.items():
            try:
                whole = Offer(name, tool.description, self.effects[name], tool.schema)
                offers[name] = offered(whole, self.exposure)
            except Unreadable as error:
                left_out[name] = str(error)
        return offers, left_out


def _effects(given: Json) -> dict[str, Effect]:
    chosen = object_of(given, "operations")
    effects: dict[str, Effect] = {}
    for effect in _EFFECTS:
        names = names_of(chosen.pop(effect)) if effect in chosen else ()
        if names is None or set(names) & effects.keys():
            chosen["?"] = None
        effects |= dict.fromkeys(names or (), effect)
    if chosen or len(effects) > MOST_NAMES:
        raise InvalidRequest(
            f"operations is {{read: [names], write: [names]}}, {MOST_NAMES} names at most and each "
            "once: which tools may be called, and which of them change something."
        )
    return effects


def _tools(given: Json, effects: Mapping[str, Effect]) -> dict[str, PinnedTool] | None:
    if given is None:
        return None
    kept = object_of(given, "tools")
    if surplus := sorted(kept.keys() - effects.keys()):
        raise InvalidRequest(f"The tool {clean(surplus[0], 60)} is not named in operations.")
    return {name: PinnedTool.read(tool, clean(name, 60)) for name, tool in kept.items()}


def _acceptance(given: Json, *, is_needed: bool) -> str:
    if given is None:
        return str(new_id()) if is_needed else ""
    try:
        return str(UUID(given)) if isinstance(given, str) else str(UUID(""))
    except ValueError:
        raise InvalidRequest("acceptance is the one that was stored.") from None


def _protocol(given: Json) -> str:
    if given == "" or (isinstance(given, str) and _PROTOCOL.fullmatch(given)):
        return str(given)
    raise InvalidRequest("protocol is a version, such as 2025-11-25.")


def _left_out(given: Json, effects: Mapping[str, Effect]) -> dict[str, str]:
    reasons = object_of(given, "left_out")
    known = {name: clean(why) for name, why in reasons.items() if name in effects}
    return dict(list(known.items())[:_MOST_LEFT_OUT])
