"""Bounded things of which many clients take a part: connections, streams, predictions, memory for bodies."""

from __future__ import annotations

import threading
from collections import Counter

from fastapi import Request


class Exhausted(Exception):
    """There is no more. `of_client` says whether the client alone has taken too much."""

    def __init__(self, most: int, *, of_client: bool) -> None:
        super().__init__(most)
        self.most = most
        self.of_client = of_client


class Shares:
    """How much of one thing is in use, in all and by each client. Threads may share it.

    Args:
        most: how much there is.
        most_of_one: how much one client address may have; None: all of it.
    """

    def __init__(self, most: int, most_of_one: int | None = None) -> None:
        self.most = most
        self.most_of_one = most if most_of_one is None else most_of_one
        self._used = 0
        self._by_client: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        return self._used

    def used_by(self, client: str) -> int:
        """How much a client has."""
        return self._by_client.get(client, 0)

    def take(self, client: str | None, amount: int = 1, most: int | None = None) -> None:
        """Takes a part for a client, to be given back with the same client and amount.

        Args:
            client: its address; None for one to whom the limit of one client does not apply.
            amount: how much.
            most: how much this client may have, where that is not what any may.

        Raises:
            Exhausted: nothing was taken.
        """
        with self._lock:
            most_of_one = self.most_of_one if most is None else most
            if client is not None and self._by_client.get(client, 0) + amount > most_of_one:
                raise Exhausted(most_of_one, of_client=True)
            if self._used + amount > self.most:
                raise Exhausted(self.most, of_client=False)
            self._used += amount
            if client is not None:
                self._by_client[client] += amount

    def give_back(self, client: str | None, amount: int = 1) -> None:
        """Gives back what `take` took."""
        with self._lock:
            self._used -= amount
            if client is not None:
                self._by_client[client] -= amount
                if self._by_client[client] <= 0:  # addresses that are gone leave nothing behind
                    del self._by_client[client]


def client_of(request: Request) -> str | None:
    """The client's address as limits count it; None where there is none, as on a unix socket."""
    return None if request.client is None else request.client.host
