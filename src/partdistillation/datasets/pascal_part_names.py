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


def _parts(text: str) -> dict[str, str]:
    """Merged names, each with the names that it stands for: its own, where none follow."""
    entries = (entry.partition(" = ") for entry in text.split(", "))
    return {name: names or name for name, _, names in entries}


_CAT = (
    "head, eye = leye reye, ear = lear rear, nose, torso, neck, leg = lfleg rfleg lbleg rbleg, "
    "paw = lfpa rfpa lbpa rbpa, tail"
)
_HOOFED = (
    "head, eye = leye reye, ear = lear rear, muzzle, torso, neck, "
    "leg = lfuleg lflleg rfuleg rflleg lbuleg lblleg rbuleg rblleg, tail"
)
_CAR = (
    "front = frontside, side = leftside rightside, back = backside, roof = roofside, "
    "mirror = leftmirror rightmirror, license plate = fliplate bliplate, door, wheel, headlight, window"
)

PARTS: Mapping[str, Mapping[str, str]] = {
    "aeroplane": _parts("body, stern, wing = lwing rwing, tail, engine, wheel"),
    "bicycle": _parts("wheel = fwheel bwheel, saddle, handlebar, chainwheel, headlight"),
    "bird": _parts(
        "head, eye = leye reye, beak, torso, neck, wing = lwing rwing, leg = lleg rleg, foot = lfoot rfoot, "
        "tail"
    ),
    "boat": {},
    "bottle": _parts("cap, body"),
    "bus": _parts(_CAR),
    "car": _parts(_CAR),
    "cat": _parts(_CAT),
    "chair": {},
    "cow": _parts(f"{_HOOFED}, horn = lhorn rhorn"),
    "diningtable": {},
    "dog": _parts(f"{_CAT}, muzzle"),
    "horse": _parts(f"{_HOOFED}, hoof = lfho rfho lbho rbho"),
    "motorbike": _parts("wheel = fwheel bwheel, handlebar, saddle, headlight"),
    "person": _parts(
        "head, eye = leye reye, ear = lear rear, eyebrow = lebrow rebrow, nose, mouth, hair, torso, neck, "
        "arm = llarm luarm rlarm ruarm, hand = lhand rhand, leg = llleg luleg rlleg ruleg, foot = lfoot rfoot"
    ),
    "pottedplant": _parts("pot, plant"),
    "sheep": _parts(f"{_HOOFED}, horn = lhorn rhorn"),
    "sofa": {},
    "train": _parts(
        "head, head front = hfrontside, head side = hleftside hrightside, head back = hbackside, "
        "head roof = hroofside, headlight, coach, coach front = cfrontside, "
        "coach side = cleftside crightside, coach back = cbackside, coach roof = croofside"
    ),
    "tvmonitor": _parts("screen"),
}
"""By object class: a merged name, and the names in the annotations that it stands for, without numbers.

Classes without parts have an object mask only.
"""

MERGED: Mapping[str, Mapping[str, str]] = {
    category: {name: merged for merged, names in parts.items() for name in names.split()}
    for category, parts in PARTS.items()
}
"""By object class: the merged name of a name in the annotations, without its number."""
