"""Parts of photographs where PyTorch isn't installed: by onnxruntime, from what `export-onnx` has written.

    partdistill export-onnx out/mine/part_model --out out/mine/parts_onnx        # where PyTorch is
    python examples/onnx_without_torch.py out/mine/parts_onnx photos out/parts   # where it isn't

An import of torch or transformers fails here, though they may be installed: so nothing needs them. Each
photograph's objects are found by the model's saliency network, if it was learned with one; without it, give
masks with classes: `segmenter(path, [(mask, "car")])`.
"""

import json
import sys
from pathlib import Path


class Forbidden:
    """Python asks it first where a module is."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:  # noqa: ARG004
        if name.partition(".")[0] in ("torch", "transformers"):
            raise ImportError(f"{name} isn't to be imported here")


sys.meta_path.insert(0, Forbidden)

from partdistillation import OnnxPartSegmenter  # noqa: E402

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def main(model: Path, images: Path, out: Path) -> None:
    """Write a picture and COCO for every photograph of a folder, and print what was found."""
    segmenter = OnnxPartSegmenter.from_pretrained(model)
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(path for path in images.rglob("*") if path.suffix.lower() in SUFFIXES):
        result = segmenter(path)
        name = "-".join(path.relative_to(images).with_suffix("").parts)
        result.save(out / f"{name}.png")
        (out / f"{name}.json").write_text(json.dumps(result.to_coco()), encoding="utf-8")
        for shape in result.objects:
            parts = ", ".join(f"{part.name} ({part.score:.2f})" for part in shape.parts)
            print(f"{path.relative_to(images)}: {shape.category}: {parts or 'no parts'}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
