"""Makes a capability out of a method: what the model may write is exactly its parameters (SEC-3).

The schema shown to a model is generated from the signature, closed (`additionalProperties: false`),
and the same model of it validates what comes back: the two cannot differ.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from tenantry.core.errors import InvalidRequest
from tenantry.core.events import Json
from tenantry.providers.base import ToolSpec
from tenantry.tools.base import ToolResult

_LONGEST_NAME = 60
_MOST_NAMES = 8
Run = Callable[..., Awaitable[ToolResult]]


class Capability(Protocol):
    """A tool already bound to a session: its `run` has parameters that a model may fill."""

    @property
    def name(self) -> str:
        """What the model calls it."""
        ...

    @property
    def run(self) -> Run:
        """The work; its docstring tells the model what it does."""
        ...


class ArgumentsRefused(InvalidRequest):
    """A tool was called with arguments that do not fit its schema."""


class UnknownArguments(ArgumentsRefused):
    """A tool was called with arguments that it does not have."""

    code = "unknown_arguments"

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(f"There is no argument {', '.join(names)}.")
        self.names = names


class Shape:
    """What a tool looks like to a model: name, description, closed schema; the same for all.

    Making one takes 2 ms, so that it is made once for a tool and not once for a session.
    """

    def __init__(self, name: str, run: Run) -> None:
        """From the tool's `run`, taken from the class or from a bound capability."""
        self._model = _model_of(name, run)
        self.spec = ToolSpec(name, inspect.getdoc(run) or "", _schema(self._model))

    def check(self, arguments: Mapping[str, Json]) -> dict[str, Any]:
        """The arguments as parameters, defaults filled in.

        Raises:
            UnknownArguments: there is an argument that the tool does not have.
            ArgumentsRefused: an argument is missing or of the wrong type.
        """
        try:
            checked = self._model.model_validate(dict(arguments))
        except ValidationError as error:
            raise _refusal(error) from error
        return {name: getattr(checked, name) for name in type(checked).model_fields}


class Bound:
    """`BoundTool` over a capability."""

    def __init__(self, capability: Capability, shape: Shape | None = None) -> None:
        self._run = capability.run
        self._shape = shape or Shape(capability.name, capability.run)

    @property
    def spec(self) -> ToolSpec:
        """Name, description and closed schema."""
        return self._shape.spec

    async def run(self, arguments: Mapping[str, Json]) -> ToolResult:
        """Validate and execute.

        Raises:
            UnknownArguments: there is an argument that the tool does not have.
            ArgumentsRefused: an argument is missing or of the wrong type.
            TenantryError: whatever the tool itself raises.
        """
        return await self._run(**self._shape.check(arguments))


def plain(text: str) -> str:
    """A name that a model made up, short and printable, as it may be stored and shown."""
    shown = "".join(c if c.isprintable() else "?" for c in text[:_LONGEST_NAME])
    return shown if len(text) <= _LONGEST_NAME else f"{shown}…"


def _model_of(name: str, run: Run) -> type[BaseModel]:
    hints = get_type_hints(run, include_extras=True)
    fields: dict[str, Any] = {
        parameter.name: (
            hints[parameter.name],
            ... if parameter.default is inspect.Parameter.empty else parameter.default,
        )
        for parameter in inspect.signature(run).parameters.values()
        if parameter.name != "self"
    }
    return create_model(name, __config__=ConfigDict(extra="forbid", strict=True), **fields)


def _schema(model: type[BaseModel]) -> Mapping[str, Json]:
    schema = model.model_json_schema()
    del schema["title"]
    for field in schema.setdefault("properties", {}).values():
        field.pop("title", None)
    return schema


def _refusal(error: ValidationError) -> ArgumentsRefused:
    found = error.errors(include_url=False, include_input=False)
    unknown = [plain(str(e["loc"][0])) for e in found if e["type"] == "extra_forbidden"]
    if unknown:
        return UnknownArguments(tuple(unknown[:_MOST_NAMES]))
    wrong = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in found[:_MOST_NAMES])
    return ArgumentsRefused("; ".join(wrong))
