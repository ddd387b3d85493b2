"""Which layers of a stored model a training takes over."""

from __future__ import annotations

from typing import Any

import pytest

from addercore.arch import initialised, network
from tests.api.attempt import MANIFEST

CLASSES = tuple("0123456789")


def manifest(arch: str = "lenet5_bn", shape: tuple[int, int, int] = (1, 32, 32), **changes: Any) -> dict[str, Any]:
    part = MANIFEST["network"] | {"arch": arch, "input_shape": list(shape)}
    preprocessing = {"resize": list(shape[1:]), "channels": shape[0], "mean": [0.3] * shape[0], "std": [0.3] * shape[0]}
    return MANIFEST | {"network": part, "preprocessing": preprocessing} | changes


def test_a_model_of_the_same_classes_gives_every_layer() -> None:
    found = initialised(manifest(), network("lenet5_bn", (1, 32, 32), 10), CLASSES)
    assert found.new == ()
    assert found.taken == ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "fc1", "bn4", "fc2", "bn5")


@pytest.mark.parametrize("classes", [("cat", "dog", "owl"), tuple("9876543210"), tuple("0123456789ab")])
@pytest.mark.parametrize(
    ("arch", "shape", "head"),
    [
        ("lenet5_bn", (1, 32, 32), ("fc2", "bn5")),
        ("vgg_small", (3, 32, 32), ("classifier", "classifier_bn")),
        ("resnet20", (3, 32, 32), ("classifier", "classifier_bn")),
        ("alexnet", (3, 64, 64), ("fc8", "bn8")),
    ],
)
def test_of_a_model_of_other_classes_the_last_layer_starts_anew(
    classes: tuple[str, ...], arch: str, shape: tuple[int, int, int], head: tuple[str, ...]
) -> None:
    net = network(arch, shape, len(classes))
    found = initialised(manifest(arch, shape), net, classes)
    assert found.new == head
    assert found.taken
    assert not set(found.taken) & set(head)


def test_images_may_be_of_another_size_where_no_weight_depends_on_it() -> None:
    large = network("resnet20", (3, 64, 48), 10)
    assert initialised(manifest("resnet20", (3, 32, 32)), large, CLASSES).new == ()
    with pytest.raises(ValueError, match=r"has other shapes in conv: .* \[3, 32, 32\], this training has \[1, 32"):
        initialised(manifest("resnet20", (3, 32, 32)), network("resnet20", (1, 32, 32), 10), CLASSES)
    with pytest.raises(ValueError, match=r"has other shapes in fc1: "):
        initialised(manifest(), network("lenet5_bn", (1, 48, 48), 10), CLASSES)


def test_another_architecture_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"is of lenet5_bn, this training of resnet20: name a model of resnet20"):
        initialised(manifest(), network("resnet20", (1, 32, 32), 10), CLASSES)
