"""One command for a GPU: does everything agree there, how fast is it, and what is its time spent on.

Four parts share the seconds given: conformance (what the tests show on the CPU), scaling (trials an hour against lanes
and against processes), the parts of a step beside their rooflines, and MAP and triplets at VEGAS size. The report is
written anew as rows come in: whatever ends the run, what was measured is there. Needs torch, NumPy, SciPy,
scikit-learn, safetensors and threadpoolctl, and avtune as files only: run it from the root of the repository.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
import time
import traceback
from collections.abc import Callable
from types import FrameType

import torch

from avtune.core.words import plural
from benchmarks import _gpu_conformance, _gpu_kernels, _gpu_scaling, _gpu_steps, _report
from benchmarks._gpu_device import Clock, Device
from benchmarks._gpu_report import Report, Section, one_line

Part = Callable[[Section, Device, Clock, bool], None]
PARTS: dict[str, tuple[str, str, Part, float]] = {
    "conformance": ("Conformance", _gpu_conformance.ABOUT, _gpu_conformance.conformance, 0.35),
    "scaling": ("Scaling", _gpu_scaling.ABOUT, _gpu_scaling.scaling, 0.4),
    "steps": ("The parts of a step", _gpu_steps.ABOUT, _gpu_steps.steps, 0.15),
    "kernels": ("MAP and triplets", _gpu_kernels.ABOUT, _gpu_kernels.kernels, 0.1),
}
"""Title, explanation, what measures it, and its share of the seconds."""
SECONDS, QUICK_SECONDS = 420, 150
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)


class Ended(BaseException):
    """The process was told to end."""


def main() -> int:
    options = _options()
    device = Device(options.device)
    torch.set_num_threads(_report.cores() if device.cuda else 1)  # small tensors: CPU threads would only wait
    seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    shares = ", ".join(f"{name} {share:.0%}" for name, (_, _, _, share) in PARTS.items())
    report = Report(
        "gpu",
        "Agreement and speed on a GPU" + ("" if device.cuda else ", tried on a CPU: the times mean nothing"),
        options.out,
        device.facts(),
        f"The parts share {seconds:g} s: {shares}; what one leaves unused is the next ones'. A part looks at its clock "
        "between measurements. The JSON file beside this has the numbers.",
        options.commit,
    )
    for number in SIGNALS:
        signal.signal(number, _end)
    # Every part looks at its clock; this is for one that does not come back to it.
    signal.alarm(math.ceil(1.1 * seconds + 10))
    code = 1
    try:
        code = _measure(report, device, Clock(seconds), options)
    except Ended as ended:
        code = 128 + int(ended.args[0])
        report.ended = f"This run was ended by {signal.Signals(ended.args[0]).name}; what was measured before is here."
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        report.save()
        print(report.path)
    return code


def _options() -> argparse.Namespace:
    parser = _report.arguments("gpu", __doc__)
    parser.add_argument("--seconds", type=float, help=f"what all parts together may take ({SECONDS}; {QUICK_SECONDS})")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="(cuda)")
    parser.add_argument("--only", nargs="+", choices=tuple(PARTS), default=list(PARTS), help="parts (all)")
    parser.add_argument("--commit", help="of the code, for the report, where there is no git")
    options = parser.parse_args()
    if options.seconds is not None and not options.seconds > 0:
        parser.error(f"--seconds is {options.seconds:g}; allowed: above 0")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error(f"torch {torch.__version__} sees no GPU; `--device cpu --quick` tries everything on the CPU")
    return options


def _end(number: int, frame: FrameType | None) -> None:
    raise Ended(number)


def _measure(report: Report, device: Device, clock: Clock, options: argparse.Namespace) -> int:
    """Runs the parts; 1 if anything is wrong. A part that raises ends alone."""
    parts = [PARTS[name] for name in PARTS if name in options.only]
    shares = clock.parts([share for _, _, _, share in parts])
    for (title, about, measure, _), own in zip(parts, shares, strict=True):
        section = report.section(title, about)
        report.save()
        print(f"{title}: {own.left:.0f} s", flush=True)
        start = time.perf_counter()
        try:
            measure(section, device, own, options.quick)
        except Exception as error:
            traceback.print_exc()
            section.fail(f"this part ended early: {one_line(error)}")
        finally:
            section.seconds = time.perf_counter() - start
            device.free()
            report.save()
        print(f"{title}: done in {section.seconds:.0f} s", flush=True)
    fails = report.fails
    said = f"{plural(len(fails), 'thing')} FAIL" if fails else "nothing fails"
    report.ended = f"Complete: {said}, {plural(report.left_out, 'thing')} left out."
    return 1 if fails else 0


if __name__ == "__main__":
    status = main()
    loaded = sorted({"ray", "optuna"} & sys.modules.keys())
    assert not loaded, f"this needs neither, yet the process has imported {loaded}"
    raise SystemExit(status)
