"""Published figures, memory, energy, latency; the docs' tables; recipes by dataset; what does not fit is refused."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from addercore.arch import (
    ARCHS,
    BINARY,
    DATA_TYPES,
    METHODS,
    PUBLISHED,
    Counts,
    check_manifest,
    count,
    default_first_last,
    network,
)
from addercore.config import InvalidConfig, TrainConfig, dataset, recipe, register
from addercore.io import manifest_of

MACS = {  # multiply-accumulates for one image (docs/paper.md, section 2; AlexNet by its layers' shapes)
    "lenet5_bn": 416_520,
    "vgg_small": 607_600_640,
    "resnet20": 40_813_184,
    "resnet32": 69_124_736,
    "resnet18": 1_814_073_344,
    "resnet50": 3_857_973_248,
    "resnet50_v1.5": 4_089_184_256,
    "alexnet": 55**2 * 96 * 363
    + 27**2 * 256 * 2400
    + 13**2 * (384 * 2304 + 384 * 3456 + 256 * 3456)
    + 9216 * 4096
    + 4096 * 4096
    + 4096 * 1000,
    "mobilenet_v2": 300_774_272,  # 300.8 million
}


def published(arch: str, method: str, first_last: str, data_type: str = "fp32") -> Counts:
    shape, classes = PUBLISHED[arch]
    return count(network(arch, shape, classes), method, first_last, data_type)


@pytest.mark.parametrize("arch", MACS)
def test_operations_of_published_networks(arch: str) -> None:
    n = MACS[arch]
    for method, add, mul, xnor in (
        ("conv", n, n, 0),
        ("adder", 2 * n, 0, 0),
        ("bnn", n, 0, n),
        ("xnor", n, 0, n),
        ("bwn", n, 0, 0),
    ):
        operations = published(arch, method, "adder").operations
        assert (operations.add, operations.mul, operations.xnor) == (add, mul, xnor)
    ends = published(arch, "adder", "conv").operations.mul
    assert 0 < ends < n
    for binary in BINARY:
        kept = published(arch, binary, "conv").operations
        assert (kept.add, kept.mul, kept.xnor) == (n, ends, 0 if binary == "bwn" else n - ends)


def test_parameters_of_published_networks() -> None:
    """Those of the usual networks, with a normalisation over the classes (2 each) in place of biases (1 each)."""
    assert published("resnet50", "adder", "adder").parameters == 25_557_032 + 1000
    assert published("resnet50_v1.5", "adder", "adder").parameters == 25_557_032 + 1000
    filters = 96 * 363 + 256 * 2400 + 384 * 2304 + 384 * 3456 + 256 * 3456 + 9216 * 4096 + 4096 * 4096 + 4096 * 1000
    norms = 2 * (96 + 256 + 384 + 384 + 256 + 4096 + 4096 + 1000)
    assert published("alexnet", "conv", "conv").parameters == filters + norms


def test_resnet50_strides_where_its_version_says() -> None:
    for arch, reduced, windowed in (("resnet50", 28, 28), ("resnet50_v1.5", 56, 28)):
        shapes = {layer.name: layer.output_shape for layer in network(arch, (3, 224, 224), 1000).layers()}
        assert shapes["stage2.block1.body.conv1"] == (128, reduced, reduced)
        assert shapes["stage2.block1.body.conv2"] == (128, windowed, windowed)
        assert shapes["stage2.block1.shortcut.conv"] == (512, 28, 28)
        assert shapes["stage4.block3.body.conv3"] == (2048, 7, 7)


def test_memory_has_a_bit_for_a_binary_weight() -> None:
    inner = (2400, 48_000, 10_080)  # weights of conv2, conv3, fc1
    factors = 16 + 120 + 84
    ends, norms = 150 + 840, 2 * (6 + 16 + 120 + 84 + 10)
    bits = sum(weights // 8 for weights in inner)
    assert published("lenet5_bn", "conv", "conv").parameter_bytes == 4 * (sum(inner) + ends + norms)
    assert published("lenet5_bn", "xnor", "conv").parameter_bytes == bits + 4 * (factors + ends + norms)
    assert published("lenet5_bn", "bwn", "conv", "fp16").parameter_bytes == bits + 2 * (factors + ends + norms)
    assert published("lenet5_bn", "bnn", "conv", "int8").parameter_bytes == bits + 3 + ends + norms
    converted = published("lenet5_bn", "bnn", "adder").layers[0]
    assert (converted.kind, converted.parameter_bytes) == ("bnn_conv", 19 + 4)  # 150 bits in whole bytes
    outputs = published("lenet5_bn", "adder", "adder").activation_bytes // 4
    assert published("lenet5_bn", "adder", "adder", "fp16").activation_bytes == 2 * outputs


@pytest.mark.parametrize(
    ("data_type", "add", "mul"), [("fp32", 0.9, 3.7), ("fp16", 0.4, 1.1), ("int32", 0.1, 3.1), ("int8", 0.03, 0.2)]
)
def test_energy_by_data_type(data_type: str, add: float, mul: float) -> None:
    n, ends = MACS["resnet20"], 443_008
    picojoules = {
        ("conv", "conv"): n * (add + mul),
        ("adder", "adder"): 2 * n * add,
        ("adder", "conv"): (2 * n - ends) * add + ends * mul,
        ("bwn", "conv"): n * add + ends * mul,
        ("xnor", "conv"): (n - ends) * (0.1 + 0.03 / 8) + ends * (add + mul),  # sums of bits are int32
    }
    for (method, first_last), expected in picojoules.items():
        counts = published("resnet20", method, first_last, data_type)
        assert counts.energy_joules == pytest.approx(expected * 1e-12, rel=1e-12)
        assert sum(layer.energy_joules for layer in counts.layers) == counts.energy_joules
        assert published("resnet20", method, first_last).energy_by_data_type[data_type] == counts.energy_joules  # type: ignore[index]


def test_the_latency_model_is_the_paper_s() -> None:
    n = MACS["lenet5_bn"]
    assert published("lenet5_bn", "conv", "conv").latency_cycles == 6 * n
    assert published("lenet5_bn", "adder", "adder").latency_cycles == 4 * n
    assert published("lenet5_bn", "bnn", "adder").latency_cycles == 3 * n


def test_an_unknown_data_type_is_named() -> None:
    with pytest.raises(ValueError, match=r"'fp64'.*fp32, fp16, int32, int8"):
        published("lenet5_bn", "adder", "adder", "fp64")


PAGE = Path(__file__).parents[3] / "docs" / "counts.md"


def rows(cells: int) -> list[list[str]]:
    """The docs' table rows of so many cells that begin with a name of ours."""
    found = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in PAGE.read_text().splitlines()]
    return [row for row in found if len(row) == cells and row[0] in {*ARCHS, *METHODS}]


def test_the_docs_tables_are_what_is_counted() -> None:
    table = rows(11)
    assert {row[0] for row in table} == MACS.keys()
    assert {(row[2], row[3]) for row in table} >= {(method, default_first_last(method)) for method in METHODS}
    for arch, image, method, ends, *numbers in table:
        counts = published(arch, method, ends)
        operations = counts.operations
        whole = (operations.add, operations.mul, operations.xnor, counts.parameters, counts.parameter_bytes)
        energy = f"{counts.energy_joules * 1e6:,.2f}"
        assert image == "×".join(map(str, PUBLISHED[arch][0]))
        assert numbers == [*(f"{one:,}" for one in whole), energy, f"{counts.latency_cycles:,}"]
    by_type = rows(10)
    assert len(by_type) == 5
    for method, ends, *numbers in by_type:
        every = [published("resnet20", method, ends, kind) for kind in DATA_TYPES]
        energies = [f"{counts.energy_joules * 1e6:,.2f}" for counts in every]
        assert numbers == energies + [f"{counts.parameter_bytes:,}" for counts in every]


def test_the_docs_comparison_has_numbers_that_are_counted() -> None:
    known = set()
    for arch in MACS:
        for method in METHODS:
            for ends in ("adder", "conv"):
                counts = published(arch, method, ends)
                operations = counts.operations
                known |= {operations.add, operations.mul, operations.add + operations.mul, counts.latency_cycles}
    comparison = PAGE.read_text().partition("## Beside the paper's figures")[2]
    written = {int(number.replace(",", "")) for number in re.findall(r"\d{1,3}(?:,\d{3})+", comparison)}
    written -= {2304}  # taps of XNOR-Net's example
    assert len(written) >= 12
    assert written <= known


LEAST = {"lenet5_bn": 32, "lenet5_bn_2d": 32, "vgg_small": 8, "alexnet": 21}
"""Height and width below which nothing of an image is left; residual networks keep 1×1 as it is."""


def test_the_docs_savings_of_binary_weights_are_those_counted() -> None:
    twin, page = published("alexnet", "conv", "conv"), PAGE.read_text()
    for method, ends, says in (("bwn", "adder", "31× with all layers binary"), ("bwn", "conv", "10.4× with ends")):
        ratio = twin.parameter_bytes / published("alexnet", method, ends).parameter_bytes
        assert float(says.partition("×")[0]) == pytest.approx(ratio, rel=0.02)
        assert says in page
    operations, binary = twin.operations, published("alexnet", "bwn", "conv").operations
    assert f"{(operations.add + operations.mul) / (binary.add + binary.mul):.1f}×" == "1.8×"
    assert "| ~2× | 1.8× |" in page


def known_dataset(name: str, shape: tuple[int, int, int], train_size: int = 1000) -> str:
    info = replace(
        dataset("digits"),
        name=name,
        input_shape=shape,
        train_size=train_size,
        mean=(0.5,) * shape[0],
        std=(0.25,) * shape[0],
    )
    register(info)
    return name


@pytest.mark.parametrize("arch", ARCHS)
def test_a_network_too_small_for_its_input_is_refused(arch: str) -> None:
    least = LEAST.get(arch, 1)
    for method in METHODS:
        TrainConfig.default(arch, known_dataset(f"ds_counts_{least}", (3, least, least)), method)
        if least > 1:
            with pytest.raises(InvalidConfig, match=rf"{arch} does not fit .*too small") as caught:
                TrainConfig.default(arch, known_dataset(f"ds_counts_{least - 1}", (3, least - 1, least - 1)), method)
            assert [error.pointer for error in caught.value.errors] == ["/model/arch"]


@pytest.mark.parametrize("arch", ARCHS)
def test_a_manifest_alone_rebuilds_a_published_network(arch: str) -> None:
    shape, classes = PUBLISHED[arch]
    name = {(1, 32, 32): "mnist", (3, 32, 32): "cifar10", (3, 224, 224): "imagenet"}[(shape[0], *shape[1:])]
    for method in METHODS:
        manifest = manifest_of(TrainConfig.default(arch, name, method), {})
        net = check_manifest(manifest)
        assert net == network(arch, shape, classes)
        part = manifest["network"]
        assert count(net, part["method"], part["first_last"]) == TrainConfig.default(arch, name, method).counts()


def test_recipes_are_the_papers() -> None:
    keys = ("nesterov", "weight_decay", "eta", "lr")
    found = {name: recipe(name) for name in ("mnist", "cifar10", "cifar100", "imagenet")}
    optimizers = {name: tuple(one["optimizer"][key] for key in keys) for name, one in found.items()}
    assert optimizers["mnist"] == (True, 5e-4, 0.1, 0.1)
    assert optimizers["cifar10"] == optimizers["cifar100"] == (False, 5e-4, 0.2, 0.1)
    assert optimizers["imagenet"] == (True, 1e-4, 0.2, 0.1)
    ways = {name: (one["epochs"], one["augment"], one["model"]["first_last"]) for name, one in found.items()}
    assert ways["mnist"] == (50, "none", "adder")
    assert ways["cifar10"] == ways["cifar100"] == (400, "crop_flip", "conv")
    assert ways["imagenet"] == (150, "imagenet", "conv")
    for method in ("conv", *BINARY):
        other = recipe("mnist", method)
        assert (other["model"]["first_last"], other["optimizer"]["adaptive_lr"]) == ("conv", "none")


@pytest.mark.parametrize(
    ("name", "shape", "size", "augment", "ends", "batch"),
    [
        ("ds_counts_grey", (1, 28, 28), 60_000, "crop", "adder", 256),
        ("ds_counts_colour", (3, 64, 48), 2000, "crop_flip", "conv", 128),
        ("ds_counts_large", (1, 65, 32), 100, "imagenet", "conv", 8),
        ("ds_counts_tiny", (3, 32, 32), 12, "crop_flip", "conv", 2),
    ],
)
def test_recipes_of_users_datasets_go_by_shape_and_size(
    name: str, shape: tuple[int, int, int], size: int, augment: str, ends: str, batch: int
) -> None:
    spec = recipe(known_dataset(name, shape, size))
    assert (spec["augment"], spec["model"]["first_last"], spec["batch_size"]) == (augment, ends, batch)
    spec["model"]["arch"] = "resnet20"
    assert TrainConfig.from_dict(spec).to_dict() == spec
