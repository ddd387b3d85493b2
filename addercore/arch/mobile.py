"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381): inverted residual blocks with depthwise layers."""

from typing import Final

from addercore.arch.layers import (
    AvgPool,
    BatchNorm,
    Conv,
    Flatten,
    Linear,
    Network,
    Node,
    ReLU,
    Residual,
    Sequential,
    Shape,
)

PLAN: Final = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, blocks, stride of the first block: table 2 of the paper."""
STEM: Final = 32
LAST: Final = 1280
SMALL: Final = 64
"""Height and width below which the stem and the second stage keep the image's size, as usual for CIFAR."""


def _inverted(inputs: int, outputs: int, stride: int, expansion: int) -> tuple[Node, ...]:
    """1×1 to `expansion` times the channels, 3×3 depthwise, 1×1 to `outputs` without an activation."""
    width = inputs * expansion
    nodes: list[Node] = []
    if expansion > 1:
        nodes += Conv("expand", inputs, width, (1, 1)), BatchNorm("expand_bn", width), ReLU("expand_relu")
    nodes += (
        Conv("depthwise", width, width, (3, 3), (stride, stride), (1, 1), groups=width),
        BatchNorm("depthwise_bn", width),
        ReLU("depthwise_relu"),
        Conv("project", width, outputs, (1, 1)),
        BatchNorm("project_bn", outputs),
    )
    return tuple(nodes)


def mobilenet_v2(input_shape: Shape, classes: int) -> Network:
    """MobileNetV2 of width 1. ReLU stands for ReLU6, whose bound an adder's normalised outputs do not need.

    A normalisation over the classes follows the classifier, as in the other networks: an adder's scores need it.
    Images below 64×64 keep their size in the stem and the second stage.
    """
    small = min(input_shape[1:]) < SMALL
    first = 1 if small else 2
    children: list[Node] = [
        Conv("conv", input_shape[0], STEM, (3, 3), (first, first), (1, 1), role="first"),
        BatchNorm("bn", STEM),
        ReLU("relu"),
    ]
    inputs = STEM
    for number, (expansion, outputs, blocks, striding) in enumerate(PLAN, 1):
        stage: list[Node] = []
        for place in range(1, blocks + 1):
            stride = striding if place == 1 and not (small and number == 2) else 1
            body = _inverted(inputs, outputs, stride, expansion)
            if stride == 1 and inputs == outputs:
                stage.append(Residual(f"block{place}", Sequential("body", body)))
            else:
                stage.append(Sequential(f"block{place}", body))
            inputs = outputs
        children.append(Sequential(f"stage{number}", tuple(stage)))
    children += (
        Conv("last", inputs, LAST, (1, 1)),
        BatchNorm("last_bn", LAST),
        ReLU("last_relu"),
        AvgPool("pool"),
        Flatten("flatten"),
        Linear("classifier", LAST, classes, role="last"),
        BatchNorm("classifier_bn", classes),
    )
    return Network("mobilenet_v2", input_shape, classes, Sequential("", tuple(children)))
