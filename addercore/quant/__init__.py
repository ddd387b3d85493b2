"""From a float network to an integer one (docs/quantisation.md)."""

from addercore.quant.evaluation import Accuracy as Accuracy
from addercore.quant.evaluation import accuracy_of as accuracy_of
from addercore.quant.evaluation import agreement as agreement
from addercore.quant.evaluation import changes as changes
from addercore.quant.evaluation import evaluate as evaluate
from addercore.quant.evaluation import float_scores as float_scores
from addercore.quant.evaluation import golden as golden
from addercore.quant.fast import run as run
from addercore.quant.finetune import Finetune as Finetune
from addercore.quant.finetune import State as State
from addercore.quant.model import IntegerModel as IntegerModel
from addercore.quant.model import quantize as quantize
from addercore.quant.pixels import as_bytes as as_bytes
from addercore.quant.pixels import dataset_bytes as dataset_bytes
