"""Runs models of ONNX in plain ONNX Runtime: no function of ours is registered there."""

from __future__ import annotations

from typing import Any

import pytest


def run(model: Any, images: Any) -> Any:
    """`scores` of uint8 images."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (scores,) = session.run(["scores"], {"pixels": images})
    return scores
