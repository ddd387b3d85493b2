"""Computes the paper's tables and figures: `analyze`."""

from addercore.analysis.run import AnalyzeResult, analyze

__all__ = ["AnalyzeResult", "analyze"]
