"""Published models without a network: one short try, and what works without."""

import os
from collections.abc import Iterator

import pytest
from huggingface_hub import constants

from partdistillation.errors import CheckpointError
from partdistillation.models import hub
from partdistillation.models.backbones import backbone_config
from partdistillation.models.pretrained import read_config


class Session:
    """Refuses every request, and counts them."""

    def __init__(self) -> None:
        self.requests = 0

    def head(self, _: str, *, timeout: float) -> None:
        assert timeout <= 10
        self.requests += 1
        raise ConnectionError


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    refusing = Session()
    monkeypatch.setattr(hub, "get_session", lambda: refusing)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    hub.try_once.cache_clear()
    yield refusing
    hub.try_once.cache_clear()


@pytest.mark.parametrize("read", [read_config, backbone_config])
def test_a_hub_that_does_not_answer_is_asked_once(read: object, session: Session) -> None:
    assert callable(read)
    for _ in range(2):
        with pytest.raises(CheckpointError) as caught:
            read("out/mine")
        message = str(caught.value)
        assert message.startswith("out/mine: expected a model directory or the name of a published model")
        assert f"no folder {os.getcwd()}/out/mine" in message  # noqa: PTH109
        assert "the hub can't be reached" in message
        assert "builtin:part-shapes" in message
    assert session.requests == 1
    assert os.environ["HF_HUB_OFFLINE"] == "1"  # for processes that are started
