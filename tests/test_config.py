"""Settings: ranges, contradictions, YAML."""

import dataclasses
import inspect
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from partdistillation import config
from partdistillation.config import (
    CrfConfig,
    Inputs,
    ObjectsConfig,
    PretrainConfig,
    ProposalsConfig,
    RankingConfig,
    Recipe,
    SegmentsConfig,
    TrainingConfig,
    from_yaml,
    to_yaml,
)
from partdistillation.errors import ConfigError
from partdistillation.runs.run_folder import save_settings
from partdistillation.settings import Settings

pytestmark = pytest.mark.usefixtures("unchecked")


def settings_classes() -> list[type[Settings]]:
    found = [
        value for value in vars(config).values() if inspect.isclass(value) and issubclass(value, Settings)
    ]
    return [each for each in found if each is not Settings]


@pytest.mark.parametrize("settings", settings_classes())
def test_every_field_has_help(settings: type[Settings]) -> None:
    source = inspect.getsource(settings)
    for name in settings.__annotations__:
        if name != "section":
            assert re.search(rf'^    {name}: .*\n    """\S.*\."""$', source, re.M), (
                f"{settings.__name__}.{name}"
            )


@pytest.mark.parametrize(
    ("settings", "values", "message"),
    [
        (ProposalsConfig, {"flip": 1.5}, "proposals.flip: expected a number from 0 to 1, found 1.5"),
        (ProposalsConfig, {"steps": 0}, "proposals.steps: expected an integer at least 1, found 0"),
        (ProposalsConfig, {"steps": 1.0}, "proposals.steps: expected an integer, found 1.0"),
        (ProposalsConfig, {"steps": True}, "proposals.steps: expected an integer, found True"),
        (PretrainConfig, {"learning_rate": 0}, "pretrain.learning_rate: expected a number above 0, found 0"),
        (PretrainConfig, {"learning_rate": math.nan}, "pretrain.learning_rate: expected a number, found nan"),
        (TrainingConfig, {"clip_norm": math.inf}, "training.clip_norm: expected a number, found inf"),
        (
            CrfConfig,
            {"gt_prob": 1.0},
            "segments.crf.gt_prob: expected a number above 0, up to 0.999, found 1.0",
        ),
        (CrfConfig, {"enabled": 1}, "segments.crf.enabled: expected true or false, found 1"),
        (
            ObjectsConfig,
            {"source": 3},
            "objects.source: expected one of annotations, masks, run, salient, mask2former, detic, "
            "sam3, grounded_sam, found 3",
        ),
        (SegmentsConfig, {"metric": "cosin"}, "found 'cosin'. Did you mean 'cosine'?"),
        (SegmentsConfig, {"levels": [3, 4]}, "segments.levels: expected a list of integers, found [3, 4]"),
        (SegmentsConfig, {"crf": {}}, "segments.crf: expected a section (CrfConfig), found {}"),
        (Recipe, {"encoder": 5}, "encoder: expected text, found 5"),
        (Inputs, {"images": 5}, "inputs.images: expected a path or nothing, found 5"),
    ],
)
def test_refuses_a_value_and_says_why(settings: type[Settings], values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        settings(**values)


@pytest.mark.parametrize("levels", [(), (1, 2), (5, 6), (4, 3), (3, 3)])
def test_refuses_levels(levels: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"segments\.levels: expected some of 2 3 4 5 in rising order"):
        SegmentsConfig(levels=levels)


@pytest.mark.parametrize("levels", [(2,), (3, 4), (2, 5), (2, 3, 4, 5)])
def test_accepts_levels(levels: tuple[int, ...]) -> None:
    assert SegmentsConfig(levels=levels).levels == levels


def test_refuses_contradictions() -> None:
    with pytest.raises(
        ConfigError, match=r"proposals.scale_min: expected at most scale_max \(0.5\), found 0.6"
    ):
        ProposalsConfig(scale_min=0.6, scale_max=0.5)
    with pytest.raises(ConfigError, match="nothing would be learned"):
        TrainingConfig(class_weight=0, mask_weight=0, dice_weight=0)
    with pytest.raises(ConfigError, match="encoder: expected a hub name or a directory, found empty text"):
        Recipe(encoder=" ")


def test_yaml_is_readable_and_deterministic() -> None:
    text = config.to_yaml(Recipe())
    assert text == config.to_yaml(Recipe())
    assert text.startswith("encoder: facebook/mask2former-swin-large-coco-instance\npretrain:\n  steps: 0\n")
    assert "  crf:\n    enabled: true\n    gt_prob: 0.7\n" in text


def read(path: Path, text: str) -> tuple[Inputs, Recipe]:
    path.write_text(text, encoding="utf-8")
    return config.from_yaml(path, Inputs(), Recipe())


def test_yaml_may_have_aliases(tmp_path: Path) -> None:
    text = "ranking: &steps {seed: 7}\nsegments: {<<: *steps, k: 3}"
    _, recipe = read(tmp_path / "a.yaml", text)
    assert (recipe.ranking.seed, recipe.segments.seed, recipe.segments.k) == (7, 7, 3)


def test_yaml_may_be_partial(tmp_path: Path) -> None:
    text = "segments:\n  levels: [2, 4]\n  crf:\n    enabled: false\nproposals:\n  learning_rate: 1e-5\n"
    inputs, recipe = read(tmp_path / "a.yaml", text)
    assert inputs == Inputs()
    assert recipe == Recipe(
        segments=SegmentsConfig(levels=(2, 4), crf=CrfConfig(enabled=False)),
        proposals=ProposalsConfig(learning_rate=1e-5),
    )
    assert read(tmp_path / "a.yaml", "") == (Inputs(), Recipe())


def _bomb(level: str) -> str:
    """Twelve lines that stand for 10^12 values."""
    lines = ["a0: &a0 {x: 1}"]
    for number in range(1, 13):
        lines.append(f"a{number}: &a{number} " + level.format(", ".join([f"*a{number - 1}"] * 10)))
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("proposal: {}", "unknown setting 'proposal' at the top. Did you mean 'proposals'?"),
        (
            "segments: {crf: {iteration: 3}}",
            "unknown setting 'iteration' in section 'segments.crf'. Did you mean 'it",
        ),
        ("segments: {crf: 3}", "segments.crf: expected a section with settings in it, found 3"),
        ("ranking: {zzz: 1}", "Known: image_size, per_pixel"),
        ("ranking: {num_parts: many}", "ranking.num_parts: expected an integer, found 'many'"),
        ("proposals: {flip: often}", "proposals.flip: expected a number, found 'often'"),
        ("proposals: {flip: yes}", "proposals.flip: expected a number, found True"),
        ("inputs: {image: x}", "unknown setting 'image' in section 'inputs'. Did you mean 'images'?"),
        ("inputs: 3", "inputs: expected a section with settings in it, found 3"),
        ("1: 2", "unknown setting 1 at the top"),
        ("- a", "expected settings as `name: value` lines, found ['a']"),
        ("a: [", "expected YAML:"),
        ("!!python/object/apply:os.getcwd []", "expected YAML:"),
        ("a: !!timestamp x", "expected YAML:"),
        ("a: 2001-99-99", "expected YAML:"),
        ("a: " + "9" * 4_096, "unknown setting 'a'"),
        ("a: " + "1:" * 4_000 + "1", "expected YAML: values of at most 4096 letters"),
        ("[" * 200_000, "expected YAML, found brackets nested too deeply"),
        ("- " * 50_000, "expected YAML, found brackets nested too deeply"),
        ("#" * 2_000_000, "expected at most 1000000 bytes of settings"),
        ("proposals: {steps: 5}\nproposals: {steps: 6}", "every name once, found 'proposals' 2 times"),
        ("proposals: {steps: 5, batch_size: 2, steps: 6}", "every name once, found 'steps' 2 times"),
        ("a: &a [*a]", "behind its aliases"),
        (_bomb("[{}]"), "behind its aliases"),
        (_bomb("{{<<: [{}]}}"), "behind its aliases"),
    ],
)
def test_yaml_errors_name_file_section_and_setting(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as error:
        read(tmp_path / "a.yaml", text)
    assert str(error.value).startswith(f"{tmp_path / 'a.yaml'}: ")


def test_yaml_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a YAML file that can be read"):
        config.from_yaml(tmp_path / "missing.yaml", Inputs(), Recipe())
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"binary\.yaml: expected"):
        config.from_yaml(tmp_path / "binary.yaml", Inputs(), Recipe())


def test_saved_settings_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    inputs = Inputs(out=Path("run"), images=Path("photos"), device="cpu", workers=3)
    recipe = Recipe(ranking=RankingConfig(num_parts=5))
    path = save_settings(inputs, recipe)
    assert path == Path("run/config.yaml")
    assert [each.name for each in Path("run").iterdir()] == ["config.yaml"]
    again, same = config.from_yaml(path, Inputs(out=Path("run")), Recipe())
    assert same == recipe
    assert again == Inputs(
        out=Path("run"), images=tmp_path / "photos"
    )  # a machine's device and workers aren't kept


def leaves(values: dict[str, Any], at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, (*at, name))
        else:
            yield (*at, name)


def nested(path: tuple[str, ...], value: object) -> dict[str, Any]:
    return {path[0]: nested(path[1:], value) if len(path) > 1 else value}


NUMBERS = [
    path for path in leaves(Recipe().to_dict()) if path[-1] in {"seed", "steps", "learning_rate", "min_area"}
]


@settings(deadline=None)
@given(
    st.sampled_from(NUMBERS),
    st.one_of(st.integers(1, 10**9), st.floats(1e-30, 1.0), st.booleans(), st.text(), st.none(), st.just([])),
)
def test_a_value_survives_yaml_or_is_refused(path: tuple[str, ...], value: object) -> None:
    try:
        recipe = Recipe().updated(nested(path, value))
    except ConfigError as error:
        assert ".".join(path) in str(error)  # noqa: PT017  (either is right)
        return
    assert Recipe().updated(yaml.safe_load(config.to_yaml(recipe))) == recipe


def test_need_says_what_to_do(tmp_path: Path) -> None:
    inputs = Inputs(out=tmp_path, images=tmp_path, objects=tmp_path / "objects.json")
    assert inputs.need("images") == tmp_path
    with pytest.raises(ConfigError, match="--parts is missing: give it on the command line"):
        inputs.need("parts")
    with pytest.raises(
        ConfigError, match=r"--objects: expected a file or folder, found nothing at .*objects\.json"
    ):
        inputs.need("objects")


def test_settings_are_values() -> None:
    assert Recipe() == Recipe()
    assert hash(Recipe()) == hash(Recipe())
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().encoder = "x"  # type: ignore[misc]


def test_a_path_may_begin_with_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.yaml").write_text("inputs: {images: ~/photos}\nobjects: {classes: ~/classes.txt}\n")
    inputs, recipe = from_yaml(tmp_path / "a.yaml", Inputs(out=Path("~/out")), Recipe())
    assert (inputs.out, inputs.images) == (tmp_path / "out", tmp_path / "photos")
    assert recipe.objects.classes == tmp_path / "classes.txt"
    assert Inputs(out=Path("~nobody-of-that-name/x")).out == Path("~nobody-of-that-name/x")


def test_a_name_that_no_file_system_takes() -> None:
    with pytest.raises(ConfigError, match="--images: expected a file or folder, found"):
        Inputs(images=Path("x" * 300)).need("images")


def test_the_class_of_all_parts_is_remembered() -> None:
    assert "parts_class: dog\n" in to_yaml(Recipe(), Inputs(parts_class="dog"))
    assert "parts_class" not in to_yaml(Recipe(), Inputs())


def test_few_images_are_seen_fewer_times() -> None:
    config = ProposalsConfig(steps=1000, batch_size=8, max_epochs=40)
    assert [config.limited(images).steps for images in (1, 60, 61, 200, 686)] == [100, 300, 305, 1000, 1000]
    assert ProposalsConfig(steps=7).limited(1).steps == 7
