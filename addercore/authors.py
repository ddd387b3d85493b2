"""`python -m addercore.authors FILE OUT`: a model file from a state dictionary of the paper's own code.

That code (https://github.com/huawei-noah/AdderNet) stores tensors by torch.save, a pickle, which may run whatever it
likes when it is loaded. This program reads the plain values of one alone (`weights_only`), in a process with limits.

It knows the paper's ResNet-20 (CIFAR) and ResNet-50 (ImageNet). Their last layer is a 1×1 convolution; that of
ResNet-50 has a bias, which the normalisation behind it takes in: BN(y + b) = BN'(y) with the running mean less b.
"""

import argparse
import hashlib
import pickle
import re
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from addercore.arch import Network, network, tensors
from addercore.arch.manifest import pickled
from addercore.config import TrainConfig, dataset
from addercore.errors import BadModel
from addercore.files import write_atomic
from addercore.io import encode, manifest_of

MEMORY: Final = 3 * 2**30
"""Bytes that this program may use beside six times the file."""
CPU_SECONDS: Final = 300
CONTAINERS: Final = ("state_dict", "model_state_dict", "model", "net", "params")
"""Under what names programs put a state dictionary beside epoch and accuracy."""
DATASETS: Final = {10: "cifar10", 100: "cifar100", 1000: "imagenet"}
"""What the paper trained on, by number of classes."""
ADVICE: Final = (
    "It is read without running any code of it, so it must hold tensors by name and nothing else. Where the network "
    "was trained, write torch.save(net.state_dict(), FILE) and import that"
)


def convert(source: Path, target: Path, name: str | None = None) -> dict[str, Any]:
    """Writes the model file of a state dictionary that the paper's code stored.

    Args:
        source: a `.pth` or `.ckpt` with the state of the paper's ResNet-20 or ResNet-50.
        target: the `model.safetensors` to write.
        name: the dataset that it was trained on; None: CIFAR-10, CIFAR-100 or ImageNet, by the number of classes.

    Returns:
        The model's manifest.

    Raises:
        BadModel: the file is no such state dictionary.
        ValueError: `name` is no dataset of so many classes.
        OSError: a file cannot be read or written.
    """
    state = _plain(_values(source), source)
    classes = _classes(state, source)
    info = dataset(_dataset(name, classes))
    if len(info.classes) != classes:
        raise ValueError(f"{info.name} has {len(info.classes)} classes, the network in {source} {classes}")
    arch = "resnet50_v1.5" if "layer1.0.conv3.adder" in state else "resnet20"
    spec = {"model": {"arch": arch, "method": "adder", "first_last": "conv"}, "dataset": {"name": info.name}}
    weights = _renamed(state, network(arch, info.input_shape, classes), source)
    origin = {"format": "state dictionary of the paper's code", "sha256": _digest(source)}
    manifest = manifest_of(TrainConfig.from_dict(spec), {}) | {"config": {}, "imported_from": origin}
    write_atomic(target, encode(weights, manifest))
    return manifest


def _values(path: Path) -> Any:
    if not pickled(path):
        raise BadModel(f"{path} is no file of torch.save.")
    try:
        with path.open("rb") as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise BadModel(f"{path} holds more than plain values, perhaps a whole network. {ADVICE}.") from None
    except (MemoryError, OSError):
        raise
    except Exception as error:  # noqa: BLE001  (torch's restricted unpickler fails in any way on what it does not know)
        first = str(error).split("\n", 1)[0][:200]
        raise BadModel(f"{path} is no file of torch.save, or is damaged ({first}).") from None


def _plain(found: Any, path: Path) -> dict[str, Tensor]:
    """The tensors by the names that they have in the network, without those of its wrappers."""
    for container in CONTAINERS:
        if isinstance(found, Mapping) and isinstance(found.get(container), Mapping):
            found = found[container]
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise BadModel(f"{path} holds no tensors by name. {ADVICE}.")
    return {re.sub(r"^(module\.|_orig_mod\.)+", "", str(name)): value for name, value in found.items()}


def _classes(state: Mapping[str, Tensor], path: Path) -> int:
    if "fc.weight" not in state or "layer1.0.conv1.adder" not in state:
        shown = ", ".join(list(state)[:4])
        raise BadModel(
            f"{path} holds none of the paper's networks: it lacks fc.weight or layer1.0.conv1.adder, and has {shown} "
            "…; ResNet-20 and ResNet-50 of the paper's code can be imported."
        )
    return int(state["fc.weight"].shape[0])


def _dataset(name: str | None, classes: int) -> str:
    if name is not None:
        return name
    if classes not in DATASETS:
        known = ", ".join(f"{number} ({known})" for number, known in DATASETS.items())
        raise ValueError(f"the network has {classes} classes; known are {known}. Name its dataset by --dataset")
    return DATASETS[classes]


def _renamed(state: Mapping[str, Tensor], net: Network, path: Path) -> dict[str, Tensor]:
    """The tensors of a network under their names here, each with the shape that it must have."""
    left = dict(state)
    bias = left.pop("fc.bias", None)
    weights: dict[str, Tensor] = {}
    for name, (_, shape) in tensors(net).items():
        theirs = their_name(name)
        value = left.pop(theirs, None)
        if value is None and name.endswith("num_batches_tracked"):
            value = torch.zeros((), dtype=torch.int64)  # torch before 0.4.1 had none
        if value is None:
            raise BadModel(f"{path} lacks {theirs} of the paper's {net.arch}.")
        if value.numel() != torch.Size(shape).numel() or tuple(value.shape)[: len(shape)] != shape:
            raise BadModel(f"{path}: {theirs} has the shape {tuple(value.shape)}; {net.arch} has {shape}.")
        if not torch.isfinite(value).all():
            raise BadModel(f"{path}: {theirs} has values that are NaN or infinite.")
        weights[name] = value.reshape(shape).to(torch.int64 if name.endswith("tracked") else torch.float32)
    if left:
        raise BadModel(f"{path} has tensors that the paper's {net.arch} has not: {', '.join(list(left)[:4])}.")
    if bias is not None:
        weights["classifier_bn.running_mean"] = weights["classifier_bn.running_mean"] - bias.float()
    return weights


def their_name(name: str) -> str:
    """The name of a tensor in the paper's code.

    `stage2.block1.shortcut.conv.weight` is `layer2.0.downsample.0.adder` there.
    """
    layer, _, part = name.rpartition(".")
    outer = {"conv": "conv1", "bn": "bn1", "classifier": "fc", "classifier_bn": "bn2"}
    if layer in outer:
        return f"{outer[layer]}.{part}"
    stage, block, inner, leaf = layer.split(".")
    at = f"layer{stage.removeprefix('stage')}.{int(block.removeprefix('block')) - 1}"
    where = f"{at}.{leaf}" if inner == "body" else f"{at}.downsample.{('conv', 'bn').index(leaf)}"
    return f"{where}.{'adder' if 'conv' in leaf else part}"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _limit(path: Path) -> None:
    """A file that was made to fill the memory or to compute for ever ends this process, and nothing else."""
    size = path.stat().st_size
    most = MEMORY + 6 * size
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * size + 2**20, 2 * size + 2**20))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m addercore.authors", description=__doc__)
    parser.add_argument("source", type=Path, metavar="FILE", help="a .pth or .ckpt of the paper's code")
    parser.add_argument("target", type=Path, metavar="OUT", help="the model.safetensors to write")
    parser.add_argument("--dataset", help="what it was trained on, if not by the number of its classes")
    options = parser.parse_args()
    try:
        _limit(options.source)
        convert(options.source, options.target, options.dataset)
    except (BadModel, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except MemoryError:
        print(f"{options.source} needs more memory than a network of its size.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
