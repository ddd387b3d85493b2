"""Shared by all figures: drawing without pyplot's global state, and colours that the colour-blind can distinguish."""

from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933")
"""Okabe and Ito, https://jfly.uni-koeln.de/color/, but for the yellow, which is faint on white."""

METHOD_COLOURS: Final = {
    "adder": COLOURS[0],
    "conv": COLOURS[1],
    "bnn": COLOURS[2],
    "xnor": COLOURS[3],
    "bwn": COLOURS[4],
}
METHOD_NAMES: Final = {"adder": "AdderNet", "conv": "CNN", "bnn": "BNN", "xnor": "XNOR-Net", "bwn": "BWN"}
ARCH_NAMES: Final = {
    "lenet5_bn": "LeNet-5-BN",
    "vgg_small": "VGG-small",
    "resnet20": "ResNet-20",
    "resnet32": "ResNet-32",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "alexnet": "AlexNet",
}
GRADIENT_NAMES: Final = {"full_precision": "full precision", "sign": "sign"}
RATE_NAMES: Final = {"alr": "ALR", "ilr": "ILR", "none": "no local rate"}

DPI: Final = 150

_STYLE: Final[dict[Any, Any]] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
}


def can_draw() -> bool:
    return find_spec("matplotlib") is not None


def png(draw: "Callable[[Figure], None]", size: tuple[float, float]) -> bytes:
    """The PNG of a figure of `size` inches that `draw` fills."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def light_grid(axes: "Axes", axis: Literal["both", "x", "y"] = "both") -> None:
    axes.grid(alpha=0.25, linewidth=0.6, axis=axis)
    axes.set_axisbelow(True)
