"""Networks by name, and what a stored one holds."""

from collections.abc import Sequence

from addercore.arch.architectures import ARCHS as ARCHS
from addercore.arch.architectures import PUBLISHED as PUBLISHED
from addercore.arch.custom import CUSTOM as CUSTOM
from addercore.arch.custom import Layer, custom
from addercore.arch.layers import BatchNorm, Conv, Linear, Shape
from addercore.arch.layers import Network as Network
from addercore.arch.methods import FIRST_LAST as FIRST_LAST
from addercore.arch.methods import METHODS as METHODS
from addercore.arch.methods import check_method as check_method
from addercore.arch.methods import realisation as realisation


def network(arch: str, input_shape: Shape, classes: int, layers: Sequence[Layer] | None = None) -> Network:
    """The network `arch` for images of `input_shape` (c, h, w); `ValueError` where it is unknown or does not fit.

    `custom` is built of `layers`, which no other takes.
    """
    if (arch == CUSTOM) != (layers is not None):
        raise ValueError(f"layers are given with the arch {CUSTOM!r}, and with no other; the arch is {arch!r}")
    if layers is None and arch not in ARCHS:
        raise ValueError(f"unknown arch {arch!r}; known: {', '.join(ARCHS)}")
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise ValueError(f"input_shape must be (channels, height, width), each ≥ 1, got {input_shape}")
    if classes < 2:
        raise ValueError(f"classes must be ≥ 2, got {classes}")
    try:
        if layers is not None:
            return custom(layers, tuple(input_shape), classes)
        return ARCHS[arch](tuple(input_shape), classes)
    except ValueError as error:
        raise ValueError(f"{arch} does not fit an input of {tuple(input_shape)}: {error}") from error


def tensors(net: Network) -> dict[str, tuple[str, Shape]]:
    """A stored model's tensors: name → (safetensors dtype, shape), as in the torch module's state for every method."""
    expected: dict[str, tuple[str, Shape]] = {}
    for placed in net.layers():
        match placed.layer:
            case Conv() as conv:
                shape = (conv.out_channels, conv.in_channels // conv.groups, *conv.kernel)
                expected[f"{placed.name}.weight"] = ("F32", shape)
            case Linear() as linear:
                expected[f"{placed.name}.weight"] = ("F32", (linear.out_features, linear.in_features))
            case BatchNorm() as norm:
                for part in ("weight", "bias", "running_mean", "running_var"):
                    expected[f"{placed.name}.{part}"] = ("F32", (norm.features,))
                expected[f"{placed.name}.num_batches_tracked"] = ("I64", ())
            case _:
                pass
    return expected
