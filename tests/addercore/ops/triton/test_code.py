"""The GPU kernels' machine code for sm_80 and sm_90, compiled here: what the docs claim of it, and no spills.

Compiling happens in a process of its own: Triton's compiler leaves messages at exit, and TRITON_INTERPRET must not be
set. Of each kernel what runs without measuring is compiled; `python -m benchmarks.gpu_code` compiles every tile.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from addercore.ops import triton
from tests.support.shared import ROOT, Run

pytestmark = pytest.mark.skipif(triton.missing() is not None, reason=str(triton.missing()))

if triton.missing() is None:
    from benchmarks.gpu_code import CAPABILITIES, KERNELS, Code, busiest_loop, parsed


compiled = pytest.mark.long("a minute to compile every kernel for two architectures")


@pytest.fixture(scope="module")
def codes(shared_run: Run) -> list[Code]:
    def compile_all(folder: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.gpu_code", "--json", "--fixed"],
            capture_output=True, text=True, timeout=300, cwd=ROOT,
            env=os.environ | {"TRITON_CACHE_DIR": str(folder), "TRITON_INTERPRET": "0"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-4000:]
        (folder / "codes.jsonl").write_text(done.stdout)

    lines = (shared_run.once("gpu_code", compile_all) / "codes.jsonl").read_text().splitlines()
    return [Code(**json.loads(line)) for line in lines]


@compiled
def test_every_kernel_compiles(codes: list[Code]) -> None:
    names = {name for names in KERNELS.values() for name in names} | {"fadd_kernel"}
    for capability in CAPABILITIES:
        assert {code.kernel for code in codes if code.capability == capability} == names


@compiled
def test_nothing_spills(codes: list[Code]) -> None:
    assert [code for code in codes if code.spills or code.stack] == []


@compiled
def test_forward_issues_additions(codes: list[Code]) -> None:
    """Two FADD a term; per 128 of them four vector loads from shared memory; two barriers a step."""
    checked = [code for code in codes if code.kernel == "forward_kernel"]
    assert {code.what.split()[0] for code in checked} == {"plain", "moments", "affine", "flat", "raw"}
    for code in checked:
        assert code.share("FADD") >= (0.80 if code.what.startswith("flat") else 0.89), code
        assert code.loop["FADD"] == 2048
        assert code.loop["LDS.128"] == 64
        assert sum(number for name, number in code.loop.items() if name.startswith("BAR")) == 2
        assert not {"FMNMX", "SHFL.BFLY", "LDL", "STL"} & set(code.loop)
        assert code.resident_warps >= 8


@compiled
def test_input_gradient_issues_two_instructions_a_term(codes: list[Code]) -> None:
    for code in (code for code in codes if code.kernel == "grad_input_kernel"):
        assert code.loop["FADD.SAT"] == code.loop["FFMA"] == 512
        assert code.share("FADD.SAT", "FFMA") >= 0.84, code
        assert code.loop["LDS.128"] == 32
        assert not {"FMNMX", "FADD", "FSEL"} & set(code.loop)
        assert code.resident_warps >= 8


@compiled
def test_the_ceiling_is_made_of_additions(codes: list[Code]) -> None:
    for code in (code for code in codes if code.kernel == "fadd_kernel"):
        assert code.share("FADD") >= 0.99, code


SASS = """
        /*0000*/                   LDC R1, c[0x0][0x28] ;          /* 0x1 */
        /*0010*/                   FADD R2, R2, R3 ;
        /*0020*/              @!P0 FADD R4, |R5|, R4 ;
        /*0030*/                   LDS.128 R8, [R1] ;
        /*0040*/               @P1 BRA 0x20 ;
        /*0050*/                   STG.E [R2], R4 ;
        /*0060*/                   BRA 0x60;
"""


def test_the_loop_is_found() -> None:
    assert len(parsed(SASS)) == 7
    assert busiest_loop(parsed(SASS)) == Counter({"FADD": 1, "LDS.128": 1, "BRA": 1})
