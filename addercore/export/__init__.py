"""Models in other programs' forms: C source and ONNX (docs/export.md). Importing it loads neither torch nor onnx."""

from addercore.export.c import c_source as c_source
from addercore.export.onnx_float import float_model as float_model
from addercore.export.onnx_integer import integer_model as integer_model
