"""A search as a job of SLURM: from `--slurm nodes=2,gpus=8,time=4h` to a batch script, and its submission."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from avtune.core.errors import UserError, choices, did_you_mean, shown
from avtune.core.files import using, write_text
from avtune.workflows.slurm_script import script

_GRACE = 120  # seconds before the end of a job's time in which it is ended in order
_TIME = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?")
_SLURMS = re.compile(r"(?:(?:\d+-)?\d+(?::\d\d){1,2}|\d+-\d+|\d+)")  # as sbatch has it
_WORD = re.compile(r"[\w.@:/+,&|*()\[\]-]+")
_LONGEST = 60.0  # seconds for sbatch
_START = 120
"""Seconds of a job's time beside its grace: SLURM may warn a minute too early, and Ray and the search must begin."""
_LISTS = ("partition", "reservation")  # of which sbatch takes several, separated by commas


@dataclass(frozen=True)
class SlurmJob:
    """What a job asks for.

    Attributes:
        nodes: machines.
        gpus: of all machines together, the same number on each; None for none.
        cpus: of each machine; None for two and two for each GPU, or without GPUs for whole machines.
        time: as `4h`, `90m`, `1d12h` or as sbatch has it; None for what the partition gives.
        mem: memory of each machine, as sbatch has it.
        grace: seconds in which the search is ended in order, before the job's time is over.
        partition, account, qos, constraint, reservation: as sbatch has them.
    """

    nodes: int = 1
    gpus: int | None = None
    cpus: int | None = None
    time: str | None = None
    mem: str | None = None
    grace: int = _GRACE
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    reservation: str | None = None

    def directives(self) -> list[str]:
        """The options of sbatch."""
        given = [f"--nodes={self.nodes}", "--ntasks-per-node=1", *self._devices()]
        if self.time is not None:
            given += [f"--time={self.time}"]
        given += [f"--mem={self.mem}"] * (self.mem is not None)
        for name in ("partition", "account", "qos", "constraint", "reservation"):
            if (value := getattr(self, name)) is not None:
                given.append(f"--{name}={value}")
        # Append: a job that is queued again goes on in the same file.
        return [*given, f"--signal=B:TERM@{self.grace}", "--requeue", "--open-mode=append"]

    def _devices(self) -> list[str]:
        each = self.gpus // self.nodes if self.gpus else 0
        if self.cpus is None and not each:
            return ["--exclusive"]
        cpus = [f"--cpus-per-task={self.cpus or 2 + 2 * each}"]
        return [f"--gpus-per-node={each}", *cpus] if each else cpus


def parsed(text: str) -> SlurmJob:
    """What `--slurm` asks for.

    >>> parsed("nodes=2,gpus=8,time=4h").directives()[:4]
    ['--nodes=2', '--ntasks-per-node=1', '--gpus-per-node=4', '--cpus-per-task=10']

    Raises:
        UserError: a part that is unknown, or whose value is none of its kind.
    """
    allowed = {field.name for field in fields(SlurmJob)}
    given: dict[str, str] = {}
    name = ""
    for part in filter(None, text.split(",")):
        if name in _LISTS and "=" not in part and part not in allowed:
            given[name] += f",{part}"
            continue
        name, mark, value = part.partition("=")
        if name not in allowed or not mark:
            raise UserError(
                f"--slurm has {shown(part)}; allowed: KEY=VALUE, with the keys {choices(allowed)}"
                f"{did_you_mean(name, allowed)}"
            )
        if name in given:
            several = "; several are given as " + name + "=A,B" if name in _LISTS else ""
            raise UserError(f"--slurm has {name}={given[name]} and {name}={value}; give it once{several}")
        given[name] = value
    job = SlurmJob(**{name: _value(name, value) for name, value in given.items()})  # type: ignore[arg-type]
    _check_time(job)
    if job.gpus and job.gpus % job.nodes:
        raise UserError(
            f"--slurm asks for gpus={job.gpus} on nodes={job.nodes}; each machine has the same number, so give a "
            f"multiple of {job.nodes}"
        )
    return job


def _check_time(job: SlurmJob) -> None:
    """Raises:
    UserError: the job would be warned of the end of its time before it has begun to search, whenever it begins.
    """
    least = job.grace + _START
    if job.time is not None and _seconds(job.time) <= least:
        raise UserError(
            f"--slurm has too little time: the search is ended {job.grace} s before the job's time is over (grace), "
            f"and may take {_START} s to begin, so that it would train nothing and be queued again for ever; allowed: "
            f"time={least // 60 + 1}m or more{', or a smaller grace' if job.grace > _GRACE else ''}"
        )


def _seconds(time: str) -> int:
    """A time as sbatch has it: `M`, `M:S`, `H:M:S`, `D-H`, `D-H:M` or `D-H:M:S`."""
    days, dash, rest = time.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if not dash and len(parts) < 3:
        parts = [0, *parts]
    hours, minutes, seconds = [*parts, 0, 0][:3]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def _value(name: str, value: str) -> str | int:
    if name in ("nodes", "gpus", "cpus", "grace"):
        if not value.isdecimal() or not 0 < int(value) <= 100_000:
            raise UserError(f"--slurm has {name}={value}; allowed: a whole number from 1")
        return int(value)
    if name == "time":
        return _time(value)
    if not _WORD.fullmatch(value):
        raise UserError(f"--slurm has {name}={shown(value)}; allowed: what sbatch takes for --{name}, without spaces")
    return value


def _time(value: str) -> str:
    parts = _TIME.fullmatch(value)
    if parts and value:
        days, hours, minutes = (int(part or 0) for part in parts.groups())
        if total := (days * 24 + hours) * 60 + minutes:
            return str(total)
    elif _SLURMS.fullmatch(value):
        return value
    raise UserError(f"--slurm has time={value}; allowed: 4h, 90m, 1d12h, or as sbatch has it: minutes, D-HH:MM:SS")


def job_script(job: SlurmJob, words: Sequence[str], name: str, log: Path, file: Path | None = None) -> str:
    """The batch script of a search.

    Args:
        words: the command line of avtune, without its name and `--slurm`.
        name: of the study.
        log: what the job prints; `%j` is its number.
        file: in the results folder, which the job looks for; None for no look.
    """
    here = Path.cwd()
    ours = [f"--job-name=avtune-{name}", f"--chdir={_quoted(here)}", f"--output={_quoted(log)}"]
    seen = None if file is None else shlex.quote(str(file))
    directives = [*ours, *job.directives()]
    return script(directives, shlex.quote(sys.executable), shlex.join(words), seen, job.grace)


def log_folder(results: Path) -> Path:
    """Where a job's log is: in `slurm/` of the results folder, or of the current one where that is not in it. SLURM
    ends a job without a word on a machine that does not see the folder of its log, and the current folder is that of
    the job on every machine."""
    here = Path.cwd()
    return (results if results.is_relative_to(here) else here) / "slurm"


def _quoted(path: Path) -> str:
    """A path in a line of directives, which sbatch splits at spaces."""
    return f'"{path}"' if " " in str(path) else str(path)


def queued(file: Path) -> list[str]:
    """Numbers of the jobs of this user that were submitted with a script and have not ended; none where SLURM does not
    answer.

    Args:
        file: the script, absolute.
    """
    command = ["squeue", "--noheader", "--me", f"--name=avtune-{file.stem}", "--format=%i %o"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST / 6, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    jobs = (line.strip().partition(" ") for line in said.splitlines())
    return [number for number, _, script in jobs if script.strip() == str(file)]


def submit(text: str, file: Path) -> str:
    """Submits a script, which is kept as `file`; returns the job's number.

    Raises:
        UserError: there is no SLURM here, or it refuses.
    """
    if shutil.which("sbatch") is None:
        raise UserError(
            "--slurm: there is no sbatch on this machine; run the command on a login node of the cluster, or show the "
            "script with --dry-run"
        )
    with using(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, text)
    try:
        ended = subprocess.run(
            ["sbatch", "--parsable", str(file)], capture_output=True, text=True, timeout=_LONGEST, check=False
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"--slurm: sbatch has not answered in {_LONGEST:g} s; is SLURM's controller up (`sinfo`)?"
        ) from None
    if ended.returncode:
        why = " ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in ended.stderr.splitlines())
        raise UserError(f"--slurm: sbatch refuses the job: {why[:300]}\nits script is {file}")
    return ended.stdout.strip().partition(";")[0]
