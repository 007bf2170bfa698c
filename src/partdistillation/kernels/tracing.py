"""When kernels stand aside: exporters and `torch.compile` see PyTorch's own operations."""

import torch
from torch import Tensor


def traced() -> bool:
    """Whether operations are being recorded in a graph."""
    return torch.compiler.is_compiling() or torch.compiler.is_exporting()


def takes_kernel(values: Tensor) -> bool:
    """Whether a kernel that works on NumPy's arrays may compute this: float32 on a CPU, and not traced."""
    return values.device.type == "cpu" and values.dtype == torch.float32 and not traced()
