import pytest

from partdistillation.studio.file_names import safe_name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("Käfer 車", "Käfer 車"),
        ("a/b:c", "a_b_c"),
        ("a\u202egnp", "a_gnp"),  # turns what follows around
        (" .hidden. ", "hidden"),
        ("...", "x"),
        ("é" * 100, "é" * 60),
    ],
)
def test_a_name_is_one_on_every_system(name: str, safe: str) -> None:
    assert safe_name(name, "x") == safe
