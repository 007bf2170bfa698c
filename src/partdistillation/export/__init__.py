"""Objects and parts as files: `labels` is the value that every format is made from, one file a format.

Whatever has objects and parts (results, prepared data sets, drawn scenes) makes `ImageLabels` and gives them
to a format. A new format is a file beside `coco`, with a `Writer`, and a case of `formats.writer_of`. A run's
images are many: `divided` shares them out by shards.
"""
