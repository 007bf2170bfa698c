"""The commands that a report names are commands."""

import shlex
from pathlib import Path

import pytest

from partdistillation.commands import main as cli
from partdistillation.report.next_steps import steps


@pytest.mark.parametrize(("has_parts", "has_model"), [(True, True), (True, False), (False, False)])
def test_commands_parse(
    has_parts: bool, has_model: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = [
        line
        for step in steps(has_parts, has_model)
        for line in step.command.replace("\\\n", " ").splitlines()
    ]
    for name, known in cli.COMMANDS.items():
        monkeypatch.setitem(cli.COMMANDS, name, known._replace(function=lambda _: None))
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "partdistill"
        assert cli.main(arguments) == 0, command
    assert any("predict" in command for command in commands) == has_model
    assert any("run --out ." in command for command in commands) != has_model
