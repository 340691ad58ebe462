"""Names that may be those of a study's folder. Imports nothing of ours."""

from __future__ import annotations

import hashlib
import re
import unicodedata

MOST_LETTERS = 100


def is_legal_name(name: str) -> bool:
    """Whether a study may be called so: letters, digits, `.`, `_` and `-`, at most 100, a letter or digit first."""
    return re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MOST_LETTERS - 1}}}", name) is not None


def legal_name(text: str, most: int = MOST_LETTERS) -> str:
    """A legal name made of any text: a legal one stays as it is. The same text gives the same name.

    Args:
        most: letters that it may have.

    >>> legal_name("my features (v2)"), legal_name("Gef\u00fchle.1")
    ('my-features-v2', 'Gefuhle.1')
    """
    if is_legal_name(text) and len(text) <= most:
        return text
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    made = re.sub(r"[^A-Za-z0-9._]+", "-", plain).lstrip("._-")[:most].rstrip("._-")
    return made or f"data-{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:8]}"
