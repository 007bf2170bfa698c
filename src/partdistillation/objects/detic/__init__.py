"""Detic: instances of any named class, by the similarity of regions to CLIP embeddings of the names."""
