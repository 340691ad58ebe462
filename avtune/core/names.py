"""Names that may be those of a study's folder."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from avtune.core.errors import UserError, shown

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


def new_name(name: str | None, before: str, dataset: str, after: str = "") -> str:
    """The name that --name gives, or one made of the dataset's.

    Args:
        name: what --name says; None where it is not given.
        before: what a made name begins with.
        after: what it ends with.

    Raises:
        UserError: --name is not the name of a folder.
    """
    if name is None:
        return before + legal_name(dataset, MOST_LETTERS - len(before + after)) + after
    if not is_legal_name(name):
        raise UserError(
            f"--name is {shown(name)}; allowed: letters, digits, '.', '_' and '-', at most {MOST_LETTERS}, "
            f"a letter or digit first; for example {legal_name(name)}"
        )
    return name
