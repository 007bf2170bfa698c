"""Figures for a paper or a README: images side by side with a legend, and curves; PNG at 300 dpi or PDF."""

from partdistillation.figures.discovery import discovery
from partdistillation.figures.kinds import grouping, predictions, stages
from partdistillation.figures.layers import Choice

__all__ = ["Choice", "discovery", "grouping", "predictions", "stages"]
