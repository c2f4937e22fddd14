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


class Capability(Protocol):
    """A tool already bound to a session: its `run` has parameters that a model may fill."""

    @property
    def name(self) -> str:
        """What the model calls it."""
        ...

    @property
    def run(self) -> Callable[..., Awaitable[ToolResult]]:
        """The work; its docstring tells the model what it does."""
        ...


class UnknownArguments(InvalidRequest):
    """A tool was called with arguments that it does not have."""

    code = "unknown_arguments"

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(f"There is no argument {', '.join(names)}.")
        self.names = names


class Bound:
    """`BoundTool` over a capability."""

    def __init__(self, capability: Capability) -> None:
        self._run = capability.run
        self._arguments = _model_of(capability.name, capability.run)
        self._spec = ToolSpec(
            capability.name, inspect.getdoc(capability.run) or "", _schema(self._arguments)
        )

    @property
    def spec(self) -> ToolSpec:
        """Name, description and closed schema."""
        return self._spec

    async def run(self, arguments: Mapping[str, Json]) -> ToolResult:
        """Validate and execute.

        Raises:
            UnknownArguments: there is an argument that the tool does not have.
            InvalidRequest: an argument is missing or of the wrong type.
            TenantryError: whatever the tool itself raises.
        """
        try:
            checked = self._arguments.model_validate(dict(arguments))
        except ValidationError as error:
            raise _refusal(error) from error
        return await self._run(
            **{name: getattr(checked, name) for name in self._arguments.model_fields}
        )


def _model_of(name: str, run: Callable[..., Awaitable[ToolResult]]) -> type[BaseModel]:
    hints = get_type_hints(run, include_extras=True)
    fields: dict[str, Any] = {
        parameter.name: (
            hints[parameter.name],
            ... if parameter.default is inspect.Parameter.empty else parameter.default,
        )
        for parameter in inspect.signature(run).parameters.values()
    }
    return create_model(name, __config__=ConfigDict(extra="forbid", strict=True), **fields)


def _schema(model: type[BaseModel]) -> Mapping[str, Json]:
    schema = model.model_json_schema()
    del schema["title"]
    for field in schema.get("properties", {}).values():
        field.pop("title", None)
    schema.setdefault("properties", {})
    return schema


def _refusal(error: ValidationError) -> InvalidRequest:
    found = error.errors(include_url=False, include_input=False)
    unknown = tuple(str(e["loc"][0])[:60] for e in found if e["type"] == "extra_forbidden")
    if unknown:
        return UnknownArguments(unknown)
    return InvalidRequest("; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in found))
