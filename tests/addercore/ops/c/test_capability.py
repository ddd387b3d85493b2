"""ADDER_CPU_CAPABILITY leaves out the kernels of newer instruction sets."""

from __future__ import annotations

import pytest

from addercore.ops import c

SETS = ["avx512", "avx2", "generic"]


@pytest.mark.parametrize(
    ("highest", "left"),
    [(None, SETS), ("", SETS), ("avx512", SETS), ("avx2", ["avx2", "generic"]), ("generic", ["generic"])],
)
def test_instruction_sets_beyond_the_named_one_are_left_out(highest: str | None, left: list[str]) -> None:
    assert c.up_to(highest, SETS) == left


@pytest.mark.parametrize("unknown", ["AVX2", "neon", "default"])
def test_an_unknown_one_is_refused_with_those_that_there_are(unknown: str) -> None:
    with pytest.raises(
        ValueError, match=f"ADDER_CPU_CAPABILITY is '{unknown}': set it to one of avx512, avx2, generic"
    ):
        c.up_to(unknown, SETS)


def test_the_backends_are_cut_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    every = list(c.backends())
    if not every:
        pytest.skip(str(c.missing()))
    monkeypatch.setenv(c.CAPABILITY, every[-1].partition("-")[2])
    c.backends.cache_clear()
    try:
        assert list(c.backends()) == every[-1:]
    finally:
        c.backends.cache_clear()
