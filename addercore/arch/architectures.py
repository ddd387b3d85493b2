"""Architectures by name: each is a function of input shape and number of classes that returns a `Network`."""

from collections.abc import Callable
from functools import partial
from typing import Final

from addercore.arch.layers import (
    AvgPool,
    BatchNorm,
    Conv,
    Flatten,
    Linear,
    MaxPool,
    Network,
    Node,
    ReLU,
    Residual,
    Role,
    Sequential,
    Shape,
    final_shape,
)
from addercore.arch.mobile import mobilenet_v2

Block = Callable[[int, int, int], tuple[Node, ...]]
"""(channels in, channels out, stride) → the body of a residual block."""


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


def vgg_small(input_shape: Shape, classes: int) -> Network:
    """VGG-small of the paper's CIFAR tables: 128-128-MP-256-256-MP-512-512-MP, 3×3 windows, one classifier.

    A normalisation over the classes follows the classifier, as in the CIFAR ResNets: an adder's scores need it.
    """
    children: list[Node] = []
    inputs = input_shape[0]
    for number, outputs in enumerate((128, 128, 256, 256, 512, 512), 1):
        role: Role = "first" if number == 1 else "inner"
        children += (
            Conv(f"conv{number}", inputs, outputs, (3, 3), padding=(1, 1), role=role),
            BatchNorm(f"bn{number}", outputs),
            ReLU(f"relu{number}"),
        )
        if number % 2 == 0:
            children.append(MaxPool(f"pool{number // 2}", 2))
        inputs = outputs
    children.append(Flatten("flatten"))
    (flat,) = final_shape(Sequential("", tuple(children)), input_shape)
    children += Linear("classifier", flat, classes, role="last"), BatchNorm("classifier_bn", classes)
    return Network("vgg_small", input_shape, classes, Sequential("", tuple(children)))


ALEXNET_LEAST: Final = 63
"""Height and width below which nothing of an image reaches AlexNet's last pooling, its stem striding by 4."""


def alexnet(input_shape: Shape, classes: int) -> Network:
    """AlexNet as XNOR-Net's table has it (arXiv:1603.05279, and the authors' `models/alexnetxnor.lua`).

    Images of 224×224, padded by 2; no groups, and batch normalisation in place of local response normalisation. Left
    out is the dropout between the large layers: a normalisation follows each. Smaller images than 63×63 would not
    reach the last pooling, so there the stem strides by 1 instead of 4 and 21×21 is the least.
    """
    stride = 4 if min(input_shape[1:]) >= ALEXNET_LEAST else 1
    children: list[Node] = []
    inputs = input_shape[0]
    plan = ((96, 11, stride, 2, True), (256, 5, 1, 2, True), (384, 3, 1, 1, False), (384, 3, 1, 1, False))
    for number, (outputs, kernel, step, padding, pooled) in enumerate((*plan, (256, 3, 1, 1, True)), 1):
        role: Role = "first" if number == 1 else "inner"
        children += (
            Conv(f"conv{number}", inputs, outputs, (kernel, kernel), (step, step), (padding, padding), role=role),
            BatchNorm(f"bn{number}", outputs),
            ReLU(f"relu{number}"),
        )
        if pooled:
            children.append(MaxPool(f"pool{number}", 3, stride=2))
        inputs = outputs
    children.append(Flatten("flatten"))
    (flat,) = final_shape(Sequential("", tuple(children)), input_shape)
    children += (
        Linear("fc6", flat, 4096),
        BatchNorm("bn6", 4096),
        ReLU("relu6"),
        Linear("fc7", 4096, 4096),
        BatchNorm("bn7", 4096),
        ReLU("relu7"),
        Linear("fc8", 4096, classes, role="last"),
        BatchNorm("bn8", classes),
    )
    return Network("alexnet", input_shape, classes, Sequential("", tuple(children)))


def _basic(inputs: int, outputs: int, stride: int) -> tuple[Node, ...]:
    """Basic block of ResNet-18: two 3×3 layers, the first strides."""
    return (
        Conv("conv1", inputs, outputs, (3, 3), (stride, stride), (1, 1)),
        BatchNorm("bn1", outputs),
        ReLU("relu1"),
        Conv("conv2", outputs, outputs, (3, 3), padding=(1, 1)),
        BatchNorm("bn2", outputs),
    )


def _bottleneck(inputs: int, outputs: int, stride: int, striding: int) -> tuple[Node, ...]:
    """1×1 to a quarter of `outputs`, 3×3, 1×1 to `outputs`; layer `striding` of the three strides.

    1 is ResNet-50 as published (v1, arXiv:1512.03385), 2 its common variant (v1.5), more accurate and costlier.
    """
    width = outputs // 4
    first, second = ((stride, stride), (1, 1)) if striding == 1 else ((1, 1), (stride, stride))
    return (
        Conv("conv1", inputs, width, (1, 1), first),
        BatchNorm("bn1", width),
        ReLU("relu1"),
        Conv("conv2", width, width, (3, 3), second, (1, 1)),
        BatchNorm("bn2", width),
        ReLU("relu2"),
        Conv("conv3", width, outputs, (1, 1)),
        BatchNorm("bn3", outputs),
    )


def _stages(stem: int, plan: tuple[tuple[int, int], ...], block: Block = _basic) -> tuple[Node, ...]:
    """Stages of (blocks, channels): relu(body(x) + shortcut(x)) each block; all stages but the first halve the image.

    Where a block changes the shape, its shortcut is a 1×1 layer and a normalisation (option B).
    """
    stages: list[Node] = []
    inputs = stem
    for number, (blocks, outputs) in enumerate(plan, 1):
        children: list[Node] = []
        for place in range(1, blocks + 1):
            stride = 2 if place == 1 and number > 1 else 1
            shortcut = None
            if stride != 1 or inputs != outputs:
                resampled = Conv("conv", inputs, outputs, (1, 1), (stride, stride))
                shortcut = Sequential("shortcut", (resampled, BatchNorm("bn", outputs)))
            body = Sequential("body", block(inputs, outputs, stride))
            children += Residual(f"block{place}", body, shortcut), ReLU(f"relu{place}")
            inputs = outputs
        stages.append(Sequential(f"stage{number}", tuple(children)))
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


def _imagenet_resnet(
    arch: str, plan: tuple[tuple[int, int], ...], block: Block, input_shape: Shape, classes: int
) -> Network:
    """ResNet for ImageNet (224×224): 7×7 stem of stride 2, max pool, four stages.

    A normalisation over the classes follows the classifier, as in the CIFAR networks: an adder's scores need it.
    """
    body = (
        Conv("conv", input_shape[0], 64, (7, 7), (2, 2), (3, 3), role="first"),
        BatchNorm("bn", 64),
        ReLU("relu"),
        MaxPool("max_pool", 3, stride=2, padding=1),
        *_stages(64, plan, block),
        AvgPool("pool"),
        Flatten("flatten"),
        Linear("classifier", plan[-1][1], classes, role="last"),
        BatchNorm("classifier_bn", classes),
    )
    return Network(arch, input_shape, classes, Sequential("", body))


_RESNET18: Final = ((2, 64), (2, 128), (2, 256), (2, 512))
_RESNET50: Final = ((3, 256), (4, 512), (6, 1024), (3, 2048))

ARCHS: Final[dict[str, Callable[[Shape, int], Network]]] = {
    "lenet5_bn": lenet5_bn,
    "lenet5_bn_2d": lenet5_bn_2d,
    "vgg_small": vgg_small,
    "resnet20": partial(_cifar_resnet, 3),
    "resnet32": partial(_cifar_resnet, 5),
    "resnet18": partial(_imagenet_resnet, "resnet18", _RESNET18, _basic),
    "resnet50": partial(_imagenet_resnet, "resnet50", _RESNET50, partial(_bottleneck, striding=1)),
    "resnet50_v1.5": partial(_imagenet_resnet, "resnet50_v1.5", _RESNET50, partial(_bottleneck, striding=2)),
    "alexnet": alexnet,
    "mobilenet_v2": mobilenet_v2,
}

PUBLISHED: Final[dict[str, tuple[Shape, int]]] = {
    "lenet5_bn": ((1, 32, 32), 10),
    "lenet5_bn_2d": ((1, 32, 32), 10),
    "vgg_small": ((3, 32, 32), 10),
    "resnet20": ((3, 32, 32), 10),
    "resnet32": ((3, 32, 32), 10),
    "resnet18": ((3, 224, 224), 1000),
    "resnet50": ((3, 224, 224), 1000),
    "resnet50_v1.5": ((3, 224, 224), 1000),
    "alexnet": ((3, 224, 224), 1000),
    "mobilenet_v2": ((3, 224, 224), 1000),
}
"""The images and the number of classes for which a network's figures are published; any others that fit do as well."""
