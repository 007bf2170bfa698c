"""Which objects are left for a model that knows some classes."""

from pathlib import Path

from partdistillation.data.images import ImageInput
from partdistillation.objects.new_classes import NewClasses
from partdistillation.runs.records import Object, ObjectRow


def row(*categories: str, reason: str = "") -> ObjectRow:
    objects = (
        Object(number, name, 1.0, 4, (0.0, 0.0, 2.0, 2.0), b"04") for number, name in enumerate(categories)
    )
    return ObjectRow("1", "a.png", 2, 2, "ok", reason, tuple(objects))


def test_objects_of_known_classes_are_left_out() -> None:
    rows = [row("kite"), row("car", "kite", "bus", reason="1 crowd regions"), row("bus", "car")]
    image = ImageInput("1", "a.png", Path("a.png"))
    same, mixed, known = NewClasses(lambda _: rows, frozenset({"car", "bus"}))([image] * 3)
    assert same == rows[0]
    assert [(kept.object_id, kept.category) for kept in mixed.objects] == [(0, "kite")]
    assert mixed.status == "ok"
    assert mixed.reason == "1 crowd regions; left out: objects of classes that the model has (bus, car)"
    assert (known.status, known.objects) == ("rejected", ())
    assert known.reason == "left out: objects of classes that the model has (bus, car)"
