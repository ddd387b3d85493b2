"""Tables and figures of the paper, computed: `analyze`."""

from addercore.analysis.run import AnalyzeResult, analyze

__all__ = ["AnalyzeResult", "analyze"]
