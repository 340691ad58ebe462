"""What `avtune search --slurm` does: checks the search, writes its job's script, submits it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from avtune.cli import console
from avtune.core.errors import UserError
from avtune.core.files import using

if TYPE_CHECKING:
    from avtune.workflows.search_plan import Request


def submit_search(given: argparse.Namespace, request: Callable[[], Request]) -> int:
    """Submits the search that the command line asks for, once all that can be checked here is.

    Raises:
        UserError: the search, or what is asked of SLURM, is wrong; or SLURM refuses.
    """
    from avtune.workflows.slurm import job_script, log_folder, parsed, queued, submit

    if given.slurm is None:
        raise UserError("--dry-run goes with --slurm, whose script it prints")
    if given.cluster is not None:
        raise UserError("--slurm starts a Ray of the job's own; leave --cluster out")
    if given.runner == "inline":
        raise UserError("--slurm goes with the runners lanes and processes; inline trains in one process")
    job, gpus = parsed(given.slurm), given.gpus
    given.gpus = None  # those of the job, of which this machine need have none
    folder = request().folder.root.resolve()
    if gpus is not None and gpus > (job.gpus or 0):
        raise UserError(
            f"--gpus is {gpus}, and --slurm asks for gpus={job.gpus or 0}; leave --gpus out, or ask for more"
        )
    url = getattr(given, "url", None)
    logs = Path.cwd() / "slurm" if url else log_folder(folder.parent)
    file = (logs if url else folder.parent / "slurm") / f"{folder.name}.sh"
    log = logs / f"{folder.name}-%j.log"
    seen = None if url or given.dry_run else file  # a script that is printed is kept nowhere
    text = job_script(job, words_of(sys.argv[1:]), folder.name, log, seen)
    if given.dry_run:
        console.say(*text.splitlines())
        return 0
    with using(logs):
        logs.mkdir(parents=True, exist_ok=True)
    before = queued(file)
    number = submit(text, file)
    console.say(
        f"submitted  job {number}; `squeue --job {number}` shows it, `scancel {number}` ends it",
        f"script     {file}",
        f"log        {str(log).replace('%j', number)}",
        f"progress   avtune status {folder.name} --results {url or given.results}",
        *(
            f"note: job {one} is of this study too: while one of them runs, the other is refused; `scancel {one}` "
            "ends it"
            for one in before
        ),
    )
    return 0


def words_of(command: Sequence[str]) -> list[str]:
    """A command line without its `--slurm` and `--dry-run`.

    >>> words_of(["search", "demo", "--slurm", "nodes=2", "--trials", "9", "--dry-run"])
    ['search', 'demo', '--trials', '9']
    """
    words, left = [], iter(command)
    for word in left:
        if word == "--slurm":
            next(left)
        elif not word.startswith("--slurm=") and word != "--dry-run":
            words.append(word)
    return words
