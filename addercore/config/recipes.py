"""The recipes by name: which table or figure of the paper each makes, on what, and with which defaults."""

from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from addercore.arch.methods import METHODS
from addercore.arch.networks import network
from addercore.config.datasets import dataset as dataset_info

Output = Literal["table", "figure"]
Control = Literal["none", "permuted_labels", "permuted_weights"]

SMALL: Final = "digits"
"""The dataset that every recipe runs on by default: it comes with the package and takes minutes, not days."""

STAND_IN: Final = "lenet5_bn"
"""The network of a default where none of the recipe's own fits the dataset's images."""

_TWINS: Final = ("adder", "conv")


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a recipe looks at unless it is told otherwise; None: the recipe has no such option, or its dataset says."""

    archs: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    etas: tuple[float, ...] | None = None
    seeds: tuple[int, ...] = (0,)
    epochs: int | None = None
    batch_size: int | None = None


@dataclass(frozen=True, slots=True)
class RecipeInfo:
    """A recipe; `small` are its defaults on digits, `full` those on every other dataset."""

    name: str
    title: str
    reference: str
    description: str
    output: Output
    datasets: tuple[str, ...]  # the paper's
    small: Defaults
    full: Defaults
    takes_model: bool = False
    one_arch: bool = True  # it compares methods or options within one network
    trains: bool = True  # else it looks at networks as they are initialised
    controls: tuple[Control, ...] = ("none", "permuted_labels")
    known_methods: tuple[str, ...] = METHODS

    def defaults(self, dataset: str) -> Defaults:
        """On `dataset`; of the networks those that fit its images, or the stand-in where none does."""
        given = self.small if dataset == SMALL else self.full
        if given.archs is None:
            return given
        archs = tuple(arch for arch in given.archs if _fits(arch, dataset)) or (STAND_IN,)
        return replace(given, archs=archs)

    def options(self) -> tuple[str, ...]:
        """Which of archs, methods and etas it takes."""
        return tuple(name for name in ("archs", "methods", "etas") if getattr(self.small, name) is not None)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "reference": self.reference,
            "description": self.description,
            "output": self.output,
            "datasets": list(self.datasets),
            "takes_model": self.takes_model,
            "options": list(self.options()),
            "controls": list(self.controls),
        }


def _fits(arch: str, dataset: str) -> bool:
    info = dataset_info(dataset)
    try:
        network(arch, info.input_shape, len(info.classes))
    except ValueError:
        return False
    return True


_FIVE: Final = (0, 1, 2, 3, 4)
_CIFAR: Final = ("cifar10", "cifar100")

_ALL: Final = (
    RecipeInfo(
        name="mnist",
        title="Accuracy, operations and latency of LeNet-5-BN",
        reference="Chen et al. 2020, section 4.1 (MNIST)",
        description=(
            "Trains the network by each method: validation accuracy (mean ± standard deviation over seeds) beside "
            "operations, energy at 45 nm and the latency model (multiplication 4 cycles, addition 2)."
        ),
        output="table",
        datasets=("mnist",),
        small=Defaults(("lenet5_bn",), ("conv", "adder", "bnn", "xnor", "bwn"), seeds=_FIVE),
        full=Defaults(("lenet5_bn",), ("conv", "adder"), seeds=(0, 1, 2)),
        one_arch=False,
    ),
    RecipeInfo(
        name="table1",
        title="Gradient norms at the first iteration",
        reference="Chen et al. 2020, Table 1",
        description=(
            "‖∂L/∂F‖₂ of each layer in the first step that a training would take, adder network against CNN, mean over "
            "seeds. The control deals each layer's norms to the networks at random."
        ),
        output="table",
        datasets=("mnist",),
        small=Defaults(("lenet5_bn",), _TWINS, seeds=_FIVE),
        full=Defaults(("lenet5_bn",), _TWINS, seeds=(0, 1, 2)),
        trains=False,
        controls=("none", "permuted_weights"),
    ),
    RecipeInfo(
        name="table2",
        title="Classification on CIFAR",
        reference="Chen et al. 2020, Table 2",
        description=(
            "Validation accuracy and operations of several networks by each method; first and last layer stay "
            "convolutions, as published. On digits by default LeNet-5-BN and ResNet-20, a few epochs."
        ),
        output="table",
        datasets=_CIFAR,
        small=Defaults(("lenet5_bn", "resnet20"), ("bnn", "adder", "conv"), epochs=4, batch_size=32),
        full=Defaults(("vgg_small", "resnet20", "resnet32"), ("bnn", "adder", "conv")),
        one_arch=False,
    ),
    RecipeInfo(
        name="table3",
        title="Classification on ImageNet",
        reference="Chen et al. 2020, Table 3",
        description=(
            "Top-1 and top-5 validation accuracy and operations of ResNets by each method; first and last layer stay "
            "convolutions. On digits by default ResNet-18, a few epochs."
        ),
        output="table",
        datasets=("imagenet",),
        small=Defaults(("resnet18",), ("bnn", "adder", "conv"), epochs=4, batch_size=32),
        full=Defaults(("resnet18", "resnet50"), ("bnn", "adder", "conv")),
        one_arch=False,
    ),
    RecipeInfo(
        name="table4",
        title="The rate η of the adaptive local learning rate",
        reference="Chen et al. 2020, Table 4 (eq. 13)",
        description="Trains the adder network with each η and compares validation accuracies, paired by seed.",
        output="table",
        datasets=("mnist",),
        small=Defaults(("lenet5_bn",), etas=(1.0, 0.5, 0.2, 0.1, 0.05), seeds=_FIVE),
        full=Defaults(("lenet5_bn",), etas=(1.0, 0.5, 0.2, 0.1, 0.05), seeds=(0, 1, 2)),
    ),
    RecipeInfo(
        name="xnor_table",
        title="Binary weights and binary networks of AlexNet",
        reference="Rastegari et al. 2016 (XNOR-Net), tables 1 and 3; cited by Chen et al. 2020",
        description=(
            "Accuracy of binary weights (bwn) and binary weights and inputs (xnor) beside full precision, with the "
            "saving in memory and in computation from counts. AlexNet needs large images: on small ones LeNet-5-BN "
            "stands in."
        ),
        output="table",
        datasets=("imagenet",),
        small=Defaults(("lenet5_bn",), ("conv", "bwn", "xnor"), seeds=(0, 1, 2)),
        full=Defaults(("alexnet",), ("conv", "bwn", "xnor")),
    ),
    RecipeInfo(
        name="figure1",
        title="Features in the plane of the last hidden layer",
        reference="Chen et al. 2020, Figure 1",
        description=(
            "Trains LeNet-5-BN with two units in its last hidden layer and draws that plane. Verdict: do adder "
            "features cluster round class centres (L1 distances), and do the CNN's separate by angle?"
        ),
        output="figure",
        datasets=("mnist",),
        small=Defaults(("lenet5_bn_2d",), _TWINS, epochs=60),
        full=Defaults(("lenet5_bn_2d",), _TWINS),
    ),
    RecipeInfo(
        name="figure2",
        title="Filters of the first layer",
        reference="Chen et al. 2020, Figure 2",
        description=(
            "The first layer's trained filters as images. Verdict: have they spatial structure (correlation of "
            "neighbouring taps against the same taps shuffled)? The control shuffles the taps."
        ),
        output="figure",
        datasets=("mnist",),
        small=Defaults(("lenet5_bn",), _TWINS),
        full=Defaults(("lenet5_bn",), _TWINS),
        takes_model=True,
        controls=("none", "permuted_labels", "permuted_weights"),
    ),
    RecipeInfo(
        name="figure3",
        title="Learning curves of the ablation",
        reference="Chen et al. 2020, Figure 3 and section 4.4",
        description=(
            "Full-precision or sign gradient × adaptive (ALR), increased (ILR) or no local learning rate: curves of "
            "accuracy and loss, and paired differences over seeds. A difference within its 95 % interval is a tie."
        ),
        output="figure",
        datasets=("mnist",),
        small=Defaults(("lenet5_bn",), seeds=_FIVE),
        full=Defaults(("lenet5_bn",), seeds=(0, 1, 2)),
    ),
    RecipeInfo(
        name="figure4",
        title="Histograms of the weights",
        reference="Chen et al. 2020, Figure 4",
        description=(
            "Weights of each layer with the Laplace and Gaussian distributions of maximum likelihood, compared by "
            "log-likelihood and Kolmogorov–Smirnov distance. The control gives each weight the same rank in the other "
            "distribution."
        ),
        output="figure",
        datasets=("mnist",),
        small=Defaults(("lenet5_bn",), _TWINS),
        full=Defaults(("lenet5_bn",), _TWINS),
        takes_model=True,
        controls=("none", "permuted_labels", "permuted_weights"),
    ),
    RecipeInfo(
        name="variance",
        title="Predicted and measured variance of the layers' outputs",
        reference="Chen et al. 2020, eqs. 8 and 9",
        description=(
            "Var Y of each layer at initialisation (or in a given model) as predicted from Var X and Var F, against "
            "the measured one, with N(0, 1) inputs and with what reaches the layer from real images. The control sorts "
            "each layer's weights, which keeps Var F and breaks the independence that the equations assume."
        ),
        output="figure",
        datasets=("mnist",),
        small=Defaults(("lenet5_bn",), _TWINS, seeds=_FIVE),
        full=Defaults(("lenet5_bn",), _TWINS, seeds=(0, 1, 2)),
        takes_model=True,
        trains=False,
        controls=("none", "permuted_weights"),
        known_methods=_TWINS,
    ),
    RecipeInfo(
        name="distillation",
        title="Distillation from the convolutional twin",
        reference="Xu et al. 2020 (PKKD), after Hinton et al. 2015",
        description=(
            "Trains the convolutional twin well (twice as long; on digits on augmented images), then the adder network "
            "with and without it as teacher: paired differences of validation accuracy over seeds."
        ),
        output="table",
        datasets=_CIFAR,
        small=Defaults(("lenet5_bn",), seeds=tuple(range(15))),
        full=Defaults(("resnet20",)),
    ),
    RecipeInfo(
        name="successors",
        title="Successors of adder networks at equal epochs",
        reference="Xu et al. 2020 (PKKD); Chen et al. 2021 (Universal adder neural networks)",
        description=(
            "Trains the adder network plainly, with other clips of the input gradient, with powers from 2 to 1, and "
            "distilled in three ways, each for the same epochs: paired differences of validation accuracy over seeds."
        ),
        output="table",
        datasets=_CIFAR,
        small=Defaults(("lenet5_bn",), seeds=(0, 1, 2), epochs=8),
        full=Defaults(("lenet5_bn",), seeds=(0, 1, 2), epochs=10),
    ),
    RecipeInfo(
        name="integer",
        title="Adder networks in integers",
        reference="Chen et al. 2020, section 5 (future work)",
        description=(
            "Trains the adder network and its convolutional twin and quantises them: floats against 8, 6, 5 and 4 bits "
            "with and without fine-tuning. Accuracy with the paired interval of the answers, bytes, operations, energy "
            "and measured time, beside the twin in int8 and in ONNX Runtime."
        ),
        output="figure",
        datasets=("mnist", "cifar10"),
        small=Defaults(("lenet5_bn",), seeds=(0, 1, 2)),
        full=Defaults(("lenet5_bn",)),
    ),
    RecipeInfo(
        name="latency",
        title="The latency model and measured time",
        reference="Chen et al. 2020, section 4.1 (MNIST)",
        description=(
            "The paper's cycles (addition 2, multiplication 4) of adder and convolutional networks beside the time "
            "that they take here: floats by torch, integers by the integer engine, the twin by ONNX Runtime."
        ),
        output="table",
        datasets=("mnist", "cifar10"),
        small=Defaults(("lenet5_bn", "resnet20")),
        full=Defaults(("lenet5_bn", "resnet20")),
        one_arch=False,
        trains=False,
        controls=("none",),
    ),
)

RECIPES: Final[dict[str, RecipeInfo]] = {info.name: info for info in _ALL}
"""Every recipe by name."""
