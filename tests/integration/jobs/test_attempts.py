"""One effect, whoever dies, wakes up or changes his mind."""

from typing import Any

import pytest
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.models import Job as Row

from tenantry.core.errors import Conflict, DocumentUnreadable, NotFound, ProviderUnavailable
from tenantry.jobs.attempt import MOST_TRIES, Attempt, AttemptOver, Postponed
from tenantry.jobs.job import Job
from tests.integration.jobs.conftest import Desk, Hand

pytestmark = pytest.mark.req("FAIR-3")


async def _begun(hand: Hand, heartbeat_s: float = 30) -> Attempt:
    row = await hand.pick(heartbeat_s)
    assert row is not None
    attempt = await hand.begin(row)
    assert attempt is not None
    return attempt


async def _state(desk: Desk, job: Job) -> str:
    return (await desk.jobs.get(desk.world.acme, job.job_id)).state


async def test_a_worker_that_wakes_up_late_writes_nothing(desk: Desk) -> None:
    (job,) = await desk.enqueue(desk.world.acme, "k")
    zombie, other = await desk.hand(), await desk.hand()
    row = await zombie.pick()
    assert row is not None
    stopped = await zombie.begin(row)
    assert stopped is not None
    desk.execute("UPDATE tenantry_queue.pgqueuer SET heartbeat = now() - interval '31 s'")
    taken_over = await _begun(other)
    for write in (stopped.note(), stopped.failed(NotFound())):
        with pytest.raises(AttemptOver):
            await write
    with pytest.raises(AttemptOver):
        async with stopped.effect():
            pytest.fail("the fence let it through")
    await zombie.report(row)  # the row is the other's by now, and stays
    assert desk.rows("SELECT queue_manager_id FROM tenantry_queue.pgqueuer") == [(other.id,)]
    async with taken_over.effect():
        pass
    assert await _state(desk, job) == "done"


async def test_a_row_that_a_late_report_removes_while_it_is_picked_is_no_attack(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.enqueue(desk.world.acme, "k")
    library = Queries.dequeue

    async def and_reported(*given: Any) -> list[Row]:
        rows = await library(*given)
        desk.execute("DELETE FROM tenantry_queue.pgqueuer")
        return rows

    monkeypatch.setattr(Queries, "dequeue", and_reported)
    assert await (await desk.hand()).pick() is None


async def test_a_job_that_is_done_is_not_done_again(desk: Desk) -> None:
    await desk.enqueue(desk.world.acme, "k")
    hand = await desk.hand()
    async with (await _begun(hand)).effect():
        pass
    desk.execute("UPDATE tenantry_queue.pgqueuer SET heartbeat = now() - interval '31 s'")
    row = await hand.pick()
    assert row is not None
    assert await hand.begin(row) is None


@pytest.mark.parametrize("wanted", ["cancelled", "paused"])
async def test_an_attempt_under_way_ends_when_its_job_is_stopped(desk: Desk, wanted: str) -> None:
    (job,) = await desk.enqueue(desk.world.acme, "k")
    hand = await desk.hand()
    attempt = await _begun(hand)
    await desk.jobs.bring(desk.world.acme, job.job_id, wanted)  # type: ignore[arg-type]
    with pytest.raises(AttemptOver):
        async with attempt.effect():
            pytest.fail("the fence let it through")
    assert await _state(desk, job) == wanted
    await desk.jobs.bring(desk.world.acme, job.job_id, "waiting")
    async with (await _begun(hand)).effect():  # the first row is there still: this is a new turn
        pass
    assert await _state(desk, job) == "done"


async def test_a_stopped_job_gives_its_place_to_the_next(desk: Desk) -> None:
    jobs = await desk.enqueue(desk.world.acme, *map(str, range(6)))
    states = [(await desk.jobs.get(desk.world.acme, job.job_id)).state for job in jobs]
    assert states == ["queued"] * 4 + ["waiting"] * 2
    await desk.jobs.bring(desk.world.acme, jobs[0].job_id, "cancelled")
    await desk.jobs.bring(desk.world.acme, jobs[1].job_id, "paused")
    assert await _state(desk, jobs[5]) == "queued"


async def test_a_passing_trouble_is_tried_again_and_a_lasting_one_is_not(desk: Desk) -> None:
    first, second = await desk.enqueue(desk.world.acme, "a", "b")
    hand = await desk.hand(2)
    with pytest.raises(Postponed) as pause:
        await (await _begun(hand)).failed_or_postponed(ProviderUnavailable())
    assert pause.value.pause.total_seconds() == 1
    await (await _begun(hand)).failed_or_postponed(DocumentUnreadable("It is broken."))
    assert await _state(desk, first) == "queued"
    failed = await desk.jobs.get(desk.world.acme, second.job_id)
    assert (failed.state, failed.error_code, failed.error) == (
        "failed", "document_unreadable", "It is broken."
    )  # fmt: skip
    dead = await desk.jobs.list_jobs(desk.world.acme, first.job_id, 10, "failed")
    assert [job.job_id for job in dead] == [second.job_id]
    again = await desk.jobs.bring(desk.world.acme, second.job_id, "waiting")
    assert (again.tries, again.error) == (0, "")


async def test_a_job_that_ends_every_worker_fails_with_a_reason(desk: Desk) -> None:
    (job,) = await desk.enqueue(desk.world.acme, "k")
    hand = await desk.hand()
    for _ in range(MOST_TRIES):
        await _begun(hand, heartbeat_s=30)
        desk.execute("UPDATE tenantry_queue.pgqueuer SET heartbeat = now() - interval '31 s'")
    row = await hand.pick()
    assert row is not None
    assert await hand.begin(row) is None
    failed = await desk.jobs.get(desk.world.acme, job.job_id)
    assert (failed.state, failed.error) == ("failed", "The worker ended each time it tried this.")


async def test_a_suspended_tenants_jobs_wait(desk: Desk) -> None:
    (job,) = await desk.enqueue(desk.world.acme, "k")
    desk.execute("UPDATE tenantry.tenants SET status = 'suspended'")
    hand = await desk.hand()
    row = await hand.pick()
    assert row is not None
    with pytest.raises(Postponed):
        await hand.begin(row)
    assert await _state(desk, job) == "queued"


async def test_a_neighbours_job_is_not_there(desk: Desk) -> None:
    (job,) = await desk.enqueue(desk.world.globex, "k")
    for work in (
        desk.jobs.get(desk.world.acme, job.job_id),
        desk.jobs.bring(desk.world.acme, job.job_id, "cancelled"),
        desk.jobs.discard(desk.world.acme, job.job_id),
    ):
        with pytest.raises(NotFound):
            await work
    assert (await desk.jobs.get(desk.world.globex, job.job_id)).state == "queued"


async def test_what_is_done_stays_done(desk: Desk) -> None:
    (job,) = await desk.enqueue(desk.world.acme, "k")
    async with (await _begun(await desk.hand())).effect():
        pass
    with pytest.raises(Conflict):
        await desk.jobs.bring(desk.world.acme, job.job_id, "waiting")
