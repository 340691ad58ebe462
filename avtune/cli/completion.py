"""`avtune completion`: prints what makes a shell complete avtune's command lines (shtab writes it)."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from avtune.cli.arguments import Verbs, add_verb
from avtune.core.errors import UserError

_BASH = """
_avtune_words() {{  # $1: the word, the last of several with commas between them; then what it may be
  local word=$1 before; shift
  before=${{word%"${{word##*,}}"}}
  compgen -P "$before" -W "$*" -- "${{word##*,}}"
}}
_avtune_file_files() {{ compgen -f -- "$1"; }}
_avtune_dataset_files() {{ compgen -W "{dataset}" -- "$1"; compgen -f -- "$1"; }}
_avtune_method_files() {{ _avtune_words "$1" {method}; }}
_avtune_space_files() {{ compgen -W "{space}" -- "$1"; compgen -f -X '!*.yaml' -- "$1"; compgen -d -- "$1"; }}
_avtune_runner_files() {{ compgen -W "{runner}" -- "$1"; }}
_avtune_precision_files() {{ compgen -W "{precision}" -- "$1"; }}
_avtune_protocol_files() {{ compgen -W "{protocol}" -- "$1"; }}
_avtune_finals_files() {{ compgen -W "{finals}" -- "$1"; }}
_avtune_study_files() {{
  local found names=
  for found in results/*/study.yaml results/*/bench.yaml; do
    [ -f "$found" ] || continue
    found=${{found%/*}}; names="$names ${{found##*/}}"
  done
  compgen -W "$names" -- "$1"; compgen -d -- "$1"
}}
_avtune_bench_files() {{
  local found names=
  for found in results/*/bench.yaml; do
    [ -f "$found" ] || continue
    found=${{found%/*}}; names="$names ${{found##*/}}"
  done
  compgen -W "$names" -- "$1"; compgen -d -- "$1"
}}
"""
_ZSH = """
_avtune_file_files() {{ _files; }}
_avtune_dataset_files() {{ compadd -- {dataset}; _files; }}
_avtune_method_files() {{ _values -s , method {method}; }}
_avtune_space_files() {{ compadd -- {space}; _files -g '*.yaml'; }}
_avtune_runner_files() {{ compadd -- {runner}; }}
_avtune_precision_files() {{ compadd -- {precision}; }}
_avtune_protocol_files() {{ compadd -- {protocol}; }}
_avtune_finals_files() {{ compadd -- {finals}; }}
_avtune_study_files() {{ compadd -- results/*/(study|bench).yaml(N:h:t); _files -/; }}
_avtune_bench_files() {{ compadd -- results/*/bench.yaml(N:h:t); _files -/; }}
"""


def add(verbs: Verbs) -> None:
    verb = add_verb(
        verbs,
        "completion",
        "print what makes a shell complete avtune's command lines",
        "avtune completion bash > ~/.local/share/bash-completion/completions/avtune",
        "avtune completion zsh > ~/.zfunc/_avtune",
    )
    verb.add_argument("shell", choices=("bash", "zsh"), metavar="SHELL", help="bash or zsh")


def run(given: argparse.Namespace, log: list[Path]) -> int:
    try:
        import shtab
    except ImportError:
        raise UserError("avtune completion needs shtab; pip install 'avtune[completion]'") from None
    template = {"bash": _BASH, "zsh": _ZSH}[given.shell]
    preamble = template.format(**{kind: " ".join(words) for kind, words in _names().items()})
    print(shtab.complete(given.parser, given.shell, preamble=preamble))
    return 0


def _names() -> Mapping[str, Sequence[str]]:
    """What the values of an option can be, by kind."""
    from avtune.core.protocol import PUBLISHED, VALIDATION
    from avtune.data.registry import REGISTRY
    from avtune.methods import METHODS
    from avtune.space.files import names
    from avtune.space.settings import FULL, RACE
    from avtune.workflows.choose_runner import RUNNERS

    return {
        "dataset": list(REGISTRY),
        "method": list(METHODS),
        "space": names(),
        "runner": list(RUNNERS),
        "precision": ("bf16", "tf32", "fp32"),
        "protocol": (VALIDATION, PUBLISHED),
        "finals": (FULL, RACE),
    }
