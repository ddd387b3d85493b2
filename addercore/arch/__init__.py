"""What a network is and what it costs: layers, architectures, methods, counts, manifests. No torch, no numpy."""

from addercore.arch.counts import DATA_TYPES, Counts, LayerCount, Operations, count
from addercore.arch.manifest import check_manifest, is_integer, read_manifest
from addercore.arch.methods import BINARY, FIRST_LAST, METHODS, default_first_last
from addercore.arch.networks import ARCHS, PUBLISHED, Network, network, tensors
from addercore.arch.transfer import Initialised, initialised

__all__ = [
    "ARCHS",
    "BINARY",
    "DATA_TYPES",
    "FIRST_LAST",
    "METHODS",
    "PUBLISHED",
    "Counts",
    "Initialised",
    "LayerCount",
    "Network",
    "Operations",
    "check_manifest",
    "count",
    "default_first_last",
    "initialised",
    "is_integer",
    "network",
    "read_manifest",
    "tensors",
]
