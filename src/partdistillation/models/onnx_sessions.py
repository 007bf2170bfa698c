"""Networks in ONNX files, as onnxruntime runs them. No torch here."""

from pathlib import Path
from typing import Any

from partdistillation.config import Device
from partdistillation.errors import CheckpointError, to_install

_GPU, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


def open_session(path: Path, device: Device = "auto", *, extra: str, threads: int = 0) -> Any:
    """An onnxruntime session of a file.

    Args:
        path: the file.
        device: a GPU (the first, or that of `cuda:N`) is taken where onnxruntime has it, unless this is "cpu"
            or "mps".
        extra: of this project's extras, the one that brings onnxruntime for this.
        threads: how many an operation may take; 0: as many as there are cores.

    Raises:
        CheckpointError: the file can't be run, or onnxruntime isn't installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise CheckpointError(f"{path}: needs onnxruntime: {to_install(extra)}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors: they are raised
    providers: list[Any] = [_CPU]
    if device not in ("cpu", "mps") and _GPU in onnxruntime.get_available_providers():
        providers.insert(0, (_GPU, {"device_id": int(device.partition(":")[2] or 0)}))
    try:
        return onnxruntime.InferenceSession(path, sess_options=options, providers=providers)
    except Exception as error:  # onnxruntime has several of its own
        raise CheckpointError(f"{path}: expected an ONNX file that can be run: {error}") from error
