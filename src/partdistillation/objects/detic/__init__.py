"""Detic: instances of any named class, by the similarity of regions to CLIP's embeddings of the names."""

from partdistillation.objects.detic.segmenter import DeticObjects
from partdistillation.objects.detic.text import TextEmbedder

__all__ = ["DeticObjects", "TextEmbedder"]
