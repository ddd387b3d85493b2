"""Distillation: beside the labels, a training matches the softened scores of a trained model.

    L = (1 − w) · CE(labels, s) + w · T² · KL(softmax(t / T) ‖ softmax(s / T))

with the network's scores s, the teacher's t, temperature T and weight w (Hinton, Vinyals, Dean 2015,
https://arxiv.org/abs/1503.02531, section 2; T² keeps the second term's gradient in the first one's range). With
`features` φ > 0 the teacher's term also has φ · Σ_l mean_i ‖k_i(S_l) − k_i(T_l)‖²: features of adders and convolutions
differ in scale and channels, but after a batch normalisation l both can agree on which images are alike. k_i is row i,
at length 1, of the kernel matrix F Fᵀ of a batch, F = ReLU(features) with a row for each image (Tung, Mori 2019,
https://arxiv.org/abs/1907.09682; PKKD, https://arxiv.org/abs/2009.13044, matches learned kernels at the same places).
"""

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from addercore.config import DatasetInfo, DistillConfig, OptimizerConfig, TrainConfig, dataset, unfit_teacher
from addercore.errors import BadModel
from addercore.io import Model, load, manifest_of
from addercore.networks import build
from addercore.train.kernels import Companion, Kernels


class Features:
    """Keeps the outputs of a network's batch normalisations for its last batch, but for the one after the scores.

    Hooks prevent the fusion of adder layer and normalisation, which changes results in their last bits.
    """

    def __init__(self, network: nn.Module) -> None:
        self.last: dict[str, Tensor] = {}
        *_, end = network.children()
        for name, module in network.named_modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module is not end:
                module.register_forward_hook(partial(self._keep, name))

    def _keep(self, name: str, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        self.last[name] = output

    def kernels(self) -> list[Tensor]:
        """The normalised kernel matrix (N, N) of each output. Forgets the outputs."""
        rows = [nnf.relu(seen.float()).flatten(1) for seen in self.last.values()]
        self.last = {}
        return [nnf.normalize(each @ each.T, dim=1) for each in rows]


class Teacher:
    """A network that teaches: a trained one in evaluation mode, whose weights stay, or one that trains alongside.

    Of a trained one a run's state holds nothing but the maps that compare its kernels (`addercore.train.kernels`).

    Args:
        seed: of the training, for the first weights of these maps.
        sha256: of its file.
        info: the dataset whose images it is shown, normalised as that says; they are rescaled to its own mean and std.
    """

    def __init__(
        self,
        config: DistillConfig,
        model: Model,
        sha256: str | None,
        info: DatasetInfo,
        precision: str,
        optimizer: OptimizerConfig = OptimizerConfig(),  # frozen
        seed: int = 0,
    ) -> None:
        self.config, self.sha256 = config, sha256
        self._model, self._precision = model, precision
        self._optimizer, self._seed = optimizer, seed
        self.learns = config.kind == "pkkd"
        self._module = model.module.requires_grad_(self.learns).train(self.learns)
        self._kernels: Kernels | None = None
        self.companion: Companion | None = None
        self._rescale: tuple[Tensor, Tensor] | None = None  # factor and summand of each channel
        if (model.mean, model.std) != (list(info.mean), list(info.std)):
            device = next(self._module.parameters()).device
            mean, std, its_mean, its_std = (
                torch.tensor(values, device=device).view(-1, 1, 1)
                for values in (info.mean, info.std, model.mean, model.std)
            )
            self._rescale = std / its_std, (mean - its_mean) / its_std
        self._features: tuple[Features, Features] | None = None

    def watch(self, student: nn.Module) -> None:
        """Registers the network that learns; call it once, before the first batch."""
        if self.config.kind != "plain":
            device, o = next(student.parameters()).device, self._optimizer
            self._kernels = Kernels(student, self._module, self._seed).to(device)
            parts: dict[str, nn.Module] = {"kernels": self._kernels}
            if self.learns:
                parts["teacher"] = self._module
            self.companion = Companion(parts, o.lr, o.momentum, o.nesterov, o.weight_decay)
        elif self.config.features > 0:
            self._features = Features(student), Features(self._module)

    def scores(self, images: Tensor) -> Tensor:
        """The teacher's class scores (N, classes) in float32, for images (N, c, h, w) normalised as the dataset's."""
        if self._rescale is not None:
            factor, summand = self._rescale
            images = images * factor + summand
        bf16 = torch.autocast(images.device.type, torch.bfloat16, enabled=self._precision == "bf16")
        with torch.set_grad_enabled(self.learns), bf16:
            scores: Tensor = self._module(images)
        return scores.float()

    def loss(self, images: Tensor, scores: Tensor, labels: Tensor | None = None, share: float = 1) -> Tensor:
        """The teacher's part of the loss, the mean over images (N, c, h, w) to which the network just gave `scores`
        (N, classes). One that trains alongside gets the gradient of its own cross-entropy with `labels` (N,), of which
        these images are a `share` of the step's."""
        temperature, taught = self.config.temperature, self.scores(images)
        if self.learns and labels is not None:
            (nnf.cross_entropy(taught, labels) * share).backward()  # type: ignore[no-untyped-call]
        mine, its = (nnf.log_softmax(x / temperature, 1) for x in (scores, taught.detach()))
        loss = nnf.kl_div(mine, its, reduction="batchmean", log_target=True) * temperature**2
        if self._kernels is not None:
            return loss + self.config.features * self._kernels.loss()
        if self._features is None:
            return loss
        pairs = zip(*(seen.kernels() for seen in self._features), strict=True)
        apart = torch.stack([(a - b).square().sum(1).mean() for a, b in pairs])
        return loss + self.config.features * apart.sum()

    def objective(self, loss: Tensor, distilled: Tensor) -> Tensor:
        """The loss that is minimised: the weighted sum of the labels' cross-entropy and the teacher's part."""
        return (1 - self.config.weight) * loss + self.config.weight * distilled

    def record(self) -> dict[str, Any]:
        """The teacher as it is described in a manifest."""
        network = self._model.manifest["network"]
        if self.learns:
            return {"id": None, "trains": "alongside", "arch": network["arch"], "method": network["method"]}
        return {"id": self.config.teacher, "sha256": self.sha256, "arch": network["arch"], "method": network["method"]}


def load_teacher(config: TrainConfig, path: Path | None, device: torch.device, backend: str) -> Teacher | None:
    """Loads the teacher of `config.distill` from its file. Raises `BadModel` if it is trained for another task."""
    wanted = config.distill
    if wanted is None:
        if path is not None:
            raise ValueError(f"teacher is {str(path)!r}, but the configuration has no distill to use it")
        return None
    info = dataset(config.dataset.name)
    if wanted.kind == "pkkd":
        if path is not None:
            raise ValueError(f"teacher is {str(path)!r}, but the teacher of distill.kind pkkd trains alongside")
        part = config.model
        module = build(config.network(), "conv", part.first_last, seed=config.seed).to(device)
        manifest = manifest_of(config, {})
        manifest["network"] = {**manifest["network"], "method": "conv"}
        twin = Model(config.network(), module, manifest)
        return Teacher(wanted, twin, None, info, config.precision, config.optimizer, config.seed)
    if path is None:
        raise ValueError(f"the configuration learns from model {wanted.teacher!r}: pass its file as teacher")
    model = load(path, device=str(device), backend=backend)
    if (reason := unfit_teacher(model.manifest, info, config.model.arch, wanted.features, wanted.kind)) is not None:
        raise BadModel(f"{path}: cannot teach a training on {info.name}: {reason}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Teacher(wanted, model, digest, info, config.precision, config.optimizer, config.seed)
