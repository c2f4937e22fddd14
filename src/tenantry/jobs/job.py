"""A job as its tenant sees it, and what is asked for when one is enqueued."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

Pool = Literal["tools", "ingest", "analysis", "maintenance"]
State = Literal["waiting", "queued", "running", "paused", "done", "failed", "cancelled"]
POOLS: tuple[Pool, ...] = ("tools", "ingest", "analysis", "maintenance")
"""Each with workers of its own: a queue of documents never stands before anything else."""
STATES: tuple[State, ...] = (
    "waiting", "queued", "running", "paused", "done", "failed", "cancelled"
)  # fmt: skip
FINISHED: frozenset[State] = frozenset({"done", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class NewJob:
    """Work to enqueue.

    Attributes:
        pool: whose workers do it.
        kind: which of the pool's kinds of work it is.
        key: names the work: of two jobs of a kind and key, the second is the first.
        subject: what it is about, such as a document's id; signed into the queue.
        arguments: what else the handler needs.
        content: bytes it works on, kept until it is done.
        cost: estimate in units of about a second; tenants take turns by it.
        audience: who may see it, as of the document that it makes.
    """

    pool: Pool
    kind: str
    key: str
    subject: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    content: bytes | None = field(default=None, repr=False)
    cost: int = 1
    audience: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """A job of one tenant.

    Attributes:
        turn: how often it was put into the queue.
        attempt: number of the newest attempt; an older one cannot write any more.
        tries: attempts since it was enqueued, or retried by hand.
        steps_done: progress, out of `steps_total`; 0 of 0 until it is known.
        error_code: stable code of what stopped the last attempt, empty if nothing did.
        error: the same in words.
    """

    job_id: UUID
    pool: Pool
    kind: str
    subject: str
    arguments: Mapping[str, Any]
    state: State
    turn: int
    attempt: int
    tries: int
    steps_done: int
    steps_total: int
    error_code: str
    error: str
    actor_kind: Literal["member", "operator", "worker"]
    actor_id: UUID
    actor_role: Any
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    audience: int

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Job":
        """The job of a row."""
        return cls(**{f.name: row[f.name] for f in fields(cls)})

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.state in FINISHED
