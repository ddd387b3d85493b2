"""How fast the adder kernels are, against what this processor could do at the same moment and against convolutions."""
