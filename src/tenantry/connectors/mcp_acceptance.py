"""What a server lists, compared with what was accepted of it; and what an administrator is told."""

from collections.abc import Mapping, Sequence

from tenantry.connectors.exposure import left_out_of
from tenantry.connectors.mcp_commands import Command
from tenantry.connectors.mcp_options import McpOptions
from tenantry.connectors.mcp_pin import PinnedTool, is_same
from tenantry.connectors.openapi_schema import Unreadable, clean
from tenantry.core.errors import InvalidRequest
from tenantry.core.events import Json

_MOST_WARNINGS = 20
_NAMES_SHOWN = 40
Definitions = Mapping[str, Mapping[str, Json]]


def pinned(options: McpOptions, found: Definitions) -> tuple[dict[str, PinnedTool], dict[str, str]]:
    """The tools chosen as the server describes them, and those of which nothing can be made.

    Raises:
        InvalidRequest: none is chosen, or one that the server does not have; it says what it has.
    """
    known = listed(list(found))
    if not options.effects:
        raise InvalidRequest(
            "Say in operations which tools may be called, as {read: [names], write: [names]}. "
            f"The server offers: {known}."
        )
    if missing := [name for name in options.effects if name not in found]:
        raise InvalidRequest(f"The server has no tool {clean(missing[0], 80)!r}. It has: {known}.")
    tools: dict[str, PinnedTool] = {}
    left_out: dict[str, str] = {}
    for name in options.effects:
        try:
            tools[name] = PinnedTool.of(found[name])
        except Unreadable as error:
            left_out[name] = str(error)
    return tools, left_out


def changed_in(options: McpOptions, found: Definitions) -> list[str]:
    """Tools of which the server says something else than when they were accepted."""
    tools = options.tools or {}
    return [name for name in tools if name in found and not is_same(tools[name], found[name])]


def gone_from(options: McpOptions, found: Definitions) -> list[str]:
    """Tools that the server does not offer any more."""
    return [name for name in options.tools or {} if name not in found]


def listed(names: Sequence[str]) -> str:
    """Names as a message shows them: cleaned, and not all of very many."""
    shown = ", ".join(clean(name, 80) for name in names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown or "none"


def warnings(options: McpOptions, command: Command | None) -> list[str]:
    """What whoever adds a connector of these options is told."""
    said = []
    if options.base and options.base.url.startswith("http:"):
        said.append("The connection is not encrypted: use https.")
    if command and command.without:
        walls = listed(sorted(command.without))
        said.append(f"The operator runs this command without these walls: {walls}.")
    if options.writes == "allowed":
        said.append("A model may change things through this connector, and nobody is asked first.")
    offers, left_out = options.offers()
    said += left_out_of(offers, left_out)
    for name, tool in (options.tools or {}).items():
        if options.effects[name] == "read" and not tool.is_said_to_read:
            said.append(f"{name} is called as one that reads; its server does not say so.")
    return said[:_MOST_WARNINGS]
