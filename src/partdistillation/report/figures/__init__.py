"""Figures for a paper or a README: images side by side with a legend, and curves; PNG at 300 dpi or PDF."""

from partdistillation.report.figures.discovery import discovery
from partdistillation.report.figures.kinds import grouping, predictions, stages
from partdistillation.report.figures.sources import Choice

__all__ = ["Choice", "discovery", "grouping", "predictions", "stages"]
