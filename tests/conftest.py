"""What all tests share: no network, one thread, and where to find the reference material."""

import os
from collections.abc import Iterator
from pathlib import Path

# Before anything imports numpy, torch or transformers: they read these once.
os.environ["HF_HUB_OFFLINE"] = "1"
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import jaxtyping  # noqa: E402  (after the environment is set)
import pytest  # noqa: E402


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder `shared` beside the clone: fixtures and photographs that aren't part of the project."""
    path = Path(os.environ.get("PARTDISTILLATION_SHARED", Path(__file__).parents[2] / "shared"))
    if not path.is_dir():
        pytest.skip(f"needs the reference material in {path} (set PARTDISTILLATION_SHARED to its place)")
    return path


@pytest.fixture(scope="session")
def fixtures(shared: Path) -> Path:
    """Outputs of the authors' released code, as `.npz` files."""
    path = shared / "fixtures"
    if not path.is_dir():
        pytest.skip(f"needs the golden fixtures in {path}")
    return path


@pytest.fixture
def unchecked() -> Iterator[None]:
    """No run-time shape checks, as users run the package: for what it says itself about wrong arguments."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
