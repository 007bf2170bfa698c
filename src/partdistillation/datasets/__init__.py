"""Published data sets, one file each, as COCO objects and parts.

`part_datasets` says what a data set has to do and does the writing, `published_coco` is for those published
as COCO's JSON, and `prepare` names all of them.
"""
