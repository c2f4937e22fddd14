"""A double of an embedding model, small enough to be understood."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class WordEmbedder:
    """A model's double: a text is the sum of its words, so likeness is shared words."""

    def __init__(self, name: str = "words-1", dimension: int = 256) -> None:
        self.name = name
        self.dimension = dimension

    async def embed_query(self, text: str) -> NDArray[np.float32]:
        vector = np.zeros(self.dimension, dtype=np.float32)
        for word in text.lower().strip("?").split():
            digest = hashlib.sha256(word.encode()).digest()
            vector[int.from_bytes(digest[:4]) % self.dimension] += 1
        return vector / max(float(np.linalg.norm(vector)), 1e-6)

    async def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([await self.embed_query(text) for text in texts])

    def count_tokens(self, text: str) -> int:
        return len(text.split())
