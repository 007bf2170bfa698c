"""What the method is compared with: other labels for the same part model (supplement, section 3)."""

FOLDER = "baselines"
"""In a run's folder: a folder for each baseline."""
