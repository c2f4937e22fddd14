"""Assistants against a real database, always with the neighbour's assistant of the same name."""

import asyncio
from uuid import UUID, uuid4

import pytest

from tenantry.core.errors import Conflict, InvalidRequest, NotFound, StoreUnavailable
from tenantry.core.events import AuditEvent
from tenantry.sessions.assistants import Assistants, AssistantVersion, Draft
from tests.worlds import World

TOOLS = ("search_documents", "list_data", "query_data")
START = UUID(int=0)


def draft(instructions: str = "Be brief.", model: str = "keyless", **more: object) -> Draft:
    return Draft(instructions, model, **more)  # type: ignore[arg-type]


@pytest.fixture
def assistants(world: World) -> Assistants:
    return Assistants(world.db, world.audit, TOOLS)


@pytest.fixture
async def neighbour(world: World, assistants: Assistants) -> AssistantVersion:
    return await assistants.create(world.globex, "analyst", draft("Globex says: be long."))


async def actions(world: World) -> list[str]:
    return [event["action"] for event in await world.audit_events(world.acme)]


@pytest.mark.req("CTX-1")
async def test_a_new_assistant_has_a_first_version_with_all_that_was_asked(
    world: World, assistants: Assistants, neighbour: AssistantVersion
) -> None:
    made = await assistants.create(
        world.acme,
        "analyst",
        draft("Be kind.", "openai/gpt", tools=["list_data"], settings={"temperature": 0.5}),
    )
    assert (made.name, made.version, made.current_version) == ("analyst", 1, 1)
    assert (made.instructions, made.model, made.tools) == ("Be kind.", "openai/gpt", ("list_data",))
    assert made.behaviour.temperature == 0.5
    assert made.owner == world.acme.tenant
    assert made.created_by == world.acme.actor.id
    assert await assistants.find(world.acme, "analyst") == made
    assert await assistants.get(world.acme, made.assistant_id) == made
    assert await assistants.find(world.globex, "analyst") == neighbour


@pytest.mark.req("CTX-1")
async def test_an_assistant_may_use_every_tool_unless_told_otherwise(
    world: World, assistants: Assistants
) -> None:
    assert (await assistants.create(world.acme, "a", draft())).tools == TOOLS
    assert (await assistants.create(world.acme, "b", draft(tools=[]))).tools == ()


@pytest.mark.req("CTX-1")
async def test_a_name_is_taken_once_in_a_tenant_whatever_the_neighbour_has(
    world: World, assistants: Assistants, neighbour: AssistantVersion
) -> None:
    first = await assistants.create(world.acme, "analyst", draft())
    with pytest.raises(Conflict, match="already is an assistant named 'analyst'"):
        await assistants.create(world.acme, "analyst", draft("Another."))
    assert await assistants.find(world.acme, "analyst") == first
    assert await actions(world) == ["assistant.created"]


@pytest.mark.req("CTX-1")
async def test_versions_are_added_and_old_ones_stay_readable(
    world: World, assistants: Assistants
) -> None:
    first = await assistants.create(world.acme, "analyst", draft("One."))
    second = await assistants.add_version(world.acme, first.assistant_id, draft("Two."))
    assert (second.version, second.current_version) == (2, 2)
    assert (await assistants.find(world.acme, "analyst")).instructions == "Two."
    old = await assistants.find(world.acme, "analyst", version=1)
    assert (old.instructions, old.version, old.current_version) == ("One.", 1, 2)
    assert (await assistants.get(world.acme, first.assistant_id, 1)) == old
    versions = await assistants.list_versions(world.acme, first.assistant_id)
    assert [v.version for v in versions] == [2, 1]
    assert [
        v.version for v in await assistants.list_versions(world.acme, first.assistant_id, before=2)
    ] == [1]


@pytest.mark.req("CTX-1")
async def test_rolling_back_points_at_an_old_version_and_writes_nothing_new(
    world: World, assistants: Assistants
) -> None:
    first = await assistants.create(world.acme, "analyst", draft("One."))
    await assistants.add_version(world.acme, first.assistant_id, draft("Two."))
    back = await assistants.roll_back(world.acme, first.assistant_id, 1)
    assert (back.version, back.current_version, back.instructions) == (1, 1, "One.")
    third = await assistants.add_version(world.acme, first.assistant_id, draft("Three."))
    assert (third.version, third.current_version) == (3, 3)
    assert len(await assistants.list_versions(world.acme, first.assistant_id)) == 3
    assert await actions(world) == [
        "assistant.created",
        "assistant.version_added",
        "assistant.rolled_back",
        "assistant.version_added",
    ]


@pytest.mark.req("CTX-1")
@pytest.mark.parametrize("version", [0, -1, 2, 2**31, 2**70])
async def test_rolling_back_to_a_version_that_is_not_there_is_not_found(
    world: World, assistants: Assistants, version: int
) -> None:
    first = await assistants.create(world.acme, "analyst", draft())
    with pytest.raises(NotFound):
        await assistants.roll_back(world.acme, first.assistant_id, version)
    assert (await assistants.find(world.acme, "analyst")).current_version == 1


@pytest.mark.req("CTX-1")
async def test_versions_added_at_the_same_time_are_numbered_one_by_one(
    world: World, assistants: Assistants
) -> None:
    first = await assistants.create(world.acme, "analyst", draft())
    added = await asyncio.gather(
        *(assistants.add_version(world.acme, first.assistant_id, draft(str(n))) for n in range(6))
    )
    assert sorted(v.version for v in added) == [2, 3, 4, 5, 6, 7]
    assert (await assistants.find(world.acme, "analyst")).current_version == 7


@pytest.mark.req("DB-1", "SEC-4")
async def test_a_neighbours_assistant_is_as_unknown_as_one_that_never_was(
    world: World, assistants: Assistants, neighbour: AssistantVersion
) -> None:
    for assistant_id in (neighbour.assistant_id, uuid4()):
        for attempt in (
            assistants.get(world.acme, assistant_id),
            assistants.get(world.acme, assistant_id, 1),
            assistants.add_version(world.acme, assistant_id, draft("Mine now.")),
            assistants.roll_back(world.acme, assistant_id, 1),
            assistants.list_versions(world.acme, assistant_id),
            assistants.delete(world.acme, assistant_id),
        ):
            with pytest.raises(NotFound) as refused:
                await attempt
            assert refused.value.message == NotFound().message
    with pytest.raises(NotFound):
        await assistants.find(world.acme, "analyst")
    assert await assistants.get(world.globex, neighbour.assistant_id) == neighbour


@pytest.mark.req("DB-1")
async def test_a_list_holds_ones_own_in_order_and_goes_on_after_a_cursor(
    world: World, assistants: Assistants, neighbour: AssistantVersion
) -> None:
    made = [await assistants.create(world.acme, name, draft()) for name in ("a", "b", "c")]
    await assistants.add_version(world.acme, made[0].assistant_id, draft("Newer."))
    page = await assistants.list_assistants(world.acme, START, 2)
    assert [(a.name, a.version) for a in page] == [("a", 2), ("b", 1)]
    rest = await assistants.list_assistants(world.acme, page[-1].assistant_id, 2)
    assert [a.name for a in rest] == ["c"]
    assert await assistants.list_assistants(world.globex, START, 10) == [neighbour]


@pytest.mark.req("CTX-1")
async def test_a_deleted_assistant_leaves_its_name_free(
    world: World, assistants: Assistants, neighbour: AssistantVersion
) -> None:
    first = await assistants.create(world.acme, "analyst", draft())
    await assistants.delete(world.acme, first.assistant_id)
    with pytest.raises(NotFound):
        await assistants.find(world.acme, "analyst")
    again = await assistants.create(world.acme, "analyst", draft())
    assert again.assistant_id != first.assistant_id
    assert (await actions(world))[1] == "assistant.deleted"
    assert await assistants.find(world.globex, "analyst") == neighbour


@pytest.mark.req("CTX-1")
@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("", draft()),
        ("Analyst", draft()),
        ("a b", draft()),
        ("a\n", draft()),
        ("x" * 64, draft()),
        ("fine", draft("x" * 20_001)),
        ("fine", draft("nul \0 byte")),
        ("fine", draft("half \ud800 a pair")),
        ("fine", draft(model="")),
        ("fine", draft(model="m" * 201)),
        ("fine", draft(tools=["drop_tables"])),
        ("fine", draft(settings={"temperature": 3})),
        ("fine", draft(settings={"temperature": True})),
        ("fine", draft(settings={"temperature": float("nan")})),
        ("fine", draft(settings={"max_steps": 1.5})),
        ("fine", draft(settings={"max_output_tokens": 0})),
        ("fine", draft(settings={"tenant_id": "globex"})),
    ],
)
async def test_what_is_not_valid_is_refused_and_nothing_is_written(
    world: World, assistants: Assistants, name: str, wanted: Draft
) -> None:
    with pytest.raises(InvalidRequest):
        await assistants.create(world.acme, name, wanted)
    assert await assistants.list_assistants(world.acme, START, 10) == []
    assert await actions(world) == []


async def test_a_name_no_database_can_hold_is_simply_not_found(
    world: World, assistants: Assistants
) -> None:
    with pytest.raises(NotFound):
        await assistants.find(world.acme, "ana\0lyst")


class BrokenLog:
    """An audit log that cannot be written."""

    async def record(self, event: AuditEvent) -> None:
        raise StoreUnavailable(event.action)


@pytest.mark.req("SEC-4")
async def test_a_change_that_cannot_be_recorded_does_not_happen(
    world: World, assistants: Assistants
) -> None:
    first = await assistants.create(world.acme, "analyst", draft("One."))
    unrecorded = Assistants(world.db, BrokenLog(), TOOLS)
    for attempt in (
        unrecorded.create(world.acme, "other", draft()),
        unrecorded.add_version(world.acme, first.assistant_id, draft("Two.")),
        unrecorded.delete(world.acme, first.assistant_id),
    ):
        with pytest.raises(StoreUnavailable):
            await attempt
    assert await assistants.list_assistants(world.acme, START, 10) == [first]


@pytest.mark.req("SEC-4")
async def test_an_audit_event_names_what_changed_and_holds_no_instructions(
    world: World, assistants: Assistants
) -> None:
    await assistants.create(world.acme, "analyst", draft("The launch is on Friday."))
    (event,) = await world.audit_events(world.acme)
    assert event["actor"] == str(world.acme.actor)
    assert event["detail"] == {"name": "analyst", "version": 1, "model": "keyless"}
    assert "Friday" not in str(event)


async def test_what_is_printed_of_a_version_leaves_its_instructions_out(
    world: World, assistants: Assistants
) -> None:
    made = await assistants.create(world.acme, "analyst", draft("The launch is on Friday."))
    assert "Friday" not in repr(made)
