"""Ranks without processes: threads of one program that exchange tensors through a list."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")


class Table:
    """Where `ranks` threads lay their tensors; each gets all of them in the order of ranks."""

    def __init__(self, ranks: int) -> None:
        self.ranks = ranks
        self._laid: list[Tensor] = [torch.empty(0)] * ranks
        self._barrier = threading.Barrier(ranks)

    def exchange(self, rank: int, values: Tensor) -> list[Tensor]:
        self._laid[rank] = values
        self._barrier.wait(60)
        found = list(self._laid)
        self._barrier.wait(60)
        return found

    def run(self, work: Callable[[int], Result]) -> list[Result]:
        """`work(rank)` of all ranks at once, in their order."""
        results: dict[int, Result] = {}
        errors: list[BaseException] = []

        def one(rank: int) -> None:
            try:
                results[rank] = work(rank)
            except BaseException as error:
                errors.append(error)
                self._barrier.abort()
                raise

        threads = [threading.Thread(target=one, args=(rank,)) for rank in range(self.ranks)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors, errors
        return [results[rank] for rank in range(self.ranks)]


class Seat:
    """A rank at the table, as `addercore.train.exchange.Exchange` is one of processes."""

    def __init__(self, table: Table, rank: int) -> None:
        self._table, self.rank, self.ranks = table, rank, table.ranks
        self.shares: Sequence[int] = (1,)

    def gather(self, values: Tensor) -> Tensor:
        return torch.stack(self._table.exchange(self.rank, values.clone()))

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """One tensor after the other, in the plainest way."""
        for tensor in tensors:
            first, *others = self._table.exchange(self.rank, tensor.clone())
            total = first
            for other in others:
                total = total + other
            tensor.copy_(total)
