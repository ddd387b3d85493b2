"""Architectures by name: each is a function of input shape and number of classes that returns a `Network`."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from addercore.spec.layers import (
    AvgPool,
    BatchNorm,
    Conv,
    Flatten,
    Linear,
    MaxPool,
    Node,
    Placed,
    ReLU,
    Residual,
    Sequential,
    Shape,
    final_shape,
    place,
)

METHODS: Final = ("adder", "conv")
"""How a network's similarities are computed: adder filters (eq. 2), or the convolutional twin."""

FIRST_LAST: Final = ("adder", "conv")
"""How method `adder` realises the first and last layer; the published CIFAR and ImageNet tables keep convolutions."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network for one image of `input_shape` (c, h, w), with `classes` outputs."""

    arch: str
    input_shape: Shape
    classes: int
    body: Sequential

    def layers(self) -> tuple[Placed, ...]:
        """Every leaf in order of computation, with its full name and shapes."""
        return tuple(place(self.body, self.input_shape))


def uses_adder(layer: Conv | Linear, method: str, first_last: str) -> bool:
    """Whether `layer` has adder filters; `first_last` is heeded by method `adder` only."""
    return method == "adder" and (layer.role == "inner" or first_last == "adder")


def lenet5_bn(input_shape: Shape, classes: int) -> Network:
    """LeNet-5-BN of the paper's MNIST table: 6@5×5, pool, 16@5×5, pool, 120@5×5, 84, classes.

    Batch normalisation follows every layer (an adder's output is ≤ 0 and of large variance, eqs. 8, 9), ReLU every
    normalisation but the last. Pooling comes after ReLU; the two commute, so this is pooling before it as well.
    """
    features: tuple[Node, ...] = (
        Conv("conv1", input_shape[0], 6, (5, 5), role="first"),
        BatchNorm("bn1", 6),
        ReLU("relu1"),
        MaxPool("pool1", 2),
        Conv("conv2", 6, 16, (5, 5)),
        BatchNorm("bn2", 16),
        ReLU("relu2"),
        MaxPool("pool2", 2),
        Conv("conv3", 16, 120, (5, 5)),
        BatchNorm("bn3", 120),
        ReLU("relu3"),
        Flatten("flatten"),
    )
    (flat,) = final_shape(Sequential("", features), input_shape)
    classifier: tuple[Node, ...] = (
        Linear("fc1", flat, 84),
        BatchNorm("bn4", 84),
        ReLU("relu4"),
        Linear("fc2", 84, classes, role="last"),
        BatchNorm("bn5", classes),
    )
    return Network("lenet5_bn", input_shape, classes, Sequential("", features + classifier))


def lenet5_bn_2d(input_shape: Shape, classes: int) -> Network:
    """LeNet-5-BN with a last hidden layer of two units, `features`: the plane of the paper's Figure 1.

    No ReLU follows `feature_bn`, so that the plane is used on all sides of its origin.
    """
    base = lenet5_bn(input_shape, classes).body.children
    upto = next(place for place, node in enumerate(base) if node.name == "fc2")
    head: tuple[Node, ...] = (
        Linear("features", 84, 2),
        BatchNorm("feature_bn", 2),
        Linear("classifier", 2, classes, role="last"),
        BatchNorm("classifier_bn", classes),
    )
    return Network("lenet5_bn_2d", input_shape, classes, Sequential("", base[:upto] + head))


def _stage(name: str, blocks: int, inputs: int, outputs: int, stride: int) -> tuple[Sequential, int]:
    """`blocks` basic blocks, relu(bn(conv(relu(bn(conv(x))))) + x), and the channels that leave them.

    The first strides; where it changes the shape, its shortcut is a 1×1 layer and a normalisation (option B).
    """
    children: list[Node] = []
    for number in range(1, blocks + 1):
        body = (
            Conv("conv1", inputs, outputs, (3, 3), (stride, stride), (1, 1)),
            BatchNorm("bn1", outputs),
            ReLU("relu1"),
            Conv("conv2", outputs, outputs, (3, 3), padding=(1, 1)),
            BatchNorm("bn2", outputs),
        )
        shortcut = None
        if stride != 1 or inputs != outputs:
            resampled = Conv("conv", inputs, outputs, (1, 1), (stride, stride))
            shortcut = Sequential("shortcut", (resampled, BatchNorm("bn", outputs)))
        children += Residual(f"block{number}", Sequential("body", body), shortcut), ReLU(f"relu{number}")
        inputs, stride = outputs, 1
    return Sequential(name, tuple(children)), outputs


def _stages(stem: int, plan: tuple[tuple[int, int], ...]) -> tuple[Node, ...]:
    """Stages of (blocks, channels); all but the first halve height and width."""
    stages: list[Node] = []
    inputs = stem
    for number, (blocks, outputs) in enumerate(plan, 1):
        stage, inputs = _stage(f"stage{number}", blocks, inputs, outputs, 1 if number == 1 else 2)
        stages.append(stage)
    return tuple(stages)


def _cifar_resnet(blocks: int, input_shape: Shape, classes: int) -> Network:
    """ResNet of 6 · blocks + 2 layers for 32×32 images, as the paper's CIFAR tables have it.

    The classifier is a 1×1 convolution followed by a normalisation over the classes, as in the authors' code.
    """
    body = (
        Conv("conv", input_shape[0], 16, (3, 3), padding=(1, 1), role="first"),
        BatchNorm("bn", 16),
        ReLU("relu"),
        *_stages(16, ((blocks, 16), (blocks, 32), (blocks, 64))),
        AvgPool("pool"),
        Conv("classifier", 64, classes, (1, 1), role="last"),
        BatchNorm("classifier_bn", classes),
        Flatten("flatten"),
    )
    return Network(f"resnet{6 * blocks + 2}", input_shape, classes, Sequential("", body))


def resnet18(input_shape: Shape, classes: int) -> Network:
    """ResNet-18 for ImageNet (224×224): 7×7 stem of stride 2, max pool, four stages of two basic blocks.

    A normalisation over the classes follows the classifier, as in the CIFAR networks: an adder's scores need it.
    """
    body = (
        Conv("conv", input_shape[0], 64, (7, 7), (2, 2), (3, 3), role="first"),
        BatchNorm("bn", 64),
        ReLU("relu"),
        MaxPool("max_pool", 3, stride=2, padding=1),
        *_stages(64, ((2, 64), (2, 128), (2, 256), (2, 512))),
        AvgPool("pool"),
        Flatten("flatten"),
        Linear("classifier", 512, classes, role="last"),
        BatchNorm("classifier_bn", classes),
    )
    return Network("resnet18", input_shape, classes, Sequential("", body))


ARCHS: Final[dict[str, Callable[[Shape, int], Network]]] = {
    "lenet5_bn": lenet5_bn,
    "lenet5_bn_2d": lenet5_bn_2d,
    "resnet20": partial(_cifar_resnet, 3),
    "resnet32": partial(_cifar_resnet, 5),
    "resnet18": resnet18,
}


def network(arch: str, input_shape: Shape, classes: int) -> Network:
    """The network `arch` for images of `input_shape` (c, h, w); `ValueError` where it is unknown or does not fit."""
    if arch not in ARCHS:
        raise ValueError(f"unknown arch {arch!r}; known: {', '.join(ARCHS)}")
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise ValueError(f"input_shape must be (channels, height, width), each ≥ 1, got {input_shape}")
    if classes < 2:
        raise ValueError(f"classes must be ≥ 2, got {classes}")
    try:
        return ARCHS[arch](tuple(input_shape), classes)
    except ValueError as error:
        raise ValueError(f"{arch} does not fit an input of {tuple(input_shape)}: {error}") from error


def check_method(method: str, first_last: str) -> None:
    """`ValueError` naming what is unknown, and what is known."""
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
    if first_last not in FIRST_LAST:
        raise ValueError(f"unknown first_last {first_last!r}; known: {', '.join(FIRST_LAST)}")


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
