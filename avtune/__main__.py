"""`python -m avtune`, for where the command itself is not on the path."""

import os
import sys

# `python -m` puts the current folder first on the path: a file numpy.py in it would be imported in NumPy's place. Code
# of the user's own is looked for there when the command line names it, and last (`engine/user_code.py`).
if __name__ == "__main__" and not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:
    del sys.path[0]

_ANOTHER = """avtune: {} holds an avtune that is not the installed one, and `python -m avtune` runs it
to use it, install it (pip install -e .) or name its folder in PYTHONPATH; for the installed one, type avtune"""


def _is_found() -> bool:
    """Whether the processes that we start find this very avtune: it may be the one of the folder just dropped."""
    import avtune

    specs = (finder.find_spec("avtune", None) for finder in sys.meta_path)  # importlib's function looks at sys.modules
    spec = next(filter(None, specs), None)
    return spec is not None and spec.origin is not None and os.path.samefile(spec.origin, str(avtune.__file__))


if __name__ == "__main__":
    if not _is_found():
        print(_ANOTHER.format(os.getcwd()), file=sys.stderr)
        sys.exit(2)
    from avtune.cli.main import main

    sys.exit(main())
