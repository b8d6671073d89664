"""PowerSGD: every matrix as a product of two thin ones, by a step of power iteration."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from pydantic import PositiveInt
from torch import Tensor

from simbench.learning.compressor import Layout, Summable, Turn


class PowerSGD(Summable):
    """A matrix M (n x m) becomes P Q^T of rank r, with r (n + m) numbers on the wire.

    P <- mean of M Q, whose columns are made orthonormal; then Q <- mean of M^T P. Both are
    linear in M, so they are all-reduced, one after the other; Q is where the next time starts. A
    convolution's o x i x k x k tensor is a matrix o x i*k*k; vectors are sent as they are, with Q.

    What is fed back is M - P (own Q)^T. The paper's is M - P (mean Q)^T: what nodes keep then
    differs by amounts whose mean is 0, so that the means, and all that is decoded, are the same.

    Source:
        Vogels, Karimireddy, Jaggi, "PowerSGD: Practical Low-Rank Gradient Compression for
        Distributed Optimization", NeurIPS 2019, arXiv:1905.13727, algorithms 1 and 2.
    """

    kind: Literal["powersgd"] = "powersgd"
    error_feedback: bool = True
    """Whether what isn't sent is kept, and added to the next vector."""
    rank: PositiveInt = 2
    """r, or less where a matrix has fewer rows or columns."""
    warm_start: bool = True
    """Whether the last Q is where the next time starts; else it is drawn anew."""

    @property
    def draws(self) -> bool:
        """All the same, in each turn anew, without a warm start."""
        return not self.warm_start

    @property
    def remembers(self) -> bool:
        """Q, with a warm start."""
        return self.warm_start

    def _thin(self, layout: Layout) -> list[tuple[int, int, int]]:
        """Return rows, columns and rank of each matrix."""
        matrices = filter(None, map(layout.matrix, layout.shapes))
        return [(n, m, min(n, m, self.rank)) for n, m in matrices]

    def part_bytes(self, layout: Layout) -> tuple[int, ...]:
        """Return the bytes of all P, and of all Q with the vectors; without P if there is none."""
        thin = self._thin(layout)
        vectors = layout.length - sum(n * m for n, m, _ in thin)
        sizes = [sum(n * r for n, _, r in thin), sum(m * r for _, m, r in thin) + vectors]
        return tuple(size * layout.dtype.itemsize for size in sizes[not thin :])

    def part(self, vector: Tensor, layout: Layout, turn: Turn, parts: Sequence[Tensor]) -> Tensor:
        """Return all P, one behind the other; given those, all Q and the vectors."""
        matrices, vectors = _separate(vector, layout)
        thin = self._thin(layout)
        if not thin:
            return torch.cat(vectors)
        if not parts:
            starts = self._start(layout, turn).to(vector)
            return _flat(m @ q for m, q in zip(matrices, _cut(starts, thin, 1), strict=True))
        bases = _bases(parts[0], thin)
        return _flat([*(m.T @ p for m, p in zip(matrices, bases, strict=True)), *vectors])

    def join(self, parts: Sequence[Tensor], layout: Layout, step: int) -> Tensor:
        """Return all P Q^T, and the vectors, in their places."""
        thin = self._thin(layout)
        num_thin = sum(m * r for _, m, r in thin)
        bases = _bases(parts[0], thin) if thin else []
        rights = _cut(parts[-1][:num_thin], thin, 1)
        products = iter(p @ q.T for p, q in zip(bases, rights, strict=True))
        sizes = [math.prod(shape) for shape in layout.shapes if layout.matrix(shape) is None]
        vectors = iter(torch.split(parts[-1][num_thin:], sizes))
        return _flat(
            next(vectors) if layout.matrix(shape) is None else next(products)
            for shape in layout.shapes
        )

    def _start(self, layout: Layout, turn: Turn) -> Tensor:
        """Return all Q to start from, one behind the other."""
        if turn.before is not None:
            return turn.before
        size = sum(m * r for _, m, r in self._thin(layout))
        drawn: np.ndarray[tuple[int], np.dtype[np.float64]]
        drawn = layout.draw("powersgd", 0, turn.step).standard_normal(size)
        return torch.from_numpy(drawn)


def _separate(vector: Tensor, layout: Layout) -> tuple[list[Tensor], list[Tensor]]:
    """Return the matrices in ``vector``, and its vectors."""
    matrices, vectors = [], []
    for shape, flat in zip(layout.shapes, layout.tensors(vector), strict=True):
        form = layout.matrix(shape)
        if form is None:
            vectors.append(flat)
        else:
            matrices.append(flat.view(form))
    return matrices, vectors


def _cut(flat: Tensor, thin: Sequence[tuple[int, int, int]], side: int) -> list[Tensor]:
    """Return the thin matrices in ``flat``: P of ``side`` 0, Q of ``side`` 1."""
    edges = np.cumsum([0, *(each[side] * each[2] for each in thin)])
    return [
        flat[begin:end].view(each[side], each[2])
        for (begin, end), each in zip(pairwise(edges), thin, strict=True)
    ]


def _bases(flat: Tensor, thin: Sequence[tuple[int, int, int]]) -> list[Tensor]:
    """Return P with orthonormal columns, also where those of P depend on each other."""
    return [torch.linalg.qr(p).Q for p in _cut(flat, thin, 0)]


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([each.flatten() for each in tensors])
