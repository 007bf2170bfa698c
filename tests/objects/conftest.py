"""A saliency network small enough to compute by hand: what is bright stands out."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, checker, helper, numpy_helper, save

WriteNetwork = Callable[..., Path]


@pytest.fixture(scope="session")
def write_network() -> WriteNetwork:
    """Writes one: the sigmoid of the normalised colours' sum, sharpened; grey is in the middle."""

    def write(
        path: Path, *, shape: Sequence[str | int | None] = (1, 3, 32, 32), channels: int = 1, logits: bool = False
    ) -> Path:
        weight = np.full((channels, 3, 1, 1), 2.0, np.float32)
        nodes = [helper.make_node("Conv", ["image", "weight"], ["logits"], kernel_shape=[1, 1])]
        if not logits:
            nodes.append(helper.make_node("Sigmoid", ["logits"], ["map"]))
        output = "logits" if logits else "map"
        graph = helper.make_graph(
            nodes,
            "saliency",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, (shape[0], channels, *shape[2:]))],
            [numpy_helper.from_array(weight, "weight")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        checker.check_model(model)
        path.parent.mkdir(parents=True, exist_ok=True)
        save(model, path)
        return path

    return write
