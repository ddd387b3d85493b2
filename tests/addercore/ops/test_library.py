"""The operators in torch's dispatcher: fakes, autograd, autocast, the compiler; and which backend they choose."""

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.library import opcheck

from addercore import Adder2d, AdderLinear, adder_conv2d, fit
from addercore.nn import FusingSequential, ResidualBlock
from addercore.ops import available, choose, fused, get, library, registry, select
from addercore.ops.portable import Portable

pytestmark = pytest.mark.bits

CPU = torch.device("cpu")
PLACE = ([1, 2], [1, 0], [1, 1], 1, "")


def leaf(*shape: int, kind: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator).to(kind).requires_grad_()


def calls(kind: torch.dtype) -> dict[str, list[tuple[Any, ...]]]:
    """Arguments of every operator, with and without its optional ones."""
    x, weight, y = leaf(2, 3, 6, 7, kind=kind), leaf(4, 3, 3, 2, kind=kind), leaf(2, 4, 6, 3, kind=kind)
    a, b = leaf(4, kind=kind), leaf(4, kind=kind).detach().square().requires_grad_()
    fixed = [tensor.detach() for tensor in (x, weight, y, a, b)]
    u, v, g, c, d = fixed
    won = torch.arange(2 * 4 * 3, dtype=torch.uint8).reshape(2, 4, 3, 1) % 5
    return {
        "forward": [
            (x, weight, False, *PLACE),
            (u, weight, True, *PLACE),
            (x.detach().to(memory_format=torch.channels_last).requires_grad_(), v, False, *PLACE),
        ],
        "grad_input": [(g, u, v, *PLACE)],
        "grad_weight": [(g, u, v, False, *PLACE), (g, u, v, True, *PLACE)],
        "forward_affine": [(u, v, c, d, None, True, *PLACE), (u, v, c, d, g, False, *PLACE)],
        "forward_moments": [(u, v, *PLACE)],
        "normalize": [(g, c, d, None, False, ""), (g, c, d, g, True, "")],
        "normalize_backward": [(g, None, g, c, d, c, ""), (g, g, g, c, d, c, "")],
        "normalize_pool": [(g, c, d, False, ""), (g, c, d, True, "")],
        "normalize_pool_backward": [(g[:, :, :3, :1], won, g, c, d, c, "")],
        "forward_normalized": [
            (x, weight, a, b, None, False, False, 1e-5, False, *PLACE),
            (x, weight, a, b, y, True, False, 1e-5, True, *PLACE),
            (x, weight, a, b, None, True, True, 1e-5, False, *PLACE),
        ],
    }


OPERATORS = {name: getattr(fused if name == "forward_normalized" else library, name) for name in calls(torch.float32)}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize(
    "kind",
    [
        torch.float32,
        *(
            pytest.param(kind, marks=pytest.mark.long("traces every operator"))
            for kind in (torch.float64, torch.bfloat16)
        ),
    ],
)
def test_every_operator_passes_opcheck(name: str, kind: torch.dtype) -> None:
    if name == "forward_normalized" and kind == torch.bfloat16:
        return  # it takes float32 and float64 only, which `addercore.nn` sees to
    for arguments in calls(kind)[name]:
        opcheck(OPERATORS[name], arguments)


def network() -> nn.Module:
    torch.manual_seed(0)
    body = FusingSequential(
        Adder2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), Adder2d(4, 4, 1), nn.BatchNorm2d(4)
    )
    return FusingSequential(
        Adder2d(2, 4, 3, padding=1, gradient="sign"),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        ResidualBlock(("body", body), None),
        nn.ReLU(),
        Adder2d(4, 3, (2, 3), stride=(2, 3)),  # nothing follows that could be fused
        nn.Flatten(),
        AdderLinear(18, 5),
        nn.BatchNorm1d(5),
    )


def one_on_another_device(name: str) -> list[tuple[Any, ...]]:
    """Calls of an operator in each of which one tensor is on another device: `meta` stands in for a GPU."""
    found = []
    for arguments in calls(torch.float32)[name]:
        for place, argument in enumerate(arguments):
            if isinstance(argument, Tensor):
                elsewhere = argument.detach().to("meta")
                found.append((*arguments[:place], elsewhere, *arguments[place + 1 :]))
    return found


@pytest.mark.parametrize("name", OPERATORS)
def test_a_tensor_on_another_device_reaches_no_backend(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel gets bare pointers: those of another device would be read as addresses of this one."""
    kernel = getattr(fused if name == "forward_normalized" else library, f"_{name}")

    class Untouched:
        def __getattr__(self, method: str) -> Any:
            raise AssertionError(f"{method} of a backend was called")

    monkeypatch.setattr(registry, "choose", lambda *_: Untouched())
    with torch.no_grad():
        for arguments in one_on_another_device(name):
            for call in (kernel, OPERATORS[name]):  # with a meta tensor the operator runs its fake
                with pytest.raises(ValueError, match=r"move one to the other's device"):
                    call(*arguments)


@pytest.mark.parametrize("name", OPERATORS)
def test_a_tensor_of_a_type_without_arithmetic_is_refused(name: str) -> None:
    kernel = getattr(fused if name == "forward_normalized" else library, f"_{name}")
    arguments = calls(torch.float32)[name][-1]
    with torch.no_grad():
        for place, argument in enumerate(arguments):
            if isinstance(argument, Tensor):
                wrong = (*arguments[:place], argument.detach().to(torch.int32), *arguments[place + 1 :])
                for call in (kernel, OPERATORS[name]):
                    with pytest.raises(ValueError, match=r"must have one of the types|winner must be uint8"):
                        call(*wrong)


@pytest.mark.parametrize("dynamic", [False, pytest.param(True, marks=pytest.mark.long("compiles a network"))])
def test_a_network_compiles_in_one_piece(dynamic: bool) -> None:
    """Dynamo and AOTAutograd with symbolic sizes; what generates code behind them has nothing to do with us."""
    torch._dynamo.reset()
    plain = network()
    compiled = copy.deepcopy(plain)
    run = torch.compile(compiled, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for images in (3, 4):
        x = torch.randn(images, 2, 6, 7, requires_grad=True)
        again = x.detach().clone().requires_grad_()
        expected, found = plain(x), run(again)
        grad = torch.randn_like(expected)
        expected.backward(grad)
        found.backward(grad)
        assert torch.equal(expected, found)
        pairs = [(x.grad, again.grad)]
        pairs += [(a.grad, b.grad) for a, b in zip(plain.parameters(), compiled.parameters(), strict=True)]
        pairs += list(zip(plain.buffers(), compiled.buffers(), strict=True))
        for a, b in pairs:
            torch.testing.assert_close(a, b)
    plain.eval(), compiled.eval()
    with torch.no_grad():
        assert torch.equal(plain(x), run(x))


@pytest.mark.parametrize("wanted", [(True, False), (False, True), (False, False)])
def test_only_the_gradients_that_are_wanted_are_computed(wanted: tuple[bool, bool], counted: dict[str, int]) -> None:
    x, weight = (
        leaf(*shape).detach().requires_grad_(want)
        for shape, want in zip(((2, 3, 5, 5), (4, 3, 3, 3)), wanted, strict=True)
    )
    y = adder_conv2d(x, weight, backend="counting")
    assert y.requires_grad == any(wanted)
    if any(wanted):
        y.sum().backward()
    assert counted == {"forward": 1} | {
        n: 1 for n, want in zip(("grad_input", "grad_weight"), wanted, strict=True) if want
    }


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Calls of a backend named `counting`, by method."""
    calls: dict[str, int] = {}

    class Counting(Portable):
        name = "counting"

        def __getattribute__(self, name: str) -> Any:
            if name in ("forward", "grad_input", "grad_weight"):
                calls[name] = calls.get(name, 0) + 1
            return super().__getattribute__(name)

    monkeypatch.setitem(registry._ORDINARY, "counting", Counting())
    return calls


def test_there_is_no_second_derivative_and_it_says_so() -> None:
    x, weight = leaf(2, 3, 5, 5), leaf(4, 3, 3, 3)
    with pytest.raises(RuntimeError, match=r"no second derivative.*without create_graph=True"):
        torch.autograd.grad(adder_conv2d(x, weight).sum(), weight, create_graph=True)
    with pytest.raises(RuntimeError, match="grad_input has no gradient"):
        library.grad_input(leaf(2, 4, 6, 3), *calls(torch.float32)["forward"][0][:2], *PLACE)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_autocast_gives_single_precision(kind: torch.dtype) -> None:
    x, weight = leaf(2, 3, 5, 5, kind=kind), leaf(4, 3, 3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        y = adder_conv2d(x, weight)
    assert y.dtype == torch.float32
    y.sum().backward()
    assert (x.grad.dtype, weight.grad.dtype) == (kind, torch.float32)  # type: ignore[union-attr]
    with torch.autocast("cpu", torch.bfloat16):
        assert adder_conv2d(x.double(), weight).dtype == torch.float64


def test_the_output_has_the_input_s_type_and_a_gradient_its_tensor_s() -> None:
    x, weight = leaf(2, 3, 5, 5, kind=torch.float16), leaf(4, 3, 3, 3, kind=torch.float64)
    y = adder_conv2d(x, weight)
    assert y.dtype == torch.float16
    torch.testing.assert_close(y, adder_conv2d(x.double(), weight).half(), rtol=0, atol=0)
    y.sum().backward()
    assert (x.grad.dtype, weight.grad.dtype) == (torch.float16, torch.float64)  # type: ignore[union-attr]


# --- which backend runs


class Picky(Portable):
    name = "picky"

    def refusal(self, device: torch.device, dtype: torch.dtype) -> str | None:
        return None if dtype == torch.float32 else "it takes float32; convert the tensors"


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A registry that has not warned yet, and no backend chosen from outside."""
    monkeypatch.setattr(registry, "_warned", False)
    monkeypatch.delenv("ADDER_BACKEND", raising=False)
    return monkeypatch


def test_defaults(fresh: pytest.MonkeyPatch) -> None:
    picky = Picky()
    fresh.setattr(registry, "_c", lambda: {"c-best": picky, "c-plain": Portable()})
    assert choose(CPU, torch.float32) is picky
    assert choose(CPU, torch.float32, "c") is picky
    assert choose(CPU, torch.float64).name == "portable"
    assert choose(torch.device("meta"), torch.float32).name == "portable"
    assert available()[:2] == ("c-best", "c-plain")
    fresh.setenv("ADDER_BACKEND", "c")
    with pytest.raises(ValueError, match=r"'c' cannot take torch\.float64 tensors on cpu: .*convert"):
        choose(CPU, torch.float64)
    fresh.setattr(registry, "_triton", lambda: picky)
    fresh.delenv("ADDER_BACKEND")
    assert choose(torch.device("cuda"), torch.float32) is picky


def test_without_the_c_kernels_portable_runs_and_says_so_once(fresh: pytest.MonkeyPatch) -> None:
    fresh.setattr(registry, "_c", dict)
    fresh.setattr(registry, "_why_no_c", lambda: "they are not built: install gcc and run make")
    x, weight = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 1, 1)
    with pytest.warns(UserWarning, match=r"portable backend: they are not built: install gcc and run make"):
        adder_conv2d(x, weight)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        adder_conv2d(x, weight)
        assert select(CPU, torch.float32).note == "they are not built: install gcc and run make"
        assert select(CPU, torch.float32, "portable").note is None
    with pytest.raises(ValueError, match=r"'c-avx2' \(they are not built: install gcc.*portable, reference.*ADDER_"):
        get("c-avx2")


def test_a_run_records_what_computes_it(fresh: pytest.MonkeyPatch, tmp_path: Path, config: Any, recorder: Any) -> None:
    fresh.setattr(registry, "_c", dict)
    fresh.setattr(registry, "_why_no_c", lambda: "they are not built")
    seen = recorder(stop_at=1)
    with pytest.warns(UserWarning, match="they are not built"):
        fit(config(), workdir=tmp_path, device="cpu", threads=1, callbacks=seen)
    assert (seen.environment["backend"], seen.environment["backend_note"]) == ("portable", "they are not built")
    seen = recorder(stop_at=1)
    fit(config(), workdir=tmp_path, device="cpu", threads=1, backend="portable", callbacks=seen)
    assert "backend_note" not in seen.environment
