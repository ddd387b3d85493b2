"""How long a model takes, measured: its engines, and its convolutional twin in ONNX Runtime (docs/latency.md)."""

from addercore.latency.run import Benchmark as Benchmark
from addercore.latency.run import benchmark as benchmark
