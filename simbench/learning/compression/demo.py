"""DeMo: the fast components of the momentum, by a cosine transform."""

import functools
import math
from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from simbench.learning.compressor import Compression, Layout, Payload, Turn


class _Grid(NamedTuple):
    """How a tensor is cut: chunks down and across, and rows and columns of a chunk."""

    down: int
    across: int
    rows: int
    columns: int


class DeMo(Compression):
    """The ``k`` largest cosine components of every chunk of the momentum; the rest stays in it.

    On each node m <- decay m + x. A matrix is cut into chunks, whose sides are the largest divisors
    of its own up to ``chunk_size``, and a vector along its only one. Each goes through an
    orthonormal DCT-II, and of its components the k largest are sent, and taken out of m. So this is
    error feedback in which what is kept fades by ``decay``. Places within a chunk take 2 bytes.

    Source:
        Peng, Quesnelle, Kingma, "DeMo: Decoupled Momentum Optimization", 2024, arXiv:2411.19870,
        algorithm 1 and section 3; defaults are those of the authors' code. There a component is
        averaged over those nodes that have sent it, here over all.
    """

    kind: Literal["demo"] = "demo"
    error_feedback: bool = True
    """Whether there is a momentum; without one, x itself is sent in part and the rest is lost."""
    chunk_size: int = Field(default=64, ge=1, le=128)
    """s, the longest side of a chunk."""
    k: PositiveInt = 32
    """Components that are sent of each chunk, or all that it has."""
    decay: float = Field(default=0.999, ge=0, le=1)
    """beta, what stays of the momentum from one time to the next."""
    sign: bool = False
    """Whether all go on with the sign of the mean, the paper's variant for language models."""

    reads_tensors: ClassVar[bool] = True

    @property
    def residual_weight(self) -> float:
        """The momentum's decay."""
        return self.decay

    @property
    def takes_sign(self) -> bool:
        """If asked."""
        return self.sign

    def _grids(self, layout: Layout) -> list[_Grid]:
        grids = []
        for shape in layout.shapes:
            # Without an axis it has one entry.
            height, width = layout.matrix(shape) or (1, math.prod(shape))
            rows, columns = self._side(height), self._side(width)
            grids.append(_Grid(height // rows, width // columns, rows, columns))
        return grids

    def _side(self, length: int) -> int:
        """Return the largest divisor of ``length`` up to ``chunk_size``."""
        return next(c for c in range(min(self.chunk_size, length), 0, -1) if length % c == 0)

    def _kept(self, grid: _Grid) -> int:
        return min(self.k, grid.rows * grid.columns)

    def payload_bytes(self, layout: Layout) -> int:
        """Return the components of all chunks, and as many places of 2 bytes."""
        count = sum(grid.down * grid.across * self._kept(grid) for grid in self._grids(layout))
        return count * (layout.dtype.itemsize + 2)

    def encode(self, vector: Tensor, layout: Layout, turn: Turn) -> Payload:
        """Return components, and places within their chunk, int16."""
        components, places = [], []
        for grid, flat in zip(self._grids(layout), layout.tensors(vector), strict=True):
            chunks = flat.view(grid.down, grid.rows, grid.across, grid.columns).transpose(1, 2)
            left, right = _cosines(grid.rows).to(vector), _cosines(grid.columns).to(vector)
            spectrum = (left @ chunks @ right.T).reshape(grid.down * grid.across, -1)
            top = spectrum.abs().topk(self._kept(grid), sorted=False).indices.sort().values
            components.append(spectrum.gather(1, top).flatten())
            places.append(top.to(torch.int16).flatten())
        return torch.cat(components), torch.cat(places)

    def decode(self, payload: Payload, layout: Layout) -> Tensor:
        """Return the inverse transform of what was sent, 0 being in the other places."""
        components, places = payload
        grids = self._grids(layout)
        counts = [grid.down * grid.across * self._kept(grid) for grid in grids]
        tensors = []
        for grid, values, where in zip(
            grids, components.split(counts), places.split(counts), strict=True
        ):
            num_chunks = grid.down * grid.across
            spectrum = components.new_zeros(num_chunks, grid.rows * grid.columns)
            spectrum.scatter_(1, where.view(num_chunks, -1).long(), values.view(num_chunks, -1))
            left, right = _cosines(grid.rows).to(components), _cosines(grid.columns).to(components)
            chunks = left.T @ spectrum.view(grid.down, grid.across, grid.rows, -1) @ right
            tensors.append(chunks.transpose(1, 2).flatten())
        return torch.cat(tensors)


@functools.cache
def _cosines(n: int) -> Tensor:
    """Return the orthonormal DCT-II of n points as a matrix (n, n), float64."""
    index = torch.arange(n, dtype=torch.float64)
    matrix = torch.cos(math.pi / n * (index + 0.5) * index[:, None]) * math.sqrt(2 / n)
    matrix[0] /= math.sqrt(2)
    return matrix
