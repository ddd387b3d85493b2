"""Models in other programs' forms: C source and ONNX (docs/export.md)."""

from addercore.export.c import c_source as c_source
