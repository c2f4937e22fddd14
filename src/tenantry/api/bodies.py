"""What requests may say: closed models, so that an unknown field is an error, never ignored."""

from datetime import timedelta
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, SecretStr

from tenantry.vectors.base import Filter

RoleName = Literal["owner", "admin", "analyst", "viewer"]
ExternalId = Annotated[str, Field(min_length=1, max_length=200)]
Secrets = dict[str, Annotated[SecretStr, Field(max_length=20_000)]]
MediaType = Annotated[str, Field(pattern=r"^[a-z]+/[a-z0-9.+-]{1,100}$")]
NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]


class Body(BaseModel):
    """Base of every request body: no field beyond those declared."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)


class OwnerBody(Body):
    """First member of a new tenant."""

    external_id: ExternalId
    display_name: str = Field(default="", max_length=200)


class TenantBody(Body):
    """A tenant to create, with its first owner."""

    name: Name
    owner: OwnerBody


class TenantChangeBody(Body):
    """A tenant's new standing, or its new weight beside others."""

    status: Literal["active", "suspended"] | None = None
    weight: Annotated[float, Field(ge=0.01, le=100, allow_inf_nan=False)] | None = None


class JobBody(Body):
    """Where a job should stand; `waiting` resumes a paused one and retries a failed one."""

    state: Literal["cancelled", "paused", "waiting"]


class BreakGlassBody(Body):
    """Why a tenant's content must be read, and for how long; the tenant sees both."""

    reason: Annotated[str, Field(min_length=10, max_length=500)]
    minutes: int = Field(default=15, ge=1, le=60)


class BreakGlassReadBody(Body):
    """What to read with a grant's token."""

    token: Annotated[SecretStr, Field(max_length=100)]
    table: Annotated[str, Field(max_length=63)]
    limit: int = Field(default=100, ge=1, le=1000)
    skip: int = Field(default=0, ge=0, le=10**9)


class TokenBody(Body):
    """A member token to mint; the member is created when the tenant does not know it yet."""

    # Here, and only here, a caller names a tenant: an operator's key belongs to none.
    tenant: Annotated[str, Field(description="Name or id of the tenant", max_length=63)]
    external_id: ExternalId
    display_name: str = Field(default="", max_length=200)
    role: Literal["admin", "analyst", "viewer"] = "viewer"
    scopes: list[str] | None = None
    lifetime_s: int = Field(default=900, ge=1, le=3600)


class MemberBody(Body):
    """A member to add."""

    external_id: ExternalId
    role: RoleName
    display_name: str = Field(default="", max_length=200)


class MemberChangeBody(Body):
    """What to change of a member; what is left out stays."""

    role: RoleName | None = None
    status: Literal["active", "disabled"] | None = None
    display_name: str | None = Field(default=None, max_length=200)


class KeyBody(Body):
    """A key to issue; to the caller itself unless a member is named."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    member_id: str | None = None
    scopes: list[str] | None = None
    expires_in_s: int | None = Field(default=None, ge=1, le=5 * 366 * 86400)

    @property
    def expires_in(self) -> timedelta | None:
        """How long the key lives; None is for ever."""
        return None if self.expires_in_s is None else timedelta(seconds=self.expires_in_s)


class RotationBody(Body):
    """How long the old key goes on working beside its successor."""

    overlap_s: int = Field(default=0, ge=0, le=7 * 86400)


class AssistantBody(Body):
    """An assistant to create."""

    name: Name
    instructions: Annotated[str, Field(max_length=20000)]
    model: Annotated[str, Field(min_length=1, max_length=200)] = "keyless"
    tools: list[str] | None = None
    settings: dict[str, str | int | float | bool] = Field(default_factory=dict)


class AssistantVersionBody(Body):
    """A new version of an assistant, complete: nothing is inherited from the one before."""

    instructions: Annotated[str, Field(max_length=20000)]
    model: Annotated[str, Field(min_length=1, max_length=200)] = "keyless"
    tools: list[str] | None = None
    settings: dict[str, str | int | float | bool] = Field(default_factory=dict)


class RollbackBody(Body):
    """The version to return to."""

    version: int = Field(ge=1)


class ConnectorBody(Body):
    """A data source to add; its secrets are sealed and never shown again."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    kind: Annotated[str, Field(max_length=50)] = "files"
    options: dict[str, JsonValue] = Field(default_factory=dict)
    secrets: Secrets = Field(default_factory=dict)


class ConnectorChangeBody(Body):
    """What to change of a data source; what is left out stays."""

    options: dict[str, JsonValue] | None = None
    secrets: Secrets | None = None


class OwnModelBody(Body):
    """A model of an account of the tenant's own; named `account/name` in requests."""

    name: Annotated[str, Field(max_length=128)]
    upstream: Annotated[str, Field(max_length=256, description="The provider's own name")] = ""
    kind: Literal["chat", "embedding"] = "chat"
    max_output_tokens: int = Field(default=4096, ge=1, le=10_000_000)


class ProviderAccountBody(Body):
    """An account of the tenant's own to add; its key is sealed and never shown again."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    kind: Literal["openai_compatible", "anthropic", "google"]
    key: Annotated[SecretStr, Field(min_length=1, max_length=20_000)]
    models: Annotated[list[OwnModelBody], Field(min_length=1, max_length=200)]
    base_url: Annotated[
        str, Field(max_length=2000, description="The provider's own unless given")
    ] = ""
    max_tokens_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"


class ProviderAccountChangeBody(Body):
    """What to change of an account of the tenant's own; what is left out stays."""

    key: Annotated[SecretStr, Field(min_length=1, max_length=20_000)] | None = None
    models: Annotated[list[OwnModelBody], Field(min_length=1, max_length=200)] | None = None
    base_url: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    max_tokens_field: Literal["max_completion_tokens", "max_tokens"] | None = None


class ModelPolicyBody(Body):
    """Which models the tenant allows itself, and what stands in for which."""

    allowed: list[Annotated[str, Field(max_length=200)]] | None = Field(
        default=None, max_length=500, description="Names, or `account/*`; null allows every model"
    )
    fallbacks: dict[
        Annotated[str, Field(max_length=200)], list[Annotated[str, Field(max_length=220)]]
    ] = Field(default_factory=dict)


class EmbedderBody(Body):
    """What to embed documents and questions with."""

    model: str = Field(
        min_length=1, max_length=200, description="`default`, `embedded`, or `account/model`"
    )
    dimension: int | None = Field(
        default=None, ge=1, le=16_000, description="As the model makes them unless given"
    )
    query_prefix: str = Field(default="", max_length=200)
    passage_prefix: str = Field(default="", max_length=200)


class QueryBody(Body):
    """One read-only SQL statement."""

    sql: Annotated[str, Field(min_length=1, max_length=20000)]
    max_rows: int = Field(default=500, ge=1, le=10_000)
    to_file: bool = False


class GroupBody(Body):
    """A group of members to add."""

    name: Name


class AccessBody(Body):
    """The groups whose members may read a document; none of them: every member may."""

    groups: Annotated[list[Name], Field(max_length=100)]


class SearchBody(Body):
    """A search in the tenant's documents; what is left out does not narrow it."""

    query: Annotated[str, Field(min_length=1, max_length=2000)]
    limit: int = Field(default=10, ge=1, le=100)
    document_ids: Annotated[list[UUID], Field(max_length=1000)] | None = None
    media_types: Annotated[list[MediaType], Field(max_length=20)] | None = None
    added_from: AwareDatetime | None = None
    added_before: AwareDatetime | None = None

    def filter(self) -> Filter:
        """Which documents count."""
        return Filter(
            None if self.document_ids is None else tuple(self.document_ids),
            None if self.media_types is None else tuple(self.media_types),
            self.added_from,
            self.added_before,
        )


class CallBody(Body):
    """One call of an API or an MCP server."""

    operation: Annotated[str, Field(min_length=1, max_length=200)]
    arguments: dict[str, JsonValue] = Field(default_factory=dict)


class PatternBody(Body):
    """A verified query: a question and the SQL that answers it."""

    connector: Annotated[str, Field(max_length=63)]
    question: Annotated[str, Field(min_length=3, max_length=1000)]
    sql: Annotated[str, Field(min_length=1, max_length=20000)]


class BudgetBody(Body):
    """A budget: whose use, in what unit, over which time, to how much."""

    scope: Literal["tenant", "member", "key", "assistant", "model"] = "tenant"
    subject: Annotated[
        str,
        Field(
            min_length=1,
            max_length=300,
            description="Id of the member, key or assistant, `provider/model`, or `*` for each",
        ),
    ] = "*"
    unit: Literal["tokens", "cost", "requests"] = "tokens"
    period: Literal["second", "minute", "hour", "day", "month"] = "day"
    hard_limit: int | None = Field(default=None, ge=0, le=10**15)
    soft_limit: int | None = Field(default=None, ge=1, le=10**15)
    grace: int = Field(default=0, ge=0, le=10**15)
    alerts: Annotated[list[int], Field(max_length=20)] = Field(
        default_factory=lambda: [50, 80, 100]
    )


class TimeZoneBody(Body):
    """A time zone by its name, such as Europe/Berlin."""

    time_zone: Annotated[str, Field(min_length=1, max_length=64)]


class WeightsBody(Body):
    """What a model's use weighs, in thousandths of a token."""

    provider: Annotated[str, Field(min_length=1, max_length=63)]
    model: Annotated[str, Field(min_length=1, max_length=200)] = "*"
    input: int = Field(default=1000, ge=0, le=1_000_000)
    cached: int = Field(default=100, ge=0, le=1_000_000)
    output: int = Field(default=4000, ge=0, le=1_000_000)
    tool_call: int = Field(default=200_000, ge=0, le=10**9)
    tool_second: int = Field(default=50_000, ge=0, le=10**9)
