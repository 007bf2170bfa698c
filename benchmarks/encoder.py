"""The encoder of stage 2, Swin-L at 640 x 640 with random weights: time, work, memory, precision.

    python benchmarks/encoder.py

One image, one thread, about a minute of CPU time. Compared are levels 3 + 4 with all four, attention in
separate operations with attention in one (SDPA), and float32 with bfloat16. The share of the peak is that of
a large matrix product in the same run and precision. Random weights tell times, and how far bfloat16 is off;
trained ones may differ in the latter.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from swin_l import swin_backbone
from timing import compare, machine, peak_memory
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from partdistillation.models.encoder import Encoder, has_bfloat16

SIZE = 640
GEMM = 2048


class Variant(NamedTuple):
    levels: tuple[int, ...] = (3, 4)
    bfloat16: bool = False
    attention: str = "sdpa"


EXACT, MIXED = "float32, levels 3 + 4", "bfloat16, levels 3 + 4"
VARIANTS = {
    EXACT: Variant(),
    "the same, all four levels": Variant(levels=(2, 3, 4, 5)),
    "the same, attention in separate operations": Variant(attention="eager"),
    MIXED: Variant(bfloat16=True),
}


def encoder(variant: Variant, backbone: nn.Module, device: str = "cpu") -> Encoder:
    made = Encoder(backbone, levels=variant.levels, bfloat16=variant.bfloat16, device=device)
    made._backbone.set_attn_implementation(variant.attention)
    return made


def photograph() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3), np.uint8)


def gflop(levels: tuple[int, ...]) -> float:
    """Multiplications and additions of all matrix products, those of attention included, / 1e9."""
    with torch.device("meta"):  # shapes tell
        backbone = swin_backbone()
    made = encoder(Variant(levels, attention="eager"), backbone, "meta")  # it can't count fused attention
    with FlopCounterMode(display=False) as counter:
        made.levels(photograph())
    return float(counter.get_total_flops()) / 1e9


def matrix_peak(dtype: torch.dtype) -> float:
    """GFLOP/s of a large matrix product."""
    left, right = (torch.randn(GEMM, GEMM).to(dtype) for _ in range(2))
    return 2 * GEMM**3 / 1e9 / compare({"": lambda: left @ right}, repeats=5)[""].cpu


def measure(variant: Variant, backbone: nn.Module) -> tuple[list[Tensor], float]:
    """The maps, and the CPU seconds of one call, after a small one to warm up."""
    made = encoder(variant, backbone)
    made.levels(photograph()[:, :64, :64])
    start = time.process_time()
    return made.levels(photograph()), time.process_time() - start


def whole(variant: Variant) -> Callable[[], object]:
    """For `peak_memory`: a copy of the weights, and a call."""
    torch.set_num_threads(1)
    backbone = swin_backbone()
    encoder(variant, backbone).levels(photograph()[:, :64, :64])
    return lambda: encoder(variant, backbone).levels(photograph())


def differences(levels: list[Tensor], exact: list[Tensor]) -> list[float]:
    return [float((level - other).norm() / other.norm()) for level, other in zip(levels, exact, strict=True)]


def main() -> None:
    torch.set_num_threads(1)
    start, backbone = time.perf_counter(), swin_backbone()
    measured = {name: measure(variant, backbone) for name, variant in VARIANTS.items()}
    peaks = {mixed: matrix_peak(torch.bfloat16 if mixed else torch.float32) for mixed in (False, True)}
    del backbone
    memory = {name: f"{peak_memory(whole, VARIANTS[name]):.0f}" for name in (EXACT, MIXED)}
    print(f"{machine()}, one thread; Swin-L, one image of {SIZE} x {SIZE}, CPU seconds of one call\n")
    print("| | s | GFLOP | GFLOP/s | of the measured matrix peak | peak MiB |")
    print("|---|---|---|---|---|---|")
    for name, (levels, mixed, _) in VARIANTS.items():
        work, seconds = gflop(levels), measured[name][1]
        print(
            f"| {name} | {seconds:.2f} | {work:.0f} | {work / seconds:.0f} "
            f"| {work / seconds / peaks[mixed]:.0%} | {memory.get(name, '')} |"
        )
    rough = differences(measured[MIXED][0], measured[EXACT][0])
    chosen = "is" if has_bfloat16(torch.device("cpu")) else "isn't"
    print(f"\nMatrix peak: {peaks[False]:.0f} GFLOP/s in float32, {peaks[True]:.0f} in bfloat16.")
    print(f"Features in bfloat16 are off by {rough[0]:.2%} (res3) and {rough[1]:.2%} (res4) of their norm.")
    print(f"On this CPU bfloat16 {chosen} the default. Took {time.perf_counter() - start:.0f} s.")


if __name__ == "__main__":
    main()
