"""Randomness for a whole batch: one generator, one row per sample."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class BatchDice:
    """Draws for `count` samples, all from one generator and on its device."""

    generator: torch.Generator
    count: int

    @property
    def device(self) -> torch.device:
        """Where everything drawn lives."""
        return self.generator.device

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """(count, *shape) from low to high."""
        draws = torch.rand(self.count, *shape, generator=self.generator, device=self.device)
        return low + (high - low) * draws

    def log_uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """(count, *shape) whose logarithm is uniform."""
        return self.uniform(math.log(low), math.log(high), *shape).exp()

    def normal(self, *shape: int) -> Tensor:
        """(count, *shape) of mean 0 and variance 1."""
        return torch.randn(self.count, *shape, generator=self.generator, device=self.device)

    def chance(self, share: float, *shape: int) -> Tensor:
        """(count, *shape) bool, true for about `share` of them."""
        return self.uniform(0, 1, *shape) < share

    def some(
        self, share: float, batch: Tensor, change: Callable[[Tensor, BatchDice], Tensor]
    ) -> Tensor:
        """`batch`, of which `change` altered a random share; it rolls dice of that many rows."""
        return self.where(self.chance(share), batch, change)

    def where(
        self, chosen: Tensor, batch: Tensor, change: Callable[[Tensor, BatchDice], Tensor]
    ) -> Tensor:
        """`batch`, of which `change` altered the chosen rows, (count,) bool."""
        rows = chosen.nonzero()[:, 0]
        if not len(rows):
            return batch
        changed = change(batch[rows], BatchDice(self.generator, len(rows)))
        return batch.index_copy(0, rows, changed)


def per_pixel(values: Tensor) -> Tensor:
    """(n,) → (n, 1, 1, 1), to scale images with."""
    return values[:, None, None, None]
