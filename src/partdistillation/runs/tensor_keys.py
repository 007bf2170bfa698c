"""Names of others as keys of a safetensors file, which keeps one key for itself."""

import re

_RESERVED = re.compile(r"__metadata__'*")
"""The key, and names that would be taken for what is written instead of it."""


def key_of(name: str) -> str:
    """The key of a name: the name, with an apostrophe more where that is reserved."""
    return f"{name}'" if _RESERVED.fullmatch(name) else name


def name_of(key: str) -> str:
    """The name that `key_of` made this of."""
    return key.removesuffix("'") if _RESERVED.fullmatch(key) else key
