"""How the epoch of a retrained model is chosen: the protocol of a study's finals. The search itself is the same in all.

`validation`: every retrained seed trains for the epochs that the finalists' validation curves say; the test split is
scored once. `published`: the habit of the field's public training scripts (best MAP on the test split over the epochs),
for comparison with papers only: every retrained seed is scored on the test split after each epoch and keeps its best.
"""

from __future__ import annotations

from avtune.core.errors import UserError, choices, did_you_mean

VALIDATION, PUBLISHED = "validation", "published"
SELECTED_ON_TEST = "selected on test"
"""What every score of the protocol `published` is labelled with, wherever it is shown."""


def checked(name: str) -> str:
    """A protocol's name.

    Raises:
        UserError: there is no such protocol.
    """
    known = (VALIDATION, PUBLISHED)
    if name not in known:
        raise UserError(f"--protocol is {name!r}; allowed: {choices(known)}{did_you_mean(name, known)}")
    return name
