"""The GPU kernels' machine code, without a GPU: `python -m benchmarks.gpu_code [--json]`.

The backend's own launches are recorded for real layers, compiled for a target and disassembled. What comes out is
what the code says: registers, spills, and which instructions a pass of the inner loop issues. It is no measurement.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from addercore.ops import Geometry
from addercore.ops.triton import forward, gradient, launch, moments, normalise, sign, tuning
from addercore.ops.triton.language import INTERPRETED

CAPABILITIES = (80, 90)
WARP = 32
REGISTERS = 65536
"""32-bit registers of a multiprocessor, of compute capability 8.0 and 9.0 alike."""
MOST_WARPS = 64
KERNELS = {
    forward: ("forward_kernel", "merge_kernel"),
    gradient: ("grad_input_kernel", "sum_filters_kernel", "add_splits_kernel"),
    moments: (
        "merge_moments_kernel", "normalize_kernel", "backward_sums_kernel", "merge_sums_kernel", "backward_kernel",
    ),
    sign: ("grad_sign_kernel",),
}  # fmt: skip


@dataclass(frozen=True)
class Launch:
    """One call of a kernel: its function, its arguments by name, and the compiler's options."""

    kernel: Any
    arguments: dict[str, Any]
    options: dict[str, Any]


class _Recorder:
    """Stands in for a kernel: keeps what it is called with and launches nothing."""

    def __init__(self, kernel: Any, kept: list[Launch]) -> None:
        self.kernel, self.kept = kernel, kept

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def record(*positional: Any, **named: Any) -> None:
            names = self.kernel.arg_names
            given = dict(zip(names, positional, strict=False)) | {n: named[n] for n in names if n in named}
            options = {name: value for name, value in named.items() if name not in names}
            self.kept.append(Launch(self.kernel, given, options))

        return record


@contextmanager
def recording(tile: tuning.Tile | None = None) -> Iterator[list[Launch]]:
    """Launches made inside, none of which runs; `tile` instead of the fixed one."""
    kept: list[Launch] = []
    patches: list[Any] = [
        patch.object(module, name, _Recorder(getattr(module, name), kept))
        for module, names in KERNELS.items()
        for name in names
    ]
    if tile is not None:
        patches.append(patch.object(tuning, "choose", lambda *_: tile))
    for one in patches:
        one.start()
    try:
        yield kept
    finally:
        for one in patches:
            one.stop()


def source(launched: Launch) -> Any:
    """What the compiler gets: types, constants (1 is one, as at run time) and what is divisible by 16."""
    from triton.compiler import ASTSource
    from triton.experimental.gluon._runtime import GluonASTSource

    signature, constants, attributes = {}, {}, {}
    for position, name in enumerate(launched.kernel.arg_names):
        value = launched.arguments[name]
        if launched.kernel.params[position].is_constexpr or (isinstance(value, int) and value == 1):
            signature[name], constants[name] = "constexpr", value
        elif isinstance(value, Tensor):
            signature[name] = "*i32" if value.dtype == torch.int32 else "*fp32"
            attributes[(position,)] = [["tt.divisibility", 16]]
        elif isinstance(value, float):
            signature[name] = "fp32"
        else:
            signature[name] = "i32" if value < launch.INT32 else "i64"
            if value % 16 == 0:
                attributes[(position,)] = [["tt.divisibility", 16]]
    make = GluonASTSource if launched.kernel.is_gluon() else ASTSource
    return make(fn=launched.kernel, signature=signature, constexprs=constants, attrs=attributes)


@dataclass(frozen=True)
class Code:
    """Of one compiled kernel; `loop` counts the instructions of its innermost busy loop, by opcode."""

    kernel: str
    what: str
    capability: int
    warps: int
    registers: int
    stack: int  # bytes of local memory a thread
    spills: int  # loads and stores of local memory
    shared: int  # bytes a program
    loop: dict[str, int]

    @property
    def length(self) -> int:
        return sum(self.loop.values())

    def share(self, *opcodes: str) -> float:
        """Of the loop's instructions."""
        return sum(self.loop.get(opcode, 0) for opcode in opcodes) / max(1, self.length)

    @property
    def resident_warps(self) -> int:
        """Warps of a multiprocessor that its registers have room for."""
        each = -(-self.registers // 8) * 8 * WARP * self.warps
        return min(MOST_WARPS // self.warps, REGISTERS // each) * self.warps


def compiled(launched: Launch, capability: int, what: str = "") -> Code:
    import triton
    from triton.backends.compiler import GPUTarget

    options = launched.options
    built = triton.compile(source(launched), target=GPUTarget("cuda", capability, WARP), options=options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as cubin:
        cubin.write(built.asm["cubin"])
        cubin.flush()
        sass, usage = (_disassembled(Path(cubin.name), flag) for flag in ("-sass", "-res-usage"))
    used = {name: int(number) for name, number in re.findall(r"\b(REG|STACK|LOCAL):(\d+)", usage)}
    instructions = parsed(sass)
    local = sum(text.split()[0].startswith(("LDL", "STL")) for _, text in instructions)
    return Code(
        launched.kernel.__name__, what, capability, built.metadata.num_warps, used["REG"],
        used["STACK"] + used["LOCAL"], local, built.metadata.shared, dict(busiest_loop(instructions).most_common()),
    )  # fmt: skip


def _disassembled(cubin: Path, flag: str) -> str:
    import triton

    tool = triton.knobs.nvidia.cuobjdump.path
    return subprocess.run([tool, flag, str(cubin)], check=True, capture_output=True, text=True).stdout


def parsed(sass: str) -> list[tuple[int, str]]:
    """(address, instruction without its predicate) of every instruction."""
    lines = re.findall(r"^\s+/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?(\S.*?)\s*;", sass, re.MULTILINE)
    return [(int(address, 16), text) for address, text in lines]


def opcode(text: str) -> str:
    return text.split()[0]


def busiest_loop(instructions: list[tuple[int, str]]) -> Counter[str]:
    """The opcodes between a backward branch and its target, of the loop with the most single-precision arithmetic."""
    best: Counter[str] = Counter()
    for address, text in instructions:
        target = re.search(r"^BRA\b.*\b0x([0-9a-f]+)", text)
        if target and int(target[1], 16) < address:
            body = Counter(opcode(inner) for at, inner in instructions if int(target[1], 16) <= at <= address)
            best = max(best, body, key=arithmetic)
    return best


def arithmetic(counts: Counter[str]) -> int:
    return sum(number for name, number in counts.items() if name.partition(".")[0] in ("FADD", "FFMA", "FMUL", "FSEL"))


# --- what is looked at


def _layer(images: int, channels: int, side: int, filters: int, kernel: int = 3) -> tuple[Tensor, Tensor, Geometry]:
    padding = kernel // 2
    x, weight = torch.empty(images, channels, side, side), torch.empty(filters, channels, kernel, kernel)
    return x, weight, Geometry((1, 1), (padding, padding))


def forward_launches(tile: tuning.Tile, mode: str) -> list[Launch]:
    """Of a layer of ResNet-18, batch 8 and 128 channels on 28 × 28, or a merged one of 512 on 7 × 7."""
    x, weight, geometry = _layer(128, 128, 28, 128) if mode != "raw" else _layer(8, 512, 7, 512)
    if mode == "flat":
        x, weight, geometry = _layer(128, 3, 32, 128)
    channel, y = torch.empty(weight.shape[0]), torch.empty(x.shape[0], weight.shape[0], *x.shape[2:])
    epilogue = {
        "affine": launch.affine(channel, channel, y, True), "moments": launch.MOMENTS,
    }.get(mode, launch.PLAIN)  # fmt: skip
    with recording(tile) as kept:
        launch.run_forward(x, weight, geometry, epilogue)
    return kept


def gradient_launches(tile: tuning.Tile) -> list[Launch]:
    x, weight, geometry = _layer(128, 128, 28, 128)
    with recording(tile) as kept:
        launch.run_grad_input(torch.empty_like(x), x, weight, geometry)
    return kept


def other_launches() -> list[Launch]:
    """Every kernel that the two loops above do not cover."""
    x, weight, geometry = _layer(8, 512, 7, 512)
    channel = torch.empty(512)
    with recording() as kept:
        launch.run_forward(x, weight, geometry, launch.affine(channel, channel, x, True))
        launch.run_grad_input(x, x, weight, geometry)
        launch.run_grad_sign(x, x, weight, geometry)
        launch.merged_moments(torch.empty(512, 4), torch.empty(512, 4), 392)
        normalise.run_normalize(x, channel, channel, x, True)
        normalise.run_normalize_backward(x, x, x, channel, channel, channel)
    return kept


def fixed(capability: int) -> Iterator[Code]:
    """What runs on 64 filters and more where nothing is measured, in every mode, and each other kernel once."""
    tile = tuning.fixed(tuning.FORWARD, tuning.NOMINAL_ROWS)
    for mode in ("plain", "moments", "affine", "flat", "raw"):
        yield compiled(forward_launches(tile, mode)[0], capability, f"{mode} {_text(tile)}")
    tile = tuning.fixed(tuning.GRADIENT, tuning.NOMINAL_ROWS)
    yield compiled(next(one for one in gradient_launches(tile) if "BC" in one.arguments), capability, _text(tile))
    for launched in other_launches():
        if launched.kernel not in (forward.forward_kernel, gradient.grad_input_kernel):
            yield compiled(launched, capability)
    yield compiled(ceiling_launch(), capability, "registers only")


def ceiling_launch() -> Launch:
    """The kernel that benchmarks.gpu measures the FADD ceiling with."""
    from benchmarks import gpu

    arguments = {"out": torch.empty(1), "w": 0.5, "rounds": gpu.FADD_ROUNDS}
    constants = {"BLOCK": gpu.FADD_BLOCK, "UNROLL": gpu.FADD_UNROLL}
    return Launch(gpu.fadd_kernel, arguments | constants, {"num_warps": gpu.FADD_WARPS, "enable_fp_fusion": False})


def tuned(capability: int) -> Iterator[Code]:
    """Every tile among which a GPU chooses."""
    for tile in tuning.FORWARD:
        for mode in ("plain", "moments", "affine"):
            yield compiled(forward_launches(tile, mode)[0], capability, f"{mode} {_text(tile)}")
    for tile in tuning.GRADIENT:
        launched = next(one for one in gradient_launches(tile) if "BC" in one.arguments)
        yield compiled(launched, capability, _text(tile))


def _text(tile: tuning.Tile) -> str:
    return f"{tile.rows}x128x{tile.depth} {2 * tile.warps}w"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one object a line")
    parser.add_argument("--fixed", action="store_true", help="only what runs where nothing is measured")
    arguments = parser.parse_args()
    if INTERPRETED:
        sys.exit("TRITON_INTERPRET=1 compiles nothing; unset it")
    for code in (
        code for way in ([fixed] if arguments.fixed else [fixed, tuned]) for c in CAPABILITIES for code in way(c)
    ):
        if arguments.json:
            print(json.dumps(asdict(code)), flush=True)
            continue
        mix = ", ".join(f"{number} {name}" for name, number in list(code.loop.items())[:8])
        print(
            f"sm_{code.capability} {code.kernel:22} {code.what:22} {code.registers:3} registers {code.spills} spills "
            f"{code.resident_warps:2} warps, loop {code.length}: "
            f"{100 * code.share('FADD', 'FADD.SAT', 'FFMA'):.0f} % arithmetic: {mix}",
            flush=True,
        )


if __name__ == "__main__":
    main()
