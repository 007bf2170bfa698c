"""People judge part classes in a browser: `partdistill review` (docs/review.md)."""

from partdistillation.review.store import export_verdicts

__all__ = ["export_verdicts"]
