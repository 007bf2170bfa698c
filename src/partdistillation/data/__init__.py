"""Photographs and annotations: `images` and folders of them, annotations (`coco`), and what training sees of them (`examples`,
`object_views`).
"""
