"""Photographs and annotations: `images` and folders of them, `coco`, and what training sees of them.

That is `examples` and `object_views`.
"""
