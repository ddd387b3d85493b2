"""An integer model as one header of C99: its weights, and a function from pixels to scores."""

from __future__ import annotations

from typing import Final

from addercore.arch.manifest import MOST_C_WEIGHTS
from addercore.errors import expect
from addercore.export.c_operations import Function
from addercore.export.c_text import array, checked_name, comment, name_from, string
from addercore.export.factors import are_powers, factors_of, multiplications
from addercore.export.memory import Places, placed, reads
from addercore.runtime.checks import check
from addercore.runtime.program import OF_MODEL, SCORES, Adder, Dot, MaxPool, Op, Program, Shape
from addercore.version import __version__

_CODE: Final = """\
/* From a total to a code. Negative totals, which C99 does not say how to shift, have the code 0. */
static uint8_t {name}_code(int64_t total, int32_t shift, int32_t top) {{
    const int64_t rounded = total + ((int64_t)1 << (shift - 1));
    if (rounded < 0) return 0;
    return (uint8_t)(rounded >> shift > top ? top : rounded >> shift);
}}
"""
_SHIFTED: Final = """\
/* value * 2^k where power is k + 1, value * -2^k where power is -(k + 1), and 0 where power is 0. */
static int64_t {name}_shifted(int64_t value, int32_t power) {{
    const int64_t size = value < 0 ? -value : value;
    const int64_t moved = power == 0 ? 0 : size << ((power < 0 ? -power : power) - 1);
    return (value < 0) != (power < 0) ? -moved : moved;
}}
"""


def c_source(program: Program, name: str | None = None) -> str:
    """One self-contained header of C99 for an integer model (docs/export.md).

    It needs `stdint.h` alone, allocates nothing and has `void NAME_run(const uint8_t *pixels, float *scores)`, whose
    scores are those of `addercore.runtime`, bit for bit. Equal programs give equal text.

    Args:
        program: the network.
        name: begins all names; the architecture's where None.

    Raises:
        ValueError: more than 4 MiB of weights, an inconsistent program, or a name that C does not take.
    """
    expect("program", program, Program, OF_MODEL)
    check(program)
    weights = sum(one.weights.size for one in program.operations if isinstance(one, Adder | Dot))
    if weights > MOST_C_WEIGHTS:
        raise ValueError(
            f"the model has {weights:,} bytes of weights, and C source is written for at most {MOST_C_WEIGHTS:,}: "
            "use model.adder and the library behind adder_run.h"
        )
    network = program.manifest.get("network")
    chosen = name_from(network.get("arch") if isinstance(network, dict) else None) if name is None else name
    return _Header(program, checked_name(chosen)).text(weights)


class _Header:
    def __init__(self, program: Program, name: str) -> None:
        self.program, self.name = program, name
        self.places: Places = placed(program)

    def text(self, weights: int) -> str:
        guard = f"{self.name.upper()}_H"
        functions = [
            Function(f"{self.name}_{number}", one, self.program.values[one.source], self._shape(one)).text()
            for number, one in enumerate(self.program.operations, 1)
        ]
        parts = [
            self._about(weights) + f"#ifndef {guard}\n#define {guard}\n\n#include <stdint.h>\n",
            self._declarations(),
            f"#ifndef {guard[:-2]}_DECLARATIONS\n",
            self._classes(),
            *self._helpers(),
            array(f"{self.name}_pixel_codes", self.program.tables),
            *functions,
            self._run(),
            "#endif\n#endif\n",
        ]
        return "\n".join(parts)

    def _shape(self, operation: Op) -> Shape:
        if operation.target == SCORES:
            return self.program.classes, 1, 1
        return self.program.values[operation.target]

    def _about(self, weights: int) -> str:
        count = multiplications(self.program)
        shape = "x".join(map(str, self.program.input_shape))
        big = self.name.upper()
        return (
            f"/* {self.name}: an integer network, written by Adderworks {comment(__version__)}.\n\n"
            f"   {shape} pixels (channels, rows, columns; one byte each) to {self.program.classes} scores.\n"
            f"   One image takes {count} multiplications of data; each score is scaled once by an exact power of two.\n"
            f"   Weights: {weights} bytes. Memory: {self.places.size} bytes.\n\n"
            f"   Include it in one source file. Where others call the functions, define {big}_DECLARATIONS before\n"
            f"   including it there. {self.name}_run has memory of its own, so that one call runs at a time;\n"
            f"   {self.name}_run_in may be called by several threads, each with memory of its own. */\n"
        )

    def _declarations(self) -> str:
        big, classes = self.name.upper(), self.program.classes
        channels, height, width = self.program.input_shape
        return (
            f"#define {big}_PIXELS {channels * height * width}\n"
            f"#define {big}_CLASSES {classes}\n#define {big}_MEMORY {self.places.size}\n\n"
            f"extern const char *const {self.name}_classes[{classes}];\n"
            f"void {self.name}_run(const uint8_t *pixels, float *scores);\n"
            f"void {self.name}_run_in(const uint8_t *pixels, float *scores, uint8_t *memory);\n"
        )

    def _classes(self) -> str:
        count = self.program.classes
        named = self.program.manifest.get("classes")
        names = (
            [str(one) for one in named] if isinstance(named, list) and len(named) == count else map(str, range(count))
        )
        lines = "".join(f"    {string(one)},\n" for one in names)
        return f"const char *const {self.name}_classes[{count}] = {{\n{lines}}};\n"

    def _helpers(self) -> list[str]:
        """What the operations call; nothing that none calls, which a compiler would warn of."""
        found = []
        operations = self.program.operations
        if any(one.target != SCORES and not isinstance(one, MaxPool) for one in operations):
            found.append(_CODE.format(name=self.name))
        if any(are_powers(factor) for one in operations for factor in factors_of(one)):
            found.append(_SHIFTED.format(name=self.name))
        return found

    def _run(self) -> str:
        channels, height, width = self.program.input_shape
        at = [f"memory + {offset}" for offset in self.places.offsets]
        lines = []
        for number, operation in enumerate(self.program.operations, 1):
            into = "scores" if operation.target == SCORES else at[operation.target]
            read = ", ".join(at[value] for value in reads(operation))
            lines.append(f"    {self.name}_{number}({read}, {into}); /* {comment(operation.name)} */")
        return "\n".join(
            [
                f"void {self.name}_run_in(const uint8_t *pixels, float *scores, uint8_t *memory) {{",
                f"    for (int32_t c = 0; c < {channels}; c++)",
                f"    for (int32_t i = 0; i < {height * width}; i++)",
                f"        memory[{self.places.offsets[0]} + c * {height * width} + i] = "
                f"{self.name}_pixel_codes[c * 256 + pixels[c * {height * width} + i]];",
                *lines,
                "}",
                "",
                f"void {self.name}_run(const uint8_t *pixels, float *scores) {{",
                f"    static uint8_t memory[{self.places.size}];",
                f"    {self.name}_run_in(pixels, scores, memory);",
                "}",
                "",
            ]
        )
