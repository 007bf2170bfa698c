"""Objects and parts as files of other programs: one value (`labels`), one file a format."""
