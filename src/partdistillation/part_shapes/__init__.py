"""The drawn data set: scenes made from numbers, with object and part masks."""

from partdistillation.part_shapes.files import write_coco
from partdistillation.part_shapes.scene import PartShapes, Scene, SceneObject, ScenePart

__all__ = ["PartShapes", "Scene", "SceneObject", "ScenePart", "write_coco"]
