"""Names that come from a browser, as names of files and folders on every system."""

import re
import unicodedata

from partdistillation.review.store import tidy

FORBIDDEN = '/\\:*?"<>|'
"""What no name of a file or a folder has on every system."""
_UNSAFE = re.compile(f"[{re.escape(FORBIDDEN)}\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""And what can't be seen, or turns text around."""
_MOST_BYTES = 120


def safe_name(text: str, otherwise: str) -> str:
    """A name of any script, at most 120 bytes long; `otherwise` where nothing is left of it."""
    name = _UNSAFE.sub("_", tidy(unicodedata.normalize("NFC", text))).strip(". ")
    name = name.encode("utf-8", "ignore")[:_MOST_BYTES].decode("utf-8", "ignore").strip(". ")
    return name or otherwise
