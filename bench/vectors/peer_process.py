"""A process that keeps tenants' vectors in LanceDB or Chroma, and takes the time of each call.

Runs in a virtual environment that holds the product and nothing of ours. A request a line on
standard input, `{"do": "add" | "ask" | "remove", "tenant": 7, "vectors": base64 of float32}`; an
answer a line.
"""

import base64
import json
import sys
import time
from importlib import import_module
from typing import Any, Protocol

import numpy as np

_DIMENSION, _TOP, _BATCH = 384, 10, 5000


class Store(Protocol):
    """One collection a tenant."""

    def add(self, name: str, vectors: Any) -> None:
        """Make a collection of numbered vectors."""

    def ask(self, name: str, vector: Any) -> list[int]:
        """The numbers of the nearest ten, by cosine distance."""

    def remove(self, name: str) -> None:
        """Drop a collection."""


class Lance:
    """LanceDB: a table a tenant, compared exactly, as its documentation advises at these sizes."""

    def __init__(self, home: str) -> None:
        self._db = import_module("lancedb").connect(home)
        self._open: dict[str, Any] = {}

    def add(self, name: str, vectors: Any) -> None:
        """A table of all rows at once."""
        rows = [{"n": n, "vector": vector} for n, vector in enumerate(vectors)]
        self._open[name] = self._db.create_table(name, rows)

    def ask(self, name: str, vector: Any) -> list[int]:
        """The nearest ten."""
        query = (
            self._open[name]
            .search(vector)
            .distance_type("cosine")
            .select(["n", "_distance"])
            .limit(_TOP)
        )
        numbers: list[int] = query.to_arrow()["n"].to_pylist()
        return numbers

    def remove(self, name: str) -> None:
        """Drop the table."""
        self._db.drop_table(name)
        del self._open[name]


class Chroma:
    """Chroma: a collection a tenant, each with an HNSW index of the default settings."""

    def __init__(self, home: str) -> None:
        self._client = import_module("chromadb").PersistentClient(path=home)
        self._open: dict[str, Any] = {}

    def add(self, name: str, vectors: Any) -> None:
        """A collection, filled in the largest batches that it takes."""
        made = self._client.create_collection(name, metadata={"hnsw:space": "cosine"})
        for start in range(0, len(vectors), _BATCH):
            batch = vectors[start : start + _BATCH]
            made.add(ids=[str(start + n) for n in range(len(batch))], embeddings=batch)
        self._open[name] = made

    def ask(self, name: str, vector: Any) -> list[int]:
        """The nearest ten."""
        found = self._open[name].query(
            query_embeddings=[vector], n_results=_TOP, include=["distances"]
        )
        return [int(each) for each in found["ids"][0]]

    def remove(self, name: str) -> None:
        """Drop the collection."""
        self._client.delete_collection(name)
        del self._open[name]


def main(package: str, home: str) -> None:
    """Answer until standard input ends."""
    store: Store = Lance(home) if package == "lancedb" else Chroma(home)
    for line in sys.stdin:
        request = json.loads(line)
        name = f"tenant-{request['tenant']:08}"
        sent = np.frombuffer(base64.b64decode(request["vectors"]), dtype=np.float32)
        vectors = sent.reshape(-1, _DIMENSION)
        numbers: list[int] = []
        began = time.perf_counter()
        if request["do"] == "add":
            store.add(name, vectors)
        elif request["do"] == "ask":
            numbers = store.ask(name, vectors[0])
        else:
            store.remove(name)
        took = time.perf_counter() - began
        print(json.dumps({"s": took, "numbers": numbers}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
