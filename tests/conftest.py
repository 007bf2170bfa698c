"""What all tests share: no network, one thread, Ctrl-C, and where to find the reference material."""

import gc
import hashlib
import importlib.util
import inspect
import json
import logging
import os
import shutil
import signal
import urllib.request
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import is_dataclass
from functools import partial, wraps
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ForwardRef, get_args
from uuid import uuid4

# Before anything imports numpy, torch or transformers: they read these once.
os.environ["HF_HUB_OFFLINE"] = "1"
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

# A shell that starts tests in the background lets them, and the programs that they interrupt, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import jaxtyping  # noqa: E402  (after the environment is set)
import pytest  # noqa: E402

if TYPE_CHECKING:
    from torch import Tensor

    from partdistillation.config import Recipe
    from partdistillation.models.part_mask2former import PartMask2Former
    from partdistillation.runs.records import R


_jaxtyped: Any = jaxtyping.jaxtyped
_jaxtypings_cache: Any = jaxtyping._import_hook._optimized_cache_from_source


def _checked(target: Any = None, *, typechecker: Callable[[Any], Any]) -> Any:
    """In place of jaxtyping's decorator, which checks arguments twice, and binds them for shapes always."""
    if target is None:
        return partial(_checked, typechecker=typechecker)
    if inspect.isclass(target):
        if is_dataclass(target) and "__init__" in vars(target):
            target.__init__ = _checked(target.__init__, typechecker=typechecker)  # type: ignore[method-assign]
        return target
    hints = list(target.__annotations__.values())
    if inspect.isgeneratorfunction(target) or _have(hints, _is_name):  # beartype checks those late
        return _jaxtyped(target, typechecker=typechecker)
    typed = typechecker(target)
    if _have(hints, _is_shape):
        typed = _jaxtyped(typed, typechecker=None)

    @wraps(target)
    def checked(*args: Any, **kwargs: Any) -> Any:
        return (target if jaxtyping.config.jaxtyping_disable else typed)(*args, **kwargs)

    return checked


def _have(hints: Sequence[Any], wanted: Callable[[Any], bool]) -> bool:
    """Whether an annotation, or a part of it, is what is wanted."""
    return any(wanted(hint) or _have(get_args(hint), wanted) for hint in hints)


def _is_name(hint: Any) -> bool:
    """Of a type that may be there for mypy alone: jaxtyping lets anything pass for that."""
    return isinstance(hint, str | ForwardRef)


def _is_shape(hint: Any) -> bool:
    return inspect.isclass(hint) and issubclass(hint, jaxtyping.AbstractArray)


def _cache_of(checks: str, path: str, debug_override: bool | None = None) -> str:
    """Where bytecode is: of what the package imports not under jaxtyping's name, to be compiled once more."""
    if f"{os.sep}partdistillation{os.sep}" in path:
        return str(_jaxtypings_cache(checks, path, debug_override))
    return importlib.util.cache_from_source(path, debug_override)


setattr(jaxtyping, "jaxtyped", _checked)  # noqa: B010  (of another type, as mypy sees it)
setattr(jaxtyping._import_hook, "_optimized_cache_from_source", _cache_of)  # noqa: B010


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collects no garbage meanwhile, nor ever looks for any in what is imported: a quarter of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


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


@pytest.fixture(scope="session")
def image_files() -> ModuleType:
    """The module `fuzz/cases/image_files.py`. Tests are no package, so it isn't imported."""
    path = Path(__file__).parent / "fuzz/cases/image_files.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 server on loopback, empty, for as long as tests run."""
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty bucket, with the environment in which it is reached."""
    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "anyone",
        "AWS_SECRET_ACCESS_KEY": "anything",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{uuid4().hex}"
    urllib.request.urlopen(urllib.request.Request(f"{s3_server}/{name}", method="PUT")).close()
    return f"s3://{name}"


@pytest.fixture
def unchecked() -> Iterator[None]:
    """No run-time shape checks, as users run the package: for what it says itself about wrong arguments."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def small_network() -> "PartMask2Former":
    """A stage 0 network of three classes, ResNet backbone, random weights."""
    return _small_network(swin=False)


@pytest.fixture
def small_swin() -> "PartMask2Former":
    """The same with a Swin backbone."""
    return _small_network(swin=True)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str], str]:
    """Lays a folder into a cache as the hub's library does, as the newest commit; returns that."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def publish(folder: Path, name: str) -> str:
        storage = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        contents = {str(path.relative_to(folder)): path.read_bytes() for path in files}
        commit = hashlib.sha1(repr(sorted(contents.items())).encode()).hexdigest()
        for file, content in contents.items():
            blob = storage / "blobs" / hashlib.sha256(content).hexdigest()
            link = storage / "snapshots" / commit / file
            for path in (blob, link):
                path.parent.mkdir(parents=True, exist_ok=True)
            blob.write_bytes(content)
            link.symlink_to(os.path.relpath(blob, link.parent))
        (storage / "refs").mkdir(exist_ok=True)
        (storage / "refs/main").write_text(commit)
        return commit

    return publish


@pytest.fixture(scope="session")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PartShapes as files: the splits `train` (12 images of 64 pixels) and `val` (4)."""
    from partdistillation.part_shapes import write_coco

    folder = tmp_path_factory.mktemp("drawings")
    write_coco(folder, "train", seed=1, count=12, size=64)
    write_coco(folder, "val", seed=2, count=4, size=64)
    return folder


@pytest.fixture(scope="session")
def folders(drawings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four drawings in the folders a and b, one of them damaged, and objects.json beside these."""
    root = tmp_path_factory.mktemp("folders")
    document = json.loads((drawings / "objects_train.json").read_text())
    document["images"] = document["images"][:4]
    ids = {image["id"] for image in document["images"]}
    document["annotations"] = [entry for entry in document["annotations"] if entry["image_id"] in ids]
    for place, image in enumerate(document["images"]):
        name = f"{'ab'[place % 2]}/{image['file_name']}"
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(drawings / "train" / image["file_name"], root / name)
        image["file_name"] = name
    path = root / document["images"][0]["file_name"]
    path.write_bytes(path.read_bytes()[:-100])
    (root / "objects.json").write_text(json.dumps(document))
    return root


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> "Recipe":
    """All stages in seconds, from a network with random weights: 3 segments, 3 part classes, 2 steps."""
    from partdistillation import config

    stage0 = tmp_path_factory.mktemp("stage0") / "model"
    _small_network(swin=False).save_pretrained(stage0)
    steps = {
        "steps": 2,
        "batch_size": 2,
        "image_size": 64,
        "points": 16,
        "warmup_steps": 1,
        "min_object_area": 0.0,
        "checkpoint_every": 1,
        "log_every": 1,
    }
    return config.Recipe().updated(
        {
            "encoder": str(stage0),
            "segments": {"image_size": 64, "k": 3, "restarts": 2, "metric": "l2"},
            "proposals": steps,
            "ranking": {
                "image_size": 64,
                "min_score": 0.0,
                "label_min_score": 0.0,
                "num_parts": 3,
                "restarts": 1,
            },
            "distillation": steps,
            "supervised": steps,
            "finetune": steps,
            "contrastive": {"steps": 2, "batch_size": 2, "image_size": 64},
        }
    )


@pytest.fixture
def write_stage() -> Callable[[Path, "Sequence[R]"], Path]:
    """Writes rows as a finished stage, in one shard: `write_stage(folder, rows)`."""
    from partdistillation.runs.engine import run_shards
    from partdistillation.runs.shards import ImageRef, Shard

    def write(folder: Path, rows: "Sequence[R]") -> Path:
        return run_shards(
            folder,
            row=type(rows[0]),
            shards=[Shard("all", tuple(ImageRef(row.image_id) for row in rows))],
            settings={},
            make_work=lambda: lambda _: rows,
            label=folder.name,
        )

    return write


@pytest.fixture(scope="session")
def write_network() -> "Callable[..., Path]":
    """Writes a saliency network that can be computed by hand: the sigmoid of the normalised colours' sum."""
    import numpy as np
    from onnx import TensorProto, checker, helper, numpy_helper, save

    def write(
        path: Path,
        *,
        shape: Sequence[str | int | None] = (1, 3, 32, 32),
        channels: int = 1,
        logits: bool = False,
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


@pytest.fixture(scope="session")
def small_wordnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """WordNet's noun files with a few synsets: what the choice of classes names, and some things below that.

    Offsets are counted from 1000 in the order below; a lemma's senses are in that order too.
    """
    from partdistillation.classes.choice import EXCLUDED, PART_IMAGENET

    entries = ["entity | what exists |", "physical entity | what can be touched | entity"]
    named = [sense for table in (EXCLUDED, PART_IMAGENET) for senses in table.values() for sense in senses]
    for lemma in dict.fromkeys(sense.split(".")[0] for sense in named):
        senses = max(int(sense.split(".")[2]) for sense in named if sense.split(".")[0] == lemma)
        entries += [f"{lemma} | sense {sense + 1} | physical entity" for sense in range(senses)]
    entries += _ENTRIES.strip().splitlines()
    folder = tmp_path_factory.mktemp("wordnet")
    _write_wordnet(folder, [[part.strip() for part in entry.split("|")] for entry in entries])
    return folder


_ENTRIES = """
    physical object, object | a thing | physical entity
    crane, Stephen Crane | a writer | @physical object
    crane | a lifting tackle; "the crane lifts" | lifting device
    crane | a long-necked bird | wading bird
    crane, fake crane | a wooden bird | lifting device
    lifting device | what lifts | physical object
    wading bird | a bird that wades | bird
    love | a feeling | entity
    sparrow, true sparrow | a small bird | bird
    tench | a fish of Europe | fish
    dog, domestic dog | a friend; "the dog barks" | carnivore
    chair | a seat | physical object
    lamp | a light | physical object
    oak | a tree | tree
    meat pie | a pie with meat | food
    Dog | an unpleasant chap | physical object
"""
"""`lemma, lemma | gloss | hypernym` (the first sense of that noun), with @ in front for individuals."""


def _write_wordnet(folder: Path, entries: Sequence[Sequence[str]]) -> None:
    lemmas = [[lemma.strip().replace(" ", "_") for lemma in entry[0].split(",")] for entry in entries]
    senses: dict[str, list[int]] = {}
    for offset, words in enumerate(lemmas, start=1000):
        for word in words:
            senses.setdefault(word.lower(), []).append(offset)
    licence = "  1 This is a test\n  2 WordNet 3.0 Copyright 2006 by Princeton University.\n"
    data = [
        f"{offset:08d} 03 n {len(words):02x} {' '.join(f'{word} 0' for word in words)} "
        f"{_pointers(above, senses)} | {gloss}  \n"
        for offset, (words, (_, gloss, above)) in enumerate(zip(lemmas, entries, strict=True), start=1000)
    ]
    index = [
        f"{word} n {len(offsets)} 1 @ {len(offsets)} 0 {' '.join(f'{offset:08d}' for offset in offsets)}  \n"
        for word, offsets in sorted(senses.items())
    ]
    (folder / "data.noun").write_text(licence + "".join(data), encoding="utf-8")
    (folder / "index.noun").write_text(licence + "".join(index), encoding="utf-8")


def _pointers(above: str, senses: dict[str, list[int]]) -> str:
    if not above:
        return "000"
    symbol = "@i" if above.startswith("@") else "@"
    return f"001 {symbol} {senses[above.lstrip('@').replace(' ', '_')][0]:08d} n 0000"


@pytest.fixture(scope="session")
def random() -> "Callable[..., Tensor]":
    """A random tensor of a shape, that wants a gradient: `random(2, 3, seed=1)`."""
    import torch

    def make(*shape: int, seed: int = 0) -> "Tensor":
        return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()

    return make


@pytest.fixture(scope="session")
def agree() -> "Callable[[Callable[[], Tensor], Callable[[], Tensor], Sequence[Tensor]], None]":
    """Compares two functions' results, and the gradients of a weighted sum: `agree(ours, theirs, inputs)`."""
    import torch

    def compare(
        ours: "Callable[[], Tensor]", theirs: "Callable[[], Tensor]", inputs: "Sequence[Tensor]"
    ) -> None:
        results = []
        for function in (ours, theirs):
            out = function()
            weights = torch.linspace(0.5, 1, out.numel()).view(out.shape)
            results.append([out, *torch.autograd.grad((out * weights).sum(), inputs)])
        for found, expected in zip(*results, strict=True):
            torch.testing.assert_close(found, expected, atol=5e-5, rtol=1e-4)  # terms may cancel

    return compare


def _small_network(swin: bool) -> "PartMask2Former":
    # Imported here: the package must not be loaded before its shape checks are installed.
    from transformers import Mask2FormerConfig, ResNetConfig, SwinConfig

    from partdistillation.models.part_mask2former import PartMask2Former
    from partdistillation.models.pretrained import ModelInfo

    stages = ["stage1", "stage2", "stage3", "stage4"]
    resnet = ResNetConfig(  # type: ignore[call-arg]
        layer_type="basic",
        embedding_size=8,
        hidden_sizes=[8, 16, 16, 32],
        depths=[1, 1, 1, 1],
        out_features=stages,
    )
    shifted_windows = SwinConfig(  # type: ignore[call-arg]
        embed_dim=8, depths=[1, 2, 1, 1], num_heads=[1, 2, 2, 4], window_size=4, out_features=stages
    )
    config = Mask2FormerConfig(
        backbone_config=shifted_windows if swin else resnet,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_layers=1,
        encoder_feedforward_dim=32,
        decoder_layers=4,
        dim_feedforward=32,
        num_queries=6,
    )
    return PartMask2Former.create(config, ModelInfo(("car", "cat", "tree")), seed=0).eval()
