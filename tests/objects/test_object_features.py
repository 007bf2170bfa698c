"""Means of classes of objects: of new classes beside those that are there."""

from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file, save_file

from partdistillation.functional.masks import encode
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.objects.object_features import add_means, object_feature, write_means
from partdistillation.objects.salient_classes import FILE
from partdistillation.runs.records import Object, ObjectRow


def test_means_are_added_and_the_old_ones_stay(small_network: PartMask2Former, tmp_path: Path) -> None:
    network = small_network.eval()
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    masks = [np.zeros((32, 48), np.bool_), np.zeros((32, 48), np.bool_)]
    masks[0][:, :20], masks[1][:, 20:] = True, True
    objects = tuple(
        Object(number, "kite", 1.0, int(mask.sum()), (0.0, 0.0, 1.0, 1.0), encode(mask))
        for number, mask in enumerate(masks)
    )
    rows = [ObjectRow("1", "a.png", 48, 32, "ok", "", objects)]
    first = {"car": np.linspace(0, 1, 48, dtype=np.float32)}
    save_file(first, tmp_path / FILE)
    add_means(tmp_path, network, rows, tmp_path)
    means = load_file(tmp_path / FILE)
    assert set(means) == {"car", "kite"}
    assert means["car"].tobytes() == first["car"].tobytes()
    mean = np.mean([object_feature(network, image, mask) for mask in masks], axis=0)
    np.testing.assert_allclose(means["kite"], mean / np.linalg.norm(mean), rtol=1e-5)
    write_means(tmp_path, network, rows, tmp_path)
    assert set(load_file(tmp_path / FILE)) == {"kite"}
