"""Pauses between tries of something that is away: each twice as long as the one before, up to a longest."""

from __future__ import annotations


class Backoff:
    """Args: first, longest: the first and the longest pause, in seconds."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self.seconds = 0.0
        """The present pause; 0 after a success."""

    def grow(self) -> float:
        """Call after a try that failed. Returns how long to wait before the next one, in seconds."""
        self.seconds = min(max(2 * self.seconds, self._first), self._longest)
        return self.seconds

    def reset(self) -> None:
        """Call after a try that succeeded."""
        self.seconds = 0.0
