"""What an integer model says of itself."""

from __future__ import annotations

from dataclasses import asdict
from math import prod
from typing import Any, Final

from addercore.arch import count
from addercore.config import Holdout
from addercore.io import Model
from addercore.quant.finetune import Finetune
from addercore.quant.graph import Graph, Layer, Pooling, reads
from addercore.quant.plan import Plan, layer_bits
from addercore.runtime.program import SCORES

CODE_BYTES: Final = 1


def manifest_of(model: Model, graph: Graph, plan: Plan, correction: str, finetune: Finetune | None) -> dict[str, Any]:
    """Names, settings and costs, as JSON values.

    `operations` are counted as everywhere (docs/counts.md); `rescale_multiplications` are those after the sums, one an
    output and one for its residual, none with shifts. `weight_bytes` is what the weights take in a file, a byte each;
    `packed_bytes` what they would with just their bits.
    """
    part = model.manifest["network"]
    method = str(part["method"])
    counts = count(model.network, method, str(part["first_last"]), "int8")
    sizes = {layer.name: layer.weight.numel() for layer in graph.layers}
    bits = sum(sizes[layer.name] * layer_bits(layer, method, plan.bits) for layer in graph.layers)
    return {
        "network": dict(part),
        "preprocessing": dict(model.manifest["preprocessing"]),
        "classes": list(model.classes),
        "dataset": model.manifest["dataset"],
        **_held_out(model.manifest),
        "quantisation": {
            "bits": plan.bits,
            "groups": plan.groups,
            "rescale": plan.rescale,
            "correction": correction,
            "finetune": None if finetune is None else asdict(finetune),
        },
        "derived": {
            "operations": counts.operations.to_dict(),
            "energy_joules": counts.energy_joules,
            "rescale_multiplications": 0 if plan.rescale == "shift" else _rescalings(graph),
            "weight_bytes": sum(sizes.values()) * CODE_BYTES,
            "packed_bytes": (bits + 7) // 8,
            "activation_bytes": sum(prod(shape) for shape in graph.shapes) * CODE_BYTES,
        },
    }


def _held_out(manifest: dict[str, Any]) -> dict[str, Any]:
    """Which images the training of the float model held out, if it did."""
    held = Holdout.of_model(manifest, manifest["dataset"])
    return {} if held is None else {"held_out": {"holdout": held.share, "seed": held.seed}}


def _rescalings(graph: Graph) -> int:
    total = 0
    for node in graph.nodes:
        if not isinstance(node, Pooling):
            outputs = (
                len(node.gain) if isinstance(node, Layer) and node.target == SCORES else prod(graph.shapes[node.target])
            )
            total += outputs * len(reads(node))
    return total
