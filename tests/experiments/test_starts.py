"""What models are called: safe names, no two the same, from the ends of their paths."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partdistillation.errors import CheckpointError, ConfigError
from partdistillation.experiments.starts import Start, names, starts


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        (["run:part_model", "builtin:part-shapes"], ["part_model", "builtin-part-shapes"]),
        (["facebook/mask2former-swin"], ["mask2former-swin"]),
        (["/a/pin/part_model", "/a/pascal/part_model"], ["pin-part_model", "pascal-part_model"]),
        (["/a/x/part_model", "/b/x/part_model"], ["a-x-part_model", "b-x-part_model"]),
        (["run:part_model", "run:baselines/one_stage/part_model"], ["part_model", "one_stage-part_model"]),
        (["/a/Model", "/b/model"], ["a-Model", "b-model"]),
        (["/x/my model (2)", "/x/.."], ["my-model-2", "x"]),
        (["/some/labels"], ["some-labels"]),
    ],
)
def test_a_name_is_as_much_of_the_path_as_tells_models_apart(models: list[str], expected: list[str]) -> None:
    assert names(models, taken=("labels",)) == expected


@given(st.lists(st.text(alphabet="ab/.: ä", min_size=1, max_size=8), min_size=1, max_size=4))
def test_names_are_folders_of_their_own(models: list[str]) -> None:
    try:
        found = names(models, taken=("a",))
    except ConfigError:
        return
    assert len({name.casefold() for name in found}) == len(models)
    for name in found:
        assert Path(name).name == name
        assert name not in (".", "..", "a")


def test_the_same_model_twice_is_named(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    twice = [str(tmp_path / "model"), f"{tmp_path}/../{tmp_path.name}/model"]
    with pytest.raises(
        ConfigError, match=r"--models: expected models with names of their own, .*model and /"
    ):
        names(twice)
    with pytest.raises(ConfigError, match="at least one model"):
        starts([], tmp_path)


def test_a_runs_own_model_is_in_its_folder(tmp_path: Path) -> None:
    own, other = starts(["run:part_model", "builtin:part-shapes"], tmp_path)
    assert own == Start("part_model", "run:part_model", str(tmp_path / "part_model"))
    assert other.files[0].name == "part_shapes"
    other.check()
    with pytest.raises(CheckpointError, match="part_model: expected a model directory"):
        own.check()
