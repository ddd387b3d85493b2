"""Which layers of a stored model a new training takes over, and which it draws anew (transfer learning)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from addercore.arch.layers import Conv, Linear
from addercore.arch.manifest import check_manifest
from addercore.arch.networks import Network, tensors


@dataclass(frozen=True, slots=True)
class Initialised:
    """Where the layers of a new network get their first weights from, by their names in order of computation.

    Attributes:
        taken: layers with the stored model's weights and batch statistics.
        new: layers with freshly drawn weights.
    """

    taken: tuple[str, ...]
    new: tuple[str, ...]

    def to_dict(self) -> dict[str, list[str]]:
        """The names as lists, for JSON."""
        return {"taken": list(self.taken), "new": list(self.new)}


def initialised(manifest: dict[str, Any], net: Network, classes: Sequence[str]) -> Initialised:
    """Says what a network can take from a stored model.

    With the same classes it takes everything. With others the last layer, which computes the scores of the classes,
    starts anew, with the batch normalisation behind it.

    Args:
        manifest: the stored model's. Its method may be another; its images too where no weight depends on them.
        net: the network to be trained.
        classes: names of its classes, in order.

    Raises:
        ValueError: another architecture, or a layer before the last one has another shape.
        BadModel: the manifest is damaged.
    """
    source = check_manifest(manifest)
    if source.arch != net.arch:
        raise ValueError(f"is of {source.arch}, this training of {net.arch}: name a model of {net.arch}")
    layers = _layers(net)
    head = set() if list(classes) == manifest["classes"] else set(layers[_last(net, layers) :])
    its, mine = tensors(source), tensors(net)
    other = {name.rpartition(".")[0] for name in mine if its.get(name) != mine[name]} - head
    if other:
        listed = ", ".join(name for name in layers if name in other)
        shapes = f"it takes images of {list(source.input_shape)}, this training has {list(net.input_shape)}"
        raise ValueError(f"has other shapes in {listed}: {shapes}; give the images its size, or name another model")
    return Initialised(
        tuple(name for name in layers if name not in head), tuple(name for name in layers if name in head)
    )


def _layers(net: Network) -> list[str]:
    """Names of the layers that have weights, in order of computation."""
    return list(dict.fromkeys(name.rpartition(".")[0] for name in tensors(net)))


def _last(net: Network, layers: list[str]) -> int:
    """The place of the layer that computes the classes' scores."""
    scoring = [placed.name for placed in net.layers() if isinstance(placed.layer, Conv | Linear)]
    return layers.index(scoring[-1])
