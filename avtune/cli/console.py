"""What the command line prints with: lines to standard output, errors to standard error.

Imports nothing heavy, because every command starts with it, `--help` and a misspelt verb included.
"""

from avtune.core.streams import error, say, show_everything

__all__ = ["error", "say", "show_everything"]
