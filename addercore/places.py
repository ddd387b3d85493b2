"""Where values lie in one buffer: those that are not needed at the same time share it."""

from __future__ import annotations

from collections.abc import Sequence


def first_fit(sizes: Sequence[int], written: Sequence[int], last: Sequence[int]) -> tuple[tuple[int, ...], int]:
    """Gives each value the first gap that is wide enough among the values alive beside it.

    A step's target never overlaps what the step reads, so no loop has to care for the order of its writes.

    Args:
        sizes: of each value.
        written: the step that writes each value; −1 for what is there before.
        last: the last step that reads each value, or the one that writes it.

    Returns:
        Where each value begins, and the size of the buffer.
    """
    begins: dict[int, int] = {}
    for value in sorted(range(len(sizes)), key=written.__getitem__):
        beside = sorted(
            (begins[other], begins[other] + sizes[other]) for other in begins if last[other] >= written[value]
        )
        at = 0
        for begin, end in beside:
            if begin - at >= sizes[value]:
                break
            at = max(at, end)
        begins[value] = at
    size = max((begins[value] + sizes[value] for value in begins), default=0)
    return tuple(begins[value] for value in range(len(sizes))), size
