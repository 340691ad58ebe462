"""Which folder a word means that names a model: the study of that name, or the folder at that path."""

from __future__ import annotations

from pathlib import Path

from avtune.engine.model import CONFIG, EMBEDDINGS


def model_place(name: str | Path, results: Path) -> tuple[Path, str]:
    """The folder of a model: that of the name below the folder of studies, else the path, whichever holds one first.
    Where neither does, the study if there is one, else the path.

    Returns:
        The folder, which may hold no model; and what is to be said: which one is taken where both hold one, else empty.
    """
    study, path = results / name, Path(name)
    if not _holds(study):
        return (study if study.is_dir() and not _holds(path) else path), ""
    if not _holds(path) or path.resolve() == study.resolve():
        return study, ""
    return study, f"{study} and the folder {path.resolve()} both hold a model; the first one is taken"


def _holds(folder: Path) -> bool:
    """Whether a model is there, or what a training function leaves in place of one."""
    return any((at / name).is_file() for at in (folder, folder / "final") for name in (CONFIG, EMBEDDINGS))
