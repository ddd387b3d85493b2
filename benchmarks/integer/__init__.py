"""`python -m benchmarks.integer`: the integer engine against the processor's peak and against ONNX Runtime."""
