"""The part names of Pascal Part, by object class: merged, and as the annotations have them.

Merged "without positions": left and right, front and back, upper and lower, and numbers don't make a part
another one. So a horse's `lfuleg` (its left front upper leg) and seven others are `leg`, a car's `wheel_1`,
`wheel_2`, ... are `wheel`. What is a side of a vehicle in its own right stays: `front`, `back`, `side` (left
and right), `roof`. These 119 parts are those that the authors of PartDistillation evaluate with, under other
names (their train has a "locomotive", their bicycle a "seat"). Pascal-Part-116 (Wei et al.: OV-PARTS:
Towards Open-Vocabulary Part Segmentation, NeurIPS 2023) differs twice: a person's upper and lower arms are
two parts, the sides of a train's head and coaches are the same.

The names in the annotations are those of `part2ind.m`, which comes with the data set.
"""

from collections.abc import Mapping

_CAT = {
    "head": "head",
    "eye": "leye reye",
    "ear": "lear rear",
    "nose": "nose",
    "torso": "torso",
    "neck": "neck",
    "leg": "lfleg rfleg lbleg rbleg",
    "paw": "lfpa rfpa lbpa rbpa",
    "tail": "tail",
}
_HOOFED = {
    "head": "head",
    "eye": "leye reye",
    "ear": "lear rear",
    "muzzle": "muzzle",
    "torso": "torso",
    "neck": "neck",
    "leg": "lfuleg lflleg rfuleg rflleg lbuleg lblleg rbuleg rblleg",
    "tail": "tail",
}
_CAR = {
    "front": "frontside",
    "side": "leftside rightside",
    "back": "backside",
    "roof": "roofside",
    "mirror": "leftmirror rightmirror",
    "license plate": "fliplate bliplate",
    "door": "door",
    "wheel": "wheel",
    "headlight": "headlight",
    "window": "window",
}

PARTS: Mapping[str, Mapping[str, str]] = {
    "aeroplane": {
        "body": "body",
        "stern": "stern",
        "wing": "lwing rwing",
        "tail": "tail",
        "engine": "engine",
        "wheel": "wheel",
    },
    "bicycle": {
        "wheel": "fwheel bwheel",
        "saddle": "saddle",
        "handlebar": "handlebar",
        "chainwheel": "chainwheel",
        "headlight": "headlight",
    },
    "bird": {
        "head": "head",
        "eye": "leye reye",
        "beak": "beak",
        "torso": "torso",
        "neck": "neck",
        "wing": "lwing rwing",
        "leg": "lleg rleg",
        "foot": "lfoot rfoot",
        "tail": "tail",
    },
    "boat": {},
    "bottle": {"cap": "cap", "body": "body"},
    "bus": _CAR,
    "car": _CAR,
    "cat": _CAT,
    "chair": {},
    "cow": {**_HOOFED, "horn": "lhorn rhorn"},
    "diningtable": {},
    "dog": {**_CAT, "muzzle": "muzzle"},
    "horse": {**_HOOFED, "hoof": "lfho rfho lbho rbho"},
    "motorbike": {
        "wheel": "fwheel bwheel",
        "handlebar": "handlebar",
        "saddle": "saddle",
        "headlight": "headlight",
    },
    "person": {
        "head": "head",
        "eye": "leye reye",
        "ear": "lear rear",
        "eyebrow": "lebrow rebrow",
        "nose": "nose",
        "mouth": "mouth",
        "hair": "hair",
        "torso": "torso",
        "neck": "neck",
        "arm": "llarm luarm rlarm ruarm",
        "hand": "lhand rhand",
        "leg": "llleg luleg rlleg ruleg",
        "foot": "lfoot rfoot",
    },
    "pottedplant": {"pot": "pot", "plant": "plant"},
    "sheep": {**_HOOFED, "horn": "lhorn rhorn"},
    "sofa": {},
    "train": {
        "head": "head",
        "head front": "hfrontside",
        "head side": "hleftside hrightside",
        "head back": "hbackside",
        "head roof": "hroofside",
        "headlight": "headlight",
        "coach": "coach",
        "coach front": "cfrontside",
        "coach side": "cleftside crightside",
        "coach back": "cbackside",
        "coach roof": "croofside",
    },
    "tvmonitor": {"screen": "screen"},
}
"""By object class: a merged name, and the names in the annotations that it stands for, without numbers.

Classes without parts have an object mask only.
"""

MERGED: Mapping[str, Mapping[str, str]] = {
    category: {name: merged for merged, names in parts.items() for name in names.split()}
    for category, parts in PARTS.items()
}
"""By object class: the merged name of a name in the annotations, without its number."""
