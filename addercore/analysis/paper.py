"""The published numbers that stand beside ours, as fractions. Source: Chen et al., CVPR 2020, arXiv:1912.13200."""

from typing import Final

MNIST: Final = {"conv": 0.994, "adder": 0.994}
"""Section 4.1, LeNet-5-BN."""

MNIST_CYCLES: Final = {"conv": 2.6e6, "adder": 1.7e6}
"""Section 4.1: cycles of the latency model, from ~435K multiplications and as many additions."""

TABLE1: Final = {"adder": (0.0009, 0.0012, 0.0146), "conv": (0.2261, 0.2990, 0.4646)}
"""Gradient norms at the first iteration, LeNet-5-BN's layers 1 to 3, MNIST."""

TABLE2: Final[dict[tuple[str, str], tuple[float, float]]] = {
    ("vgg_small", "bnn"): (0.8980, 0.6541),
    ("vgg_small", "adder"): (0.9372, 0.7264),
    ("vgg_small", "conv"): (0.9380, 0.7273),
    ("resnet20", "bnn"): (0.8487, 0.5414),
    ("resnet20", "adder"): (0.9184, 0.6760),
    ("resnet20", "conv"): (0.9225, 0.6814),
    ("resnet32", "bnn"): (0.8674, 0.5621),
    ("resnet32", "adder"): (0.9301, 0.6902),
    ("resnet32", "conv"): (0.9329, 0.6974),
}
"""Accuracy on CIFAR-10 and CIFAR-100."""

TABLE3: Final[dict[tuple[str, str], tuple[float, float]]] = {
    ("resnet18", "bnn"): (0.512, 0.732),
    ("resnet18", "adder"): (0.670, 0.876),
    ("resnet18", "conv"): (0.698, 0.891),
    ("resnet50", "bnn"): (0.558, 0.784),
    ("resnet50", "adder"): (0.749, 0.917),
    ("resnet50", "conv"): (0.762, 0.929),
}
"""Top-1 and top-5 accuracy on ImageNet."""

TABLE4: Final = {1.0: 0.9926, 0.5: 0.9930, 0.2: 0.9935, 0.1: 0.9940, 0.05: 0.9932}
"""Accuracy on MNIST by η."""

BEST_ETA: Final = 0.1

ABLATION: Final = {
    "full_precision-alr": 0.9940,
    "full_precision-ilr": 0.9899,
    "sign-alr": 0.9799,
    "sign-ilr": 0.9772,
}
"""Section 4.4 and Figure 3, MNIST; in the paper's order."""

XNOR: Final = {"conv": (0.567, 1.0, 1.0), "bwn": (0.568, 32.0, 2.0), "xnor": (0.442, 32.0, 58.0)}
"""AlexNet, ImageNet top-1, saving in memory and in computation. Rastegari et al., ECCV 2016, arXiv:1603.05279."""

PKKD: Final = {"plain": (0.9184, 0.6760), "distilled": (0.9296, 0.6993)}
"""ResNet-20 on CIFAR-10 and CIFAR-100. Xu et al., NeurIPS 2020, arXiv:2009.13044 (another form of distillation)."""
