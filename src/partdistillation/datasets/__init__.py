"""Published part data sets, one file each, as COCO objects and parts."""
