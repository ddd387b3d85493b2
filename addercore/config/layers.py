"""The layers of a network of one's own (`model.arch: custom`)."""

from typing import Annotated, Literal

from pydantic import Field

from addercore.arch.custom import MAX_KERNEL, MAX_LAYERS, MAX_PADDING, MAX_STRIDE, MAX_WIDTH
from addercore.config.fields import WHOLE, Section

Width = Annotated[int, Field(ge=1, le=MAX_WIDTH), WHOLE]
Kernel = Annotated[int, Field(ge=1, le=MAX_KERNEL), WHOLE]
Stride = Annotated[int, Field(ge=1, le=MAX_STRIDE), WHOLE]
Padding = Annotated[int, Field(ge=0, le=MAX_PADDING), WHOLE]


class _Layer(Section):
    kind: str


class _Window(_Layer):
    kernel: Kernel = 3
    """Height and width of a window, in pixels."""
    stride: Stride = 1
    """Pixels between windows."""
    padding: Padding | None = None
    """Pixels of zeros on every side; null: half of the kernel, so that stride 1 keeps the size."""
    relu: bool = True
    """Whether a ReLU follows the normalisation."""


class ConvLayer(_Window):
    """A layer of windows, as the method computes it, and its batch normalisation."""

    kind: Literal["conv"]
    filters: Width
    """Channels of the output."""
    groups: Width = 1
    """Groups of channels that do not see each other; divides the channels and the filters."""


class DepthwiseLayer(_Window):
    """A layer of windows of one channel each, and its batch normalisation."""

    kind: Literal["depthwise"]


class LinearLayer(_Layer):
    """A fully connected layer and its batch normalisation; an image is flattened first."""

    kind: Literal["linear"]
    features: Width
    """Values of the output."""
    relu: bool = True
    """Whether a ReLU follows the normalisation."""


class MaxPoolLayer(_Layer):
    """The greatest of each window."""

    kind: Literal["max_pool"]
    size: Annotated[int, Field(ge=2, le=MAX_KERNEL), WHOLE]
    """Height and width of a window, in pixels."""
    stride: Stride | None = None
    """Pixels between windows; null: the size."""


class AvgPoolLayer(_Layer):
    """The mean of each channel over all positions."""

    kind: Literal["avg_pool"]


class FlattenLayer(_Layer):
    """From an image to features."""

    kind: Literal["flatten"]


class ResidualLayer(_Layer):
    """Layers to whose result their input is added, by a 1×1 layer where the shape changes."""

    kind: Literal["residual"]
    layers: Annotated[
        tuple[Annotated[ConvLayer | DepthwiseLayer, Field(discriminator="kind")], ...],
        Field(min_length=1, max_length=MAX_LAYERS, strict=False),
    ]
    """The layers, in order."""
    relu: bool = True
    """Whether a ReLU follows the addition."""


CustomLayer = Annotated[
    ConvLayer | DepthwiseLayer | LinearLayer | MaxPoolLayer | AvgPoolLayer | FlattenLayer | ResidualLayer,
    Field(discriminator="kind"),
]
