"""What the method is compared with: other labels for the same networks (supplement, section 3)."""

from typing import Literal, get_args

FOLDER = "baselines"
"""In a run's folder: a folder for each baseline."""

Name = Literal["one-stage", "supervised", "supervised-agnostic", "contrastive"]
NAMES: tuple[Name, ...] = get_args(Name)
