"""Which object classes: `class_list` is their file, `names` says what names mean in `wordnet`, `choice`
is the paper's choice among all of WordNet's; `run` is the command.
"""
