"""Models as files: one `.safetensors` with its manifest inside. Nothing is ever unpickled."""

import json
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from addercore.arch import Network, check_manifest, read_manifest
from addercore.arch.manifest import FORMAT, METADATA_KEY, read_header
from addercore.config import ImageOptions, TrainConfig, dataset
from addercore.config.fields import checked
from addercore.config.predict import TransparentOn, ValueRange
from addercore.data import prepare
from addercore.data.image_input import ImageLike, read_image
from addercore.devices import resolve_device
from addercore.errors import BadModel, expect
from addercore.networks import build
from addercore.nn.plan import Planned


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says of one image.

    Attributes:
        label: name of the most probable class.
        probabilities: probability of each class by name, 0…1, in the model's order; they add up to 1.
        notes: what was decided about the image (turned upright, laid on white, …), a sentence each.
    """

    label: str
    probabilities: dict[str, float]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The prediction as plain values, for JSON."""
        return {"label": self.label, "probabilities": dict(self.probabilities), "notes": list(self.notes)}


class Model:
    """A trained network that is ready to predict; `addercore.load` makes it.

    Args:
        network: the network's definition.
        module: the torch module with its weights, in evaluation mode.
        manifest: what the model file says of itself (docs/networks.md); `classes` and `preprocessing` are used here.
    """

    def __init__(self, network: Network, module: nn.Module, manifest: dict[str, Any]) -> None:
        self.network, self.module, self.manifest = network, module, manifest
        self._planned = Planned(module)
        self.classes: list[str] = list(manifest["classes"])
        self.mean: list[float] = manifest["preprocessing"]["mean"]
        self.std: list[float] = manifest["preprocessing"]["std"]

    def prepare(
        self,
        image: ImageLike,
        value_range: ValueRange = "auto",
        transparent_on: TransparentOn = "white",
    ) -> Tensor:
        """Preprocesses one image for the network.

        Args:
            image: as for `predict`.
            value_range: as for `predict`.
            transparent_on: as for `predict`.

        Returns:
            (1, c, h, w) in float32: resized to the network's size and normalised with the training's mean and std.

        Raises:
            ValueError: an array that is no image, or whose values or layout could be two things.
            BadData: a file that cannot be read as an image.
        """
        return self._prepare(image, value_range, transparent_on)[0]

    def _prepare(self, image: ImageLike, value_range: str, transparent_on: str) -> tuple[Tensor, tuple[str, ...]]:
        options = checked(ImageOptions, {"value_range": value_range, "transparent_on": transparent_on})
        found = read_image(image, self.network.input_shape[0], options)
        pixels = torch.from_numpy(found.pixels)
        return prepare(pixels[None], self.network.input_shape[1:], self.mean, self.std), found.notes

    @torch.inference_mode()
    def scores(self, images: Tensor) -> Tensor:
        """Scores of prepared images, by a plan where the module allows one (docs/kernels.md).

        A change of the module shows in the next call, but for one through `tensor.data` in place, which torch counts
        as none: change parameters under `torch.no_grad()`.

        Args:
            images: (N, c, h, w), normalised, on any device.

        Returns:
            (N, classes) in float32, on the module's device.
        """
        if self._planned.module is not self.module:
            self._planned = Planned(self.module)
        device = next(self.module.parameters()).device
        return self._planned(images.to(device)).float()

    @torch.inference_mode()
    def predict(
        self,
        image: ImageLike,
        value_range: ValueRange = "auto",
        transparent_on: TransparentOn = "white",
    ) -> Prediction:
        """Predicts the class of one image, read as uploads are (docs/predict.md).

        The image should look like those of the training. The digit models have seen light strokes on a dark ground, in
        upright images with row 0 on top: invert a scan of ink on paper.

        Args:
            image: a path, an encoded file as bytes or as a data URI, a PIL image, or an array (H, W), (c, H, W) or
                (H, W, c) of any size.
            value_range: what is black and what is white in arrays and 16-bit images. "auto" tells it by the values;
                "bits" is 0 to the largest number of as many bits.
            transparent_on: the ground of transparent pixels.

        Returns:
            The most probable class, the probabilities of all, and notes on how the image was read.

        Raises:
            ValueError: an array that is no image, or whose values or layout could be two things.
            BadData: a file that cannot be read as an image.
        """
        pixels, notes = self._prepare(image, value_range, transparent_on)
        scores = self.scores(pixels)
        probabilities = scores.softmax(1)[0].tolist()
        best = max(range(len(self.classes)), key=probabilities.__getitem__)
        return Prediction(self.classes[best], dict(zip(self.classes, probabilities, strict=True)), notes)


def manifest_of(config: TrainConfig, metrics: dict[str, float]) -> dict[str, Any]:
    """The manifest from which a model is rebuilt. It has no dates or places, so that equal runs give equal bytes."""
    info = dataset(config.dataset.name)
    return {
        "format": FORMAT,
        "network": {
            "arch": config.model.arch,
            "method": config.model.method,
            "first_last": config.model.first_last,
            "gradient": config.model.gradient,
            "input_shape": list(info.input_shape),
            **({} if config.model.layers is None else {"layers": config.model.layer_list}),
        },
        "preprocessing": {
            "channels": info.input_shape[0],
            "resize": list(info.input_shape[1:]),
            "interpolation": "bilinear",
            "range": [0.0, 1.0],
            "mean": list(info.mean),
            "std": list(info.std),
        },
        "classes": list(info.classes),
        "dataset": info.name,
        "config": config.to_dict(),
        "metrics": metrics,
    }


def encode(weights: dict[str, Tensor], manifest: dict[str, Any]) -> bytes:
    """The bytes of a model file. Equal weights and manifests give equal bytes."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    return safetensors.torch.save(tensors, {METADATA_KEY: json.dumps(manifest, sort_keys=True)})


def load_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises `BadModel` if it cannot be read or a value is not finite."""
    try:
        weights = safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise BadModel(f"{path}: cannot be read ({error})") from error
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise BadModel(f"{path}: tensor {name!r} has values that are NaN or infinite")
    return weights


def load(
    path: str | Path, manifest: str | Path | None = None, device: str = "cpu", backend: str | None = None
) -> Model:
    """Loads a trained model. A pickle is never read.

    Args:
        path: a `model.safetensors`.
        manifest: a `model.json` to use instead of the manifest inside the file.
        device: "cpu", "cuda", "cuda:N", or "auto" for a GPU where there is one.
        backend: name of the kernels of adder layers, as for `adder_conv2d`.

    Returns:
        The model, in evaluation mode on `device`.

    Raises:
        BadModel: the file is missing or damaged, or manifest and tensors do not belong together.
        ValueError: a device or backend that is unknown or not there.
    """
    expect("path", path, (str, PathLike), "name the file of a model")
    path = Path(path)
    if manifest is None:
        described = read_manifest(path)
    else:
        described = _read_json(Path(manifest))
        check_manifest(described, read_header(path)[1], source=str(path))
    network = check_manifest(described, source=str(path))
    part = described["network"]
    module = build(network, part["method"], part["first_last"], part["gradient"], backend, seed=0)
    module.load_state_dict(load_weights(path))
    module.to(resolve_device(device)).eval()
    return Model(network, module, described)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadModel(f"{path}: cannot be read as a manifest ({error})") from error
    if not isinstance(content, dict):
        raise BadModel(f"{path}: the manifest is not a JSON object")
    return content
