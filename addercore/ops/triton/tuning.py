"""Block sizes: which follow from the shapes alone, and which a GPU's clock may choose.

Whatever changes the order of a summation follows from shapes: positions a program (they bound a tile's moments) and
splits of a sum. What is left to tuning changes no bit: rows a program, terms a step, warps along the rows.
"""

import os
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import Final

import torch

ENVIRONMENT: Final = "ADDER_TRITON_TUNE"
"""Set to 0: no measuring, each kernel runs its fixed tile."""
UNIT: Final = 16
"""Terms by which a sum is cut into splits; a multiple of every tile's depth."""
MULTIPROCESSORS: Final = 132
"""Of an H200, for which sums are split; a constant, so that a shape has the same bits on every GPU."""
LEAST_WAVES: Final = 2
"""Programs a multiprocessor, about, below which nothing would hide the wait for memory."""
UNITS_LEAST: Final = 8
"""Units below which a split is not worth its second pass."""
MERGE_TERMS: Final = 33
"""What a partial sum costs, in terms: 8 bytes written and read at 4 TB/s against 16.7 T terms/s, by data sheet."""
NOMINAL_ROWS: Final = 64
REPEATS: Final = 5


@dataclass(frozen=True, slots=True)
class Tile:
    """`rows` (filters or channels) a program, `depth` terms a step, `warps` along the rows; 64 positions a warp."""

    rows: int
    depth: int
    warps: int


FORWARD: Final = (
    Tile(16, 16, 1),
    Tile(32, 16, 1),
    Tile(32, 8, 2),
    Tile(64, 16, 2),
    Tile(64, 8, 2),
    Tile(64, 8, 4),
    Tile(128, 8, 4),
    Tile(128, 16, 4),
)
GRADIENT: Final = (
    Tile(16, 16, 1),
    Tile(32, 8, 1),
    Tile(32, 8, 2),
    Tile(64, 8, 2),
    Tile(64, 16, 2),
    Tile(64, 8, 4),
    Tile(128, 8, 4),
)

_chosen: dict[Hashable, Tile] = {}


def positions(total: int) -> int:
    """Positions a program: 128, or 64 where 128 would leave more than a sixteenth of the last column of tiles empty."""
    return 64 if -total % 128 > total // 16 else 128


def splits(tiles: int, units: int) -> tuple[int, int]:
    """(splits, units a split) of a sum of `units` units when `tiles` programs of nominal size share the outputs.

    The number with the best estimate of how busy the multiprocessors are: a last round of programs that is partly
    empty costs as much as a full one, and partial sums cost their traffic.
    """
    tiles = max(1, tiles)
    most = max(1, units // UNITS_LEAST)
    least = min(most, max(1, round(LEAST_WAVES * MULTIPROCESSORS / tiles)))
    wanted = max(range(least, min(most, 4 * least) + 1), key=lambda count: _busy(tiles * count, count, units))
    each = -(-units // wanted)
    return max(1, -(-units // max(1, each))), each


def _busy(programs: int, count: int, units: int) -> float:
    rounds = -(-programs // MULTIPROCESSORS)
    partial = MERGE_TERMS * count if count > 1 else 0
    return programs / (rounds * MULTIPROCESSORS) / (1 + partial / (units * UNIT))


def usable(tiles: Iterable[Tile], rows: int) -> list[Tile]:
    """Those that are no taller than `rows` filled up to the next height; at least one."""
    found = [tile for tile in tiles if tile.rows < 2 * rows]
    return found or [next(iter(tiles))]


def fixed(tiles: Iterable[Tile], rows: int) -> Tile:
    """Without measuring: the first one of the greatest usable height up to the nominal one."""
    found = usable(tiles, rows)
    height = max(tile.rows for tile in found if tile.rows <= NOMINAL_ROWS)
    return next(tile for tile in found if tile.rows == height)


@cache
def measuring() -> bool:
    return os.environ.get(ENVIRONMENT, "1") != "0"


def choose(
    key: Hashable, tiles: Iterable[Tile], rows: int, device: torch.device, run: Callable[[Tile], object]
) -> Tile:
    """The fastest tile for `key` (kernel, device and shapes), measured once a process; off a GPU the fixed one.

    Nothing is measured while a CUDA graph is captured. All tiles give the same bits, so that timing noise does not.
    """
    if device.type != "cuda" or not measuring():
        return fixed(tiles, rows)
    if key not in _chosen:
        if torch.cuda.is_current_stream_capturing():
            return fixed(tiles, rows)
        _chosen[key] = min(usable(tiles, rows), key=lambda tile: _milliseconds(lambda: run(tile)))
    return _chosen[key]


def _milliseconds(run: Callable[[], object]) -> float:
    """Median time of a launch, on the GPU's own clock; the first launch compiles and is not counted."""
    run()
    times: list[float] = []
    for _ in range(REPEATS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return median(times)
