"""How fast a run trains: images and seconds of training steps, without validations, checkpoints and waiting."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any


class Pace:
    """Counts training steps, their images, and the seconds that they took.

    The clock runs only inside `running`. A *lap* is the stretch between two readings of `lap`; it is part of a
    checkpoint (`state_dict`), so that after a resume its images and its seconds still belong to the same steps.
    `seconds`, `images` and `steps` count from the start of this process.
    """

    def __init__(self) -> None:
        self.seconds, self.images, self.steps = 0.0, 0, 0
        self._lap_seconds, self._lap_images = 0.0, 0
        self._read_at = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """The clock runs in this block, also if it raises."""
        self._read_at = monotonic()
        try:
            yield
        finally:
            self._read()

    def _read(self) -> None:
        """Adds the time since the last reading; only while the clock runs."""
        now = monotonic()
        self.seconds += now - self._read_at
        self._lap_seconds += now - self._read_at
        self._read_at = now

    def count(self, images: int) -> None:
        """One step over `images` images has been done; called while the clock runs."""
        self._read()
        self.images += images
        self.steps += 1
        self._lap_images += images

    def lap(self) -> float | None:
        """Images per second since the last call; None if no time was measured. Begins a new lap."""
        rate = self._lap_images / self._lap_seconds if self._lap_images and self._lap_seconds > 0 else None
        self._lap_seconds, self._lap_images = 0.0, 0
        return rate

    def images_per_second(self) -> float | None:
        """Over all steps of this process; None before the first one."""
        return self.images / self.seconds if self.images and self.seconds > 0 else None

    def seconds_for(self, steps: int) -> float | None:
        """How long `steps` more steps will take at the pace of this process; None before the first one."""
        return steps * self.seconds / self.steps if self.steps and self.seconds > 0 else None

    def state_dict(self) -> dict[str, Any]:
        return {"images": self._lap_images, "seconds": self._lap_seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._lap_images, self._lap_seconds = state["images"], state["seconds"]
