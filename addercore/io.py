"""Models as files: one `.safetensors` with its manifest inside. Nothing is ever unpickled."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union, cast

import numpy as np
import safetensors.torch
import torch
from numpy.typing import ArrayLike
from safetensors import SafetensorError
from torch import Tensor, nn

from addercore.arch import Network, check_manifest, read_manifest
from addercore.arch.manifest import FORMAT, METADATA_KEY, read_header
from addercore.config import TrainConfig, dataset
from addercore.data import prepare
from addercore.devices import resolve_device
from addercore.errors import BadData, BadModel
from addercore.networks import build

if TYPE_CHECKING:
    from PIL.Image import Image

ImageLike = Union[str, Path, "Image", ArrayLike]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says of one image.

    Attributes:
        label: name of the most probable class.
        probabilities: probability of each class by name, 0…1, in the model's order; they add up to 1.
    """

    label: str
    probabilities: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """The prediction as plain values, for JSON."""
        return {"label": self.label, "probabilities": dict(self.probabilities)}


class Model:
    """A trained network that is ready to predict; `addercore.load` makes it.

    Args:
        network: the network's definition.
        module: the torch module with its weights, in evaluation mode.
        manifest: what the model file says of itself (docs/networks.md); `classes` and `preprocessing` are used here.
    """

    def __init__(self, network: Network, module: nn.Module, manifest: dict[str, Any]) -> None:
        self.network, self.module, self.manifest = network, module, manifest
        self.classes: list[str] = list(manifest["classes"])
        self.mean: list[float] = manifest["preprocessing"]["mean"]
        self.std: list[float] = manifest["preprocessing"]["std"]

    def prepare(self, image: ImageLike) -> Tensor:
        """Preprocesses one image for the network.

        Args:
            image: as for `predict`.

        Returns:
            (1, c, h, w) in float32: resized to the network's size and normalised with the training's mean and std.

        Raises:
            ValueError: an array that is no image, whose values are out of range, or whose layout is ambiguous.
            BadData: a file that cannot be read as an image.
        """
        pixels = _pixels(image, self.network.input_shape[0])
        return prepare(pixels[None], self.network.input_shape[1:], self.mean, self.std)

    @torch.inference_mode()
    def predict(self, image: ImageLike) -> Prediction:
        """Predicts the class of one image.

        The image should look like those of the training. The digit models have seen light strokes on a dark ground, in
        upright images with row 0 on top: invert a scan of ink on paper.

        Args:
            image: a path, a PIL image, or an array (H, W), (c, H, W) or (H, W, c) of any size. Integers are 0…255,
                floats 0…1.

        Returns:
            The most probable class and the probabilities of all.

        Raises:
            ValueError: an array that is no image, whose values are out of range, or whose layout is ambiguous.
            BadData: a file that cannot be read as an image.
        """
        device = next(self.module.parameters()).device
        scores = self.module(self.prepare(image).to(device)).float()
        probabilities = scores.softmax(1)[0].tolist()
        best = max(range(len(self.classes)), key=probabilities.__getitem__)
        return Prediction(self.classes[best], dict(zip(self.classes, probabilities, strict=True)))


def _from_pil(image: "Image", channels: int) -> np.ndarray[Any, Any]:
    """(1, H, W), or with 3 channels (3, H, W): integers of 8 bits, or floats 0…1 of an image with 16 bits."""
    if image.mode.startswith("I;16"):
        grey = np.asarray(image, dtype=np.float32) / 65535
        return np.broadcast_to(grey, (channels, *grey.shape))
    if image.mode in ("I", "F"):
        raise ValueError(f"an image of mode {image.mode!r} has no fixed range of values; convert it to 8 bits")
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _open(path: str | Path, channels: int) -> np.ndarray[Any, Any]:
    try:
        from PIL import Image, UnidentifiedImageError
    except ModuleNotFoundError as error:
        raise BadData("reading image files needs Pillow: pip install 'adderworks[data]'") from error
    try:
        with Image.open(path) as image:
            return _from_pil(image, channels)
    except FileNotFoundError as error:
        raise BadData(f"{path} is missing") from error
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise BadData(f"{path} cannot be read as an image ({error})") from error


def _channels_first(array: np.ndarray[Any, Any], channels: int) -> np.ndarray[Any, Any]:
    """(c, H, W) of (H, W), (c, H, W) or (H, W, c); other shapes stay, to be refused by the caller.

    Raises `ValueError` where first and last axis could both be the channels: a guess would turn rows into colours.
    """
    if array.ndim == 2 and channels == 1:
        return array[None]
    if array.ndim != 3 or array.shape[2] != channels:
        return array
    if array.shape[0] != channels:
        return array.transpose(2, 0, 1)
    if channels == 1 and array.shape[1] == 1:
        return array  # one pixel
    remedy = "pass it as (H, W)" if channels == 1 else "pass it as a PIL image"
    raise ValueError(
        f"an image of the shape {array.shape} can be read as ({channels}, H, W) and as (H, W, {channels}); {remedy}"
    )


def _pixels(image: ImageLike, channels: int) -> Tensor:
    """Any image as float32 (c, H, W) in 0…1."""
    if isinstance(image, str | Path):
        array = _open(image, channels)
    elif hasattr(image, "getbands"):  # a PIL image; Pillow itself may not be installed
        array = _from_pil(cast("Image", image), channels)
    else:
        array = _channels_first(np.asarray(image), channels)
    if array.ndim != 3 or array.shape[0] != channels or min(array.shape) < 1:
        raise ValueError(f"an image must be (H, W) or ({channels}, H, W), got {array.shape}")
    if np.issubdtype(array.dtype, np.integer):
        scale, top = 255.0, 255
    elif np.issubdtype(array.dtype, np.floating):
        scale, top = 1.0, 1
    else:
        raise ValueError(f"an image must hold integers 0…255 or floats 0…1, got {array.dtype}")
    if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= top):
        raise ValueError(f"an image of {array.dtype} must lie in 0…{top}, got {array.min()} … {array.max()}")
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32) / np.float32(scale))


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
