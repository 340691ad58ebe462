"""`benchmarks.gpu`: it starts with few packages, keeps what it measured, and says what fails. No times are tested."""

import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from avtune.lanes.modules import matrix_precision
from avtune.methods import METHODS
from benchmarks import _gpu_conformance, _gpu_scaling, gpu, gpu_search
from benchmarks._agreement import CHOICES, EPOCHS, Apart, Runs, apart, nudged
from benchmarks._gpu_device import Clock, Device, out_of_memory
from benchmarks._gpu_report import Report
from benchmarks._gpu_step import Step
from benchmarks._processes import Engines
from benchmarks._products import Matrices, traffic
from benchmarks._training import Setup, Shape, engine, generated

ROOT = Path(__file__).parents[1]
NOT_THERE = (
    "h5py",
    "yaml",
    "ray",
    "optuna",
    "rich",
    "pytest",
    "hypothesis",
    "google",
    "matplotlib",
    "jinja2",
    "tensorboard",
)


TINY = _gpu_scaling.Size("tiny", Shape(3, 260, 12, 5, 7), 8)


@pytest.fixture
def report(tmp_path) -> Report:
    return Report("gpu", "a title", tmp_path, [["device", "a device"]], "about", commit="abc123")


@pytest.fixture
def main(monkeypatch, tmp_path):
    """Runs the command with parts of the test's own; the signals' handlers are put back."""
    before = {number: signal.getsignal(number) for number in gpu.SIGNALS}
    threads = torch.get_num_threads()

    def run(*more: str, **parts: gpu.Part) -> tuple[int, str, dict]:
        monkeypatch.setattr(gpu, "PARTS", {name: (name, f"about {name}", part, 0.5) for name, part in parts.items()})
        monkeypatch.setattr(sys, "argv", ["gpu", "--device", "cpu", "--out", str(tmp_path), *more])
        code = gpu.main()
        (page,), (numbers,) = tmp_path.glob("*-gpu.md"), tmp_path.glob("*-gpu.json")
        return code, page.read_text(), json.loads(numbers.read_text())

    yield run
    signal.alarm(0)
    for number, handler in before.items():
        signal.signal(number, handler)
    torch.set_num_threads(threads)


def measuring(section, device, clock, quick):
    section.table("a table", ["what", "how much"]).row("one", "1")
    section.add(what="one", seconds=1.0, bad=math.nan)


def raising(section, device, clock, quick):
    measuring(section, device, clock, quick)
    raise ValueError("no such luck\nin two lines")


def failing(section, device, clock, quick):
    section.fail("two lanes differ")


def ending(number):
    def part(section, device, clock, quick):
        measuring(section, device, clock, quick)
        os.kill(os.getpid(), number)
        raise AssertionError("the signal did not arrive")

    return part


# --- the command


def test_it_needs_few_packages() -> None:
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({NOT_THERE}))\n"
        "import benchmarks.gpu, benchmarks._processes\n"
        "from avtune.core.files import write_text\n"
        "from avtune.data import from_arrays, demo"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_part_that_raises_ends_alone_and_the_status_says_so(main, capsys) -> None:
    code, page, numbers = main(first=raising, second=measuring)
    assert code == 1
    assert "- FAILS: first: this part ended early: ValueError: no such luck in two lines" in page
    assert page.count("| one | 1 |") == 2
    assert numbers["sections"]["second"]["numbers"] == [{"what": "one", "seconds": 1.0, "bad": "nan"}]
    assert "Complete: 1 thing FAIL, 0 things left out." in page
    assert "Traceback" in capsys.readouterr().err


def test_what_fails_is_at_the_top_and_in_the_status(main) -> None:
    code, page, _ = main(first=failing, second=measuring)
    assert code == 1
    assert page.index("- FAILS: first: two lanes differ") < page.index("## first")
    assert main(second=measuring)[0] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGALRM])
def test_a_signal_ends_the_run_and_leaves_the_report(main, number) -> None:
    code, page, numbers = main(first=ending(number), second=measuring)
    assert code == 128 + number
    assert f"This run was ended by {number.name}" in page
    assert "| one | 1 |" in page
    assert list(numbers["sections"]) == ["first"]


def test_parts_can_be_chosen(main) -> None:
    assert list(main("--only", "second", first=failing, second=measuring)[2]["sections"]) == ["second"]


def test_without_a_gpu_it_says_what_to_type(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        gpu.main()
    assert "sees no GPU; `--device cpu --quick` tries everything on the CPU" in capsys.readouterr().err


# --- its pieces


def test_a_report_is_written_while_rows_come_in(report) -> None:
    section = report.section("a part", "about it")
    report.save()
    assert "This run has not ended" in report.path.read_text()
    assert "commit abc123" in report.path.read_text()
    assert (report.path.stat().st_mode & 0o777) == 0o666 & ~os.umask(os.umask(0o022))
    section.table("a table", ["what"]).row("one")
    report.save()
    assert "| one |" in report.path.read_text()


def test_memory_that_does_not_suffice_leaves_a_thing_out_and_anything_else_fails(report) -> None:
    section = report.section("a part", "about it")
    for error in (torch.OutOfMemoryError("tried to allocate 3 GiB"), RuntimeError("[enforce] can't allocate memory")):
        assert out_of_memory(error)
        with section.attempt("256 lanes"):
            raise error
    assert len(section.left_out) == 2
    assert section.left_out[0].startswith("256 lanes: out of memory: ")
    assert not section.fails
    with section.attempt("64 lanes"):
        raise RuntimeError("wrong shape")
    assert section.fails == ["64 lanes: ended early: RuntimeError: wrong shape"]


def test_more_lanes_than_fit_are_left_out_and_fewer_are_kept(report, monkeypatch) -> None:
    made = []
    engine = _gpu_scaling.engine

    def crowded(setup, count, *, validate):
        made.append(count)
        if count > 2:
            raise torch.OutOfMemoryError("tried to allocate 3 GiB")
        return engine(setup, count, validate=validate)

    monkeypatch.setattr(_gpu_scaling, "engine", crowded)
    section = report.section("a part", "about it")
    best = _gpu_scaling._lanes(section, Device("cpu"), Clock(1e6), TINY, (1, 2, 4, 8), "fp32", 0.0)
    assert made == [1, 2, 4]
    assert best == max(numbers["trials_an_hour"] for numbers in section.numbers)
    (left_out,) = section.left_out
    assert left_out.startswith("tiny size, fp32, 4 lanes and more: ")
    assert left_out.endswith("tried to allocate 3 GiB")


def test_what_the_clock_forbids_is_left_out_with_the_reason(report) -> None:
    section = report.section("a part", "about it")
    up, cpu = Clock(-1), Device("cpu")
    assert _gpu_scaling._lanes(section, cpu, up, TINY, (1, 2), "fp32", 0.0) is None
    _gpu_scaling._processes(section, cpu, up, TINY, _gpu_scaling.QUICK, None, False)
    checks = _gpu_conformance._Checks(section, up, "a table", "method")
    checks.check("psd", "fp64", lambda: pytest.fail("there was no time"))
    checks.end()
    assert section.left_out == [
        "tiny size, fp32, 1 lane: the time was up",
        "tiny size, one process a trial: the time was up",
        "a table: psd fp64: the time was up",
    ]


def test_clocks_share_what_is_left() -> None:
    assert [round(clock.left) for clock in Clock(100).parts([1, 1, 2])] == [25, 33, 100]
    assert Clock(-5).part(0.5).left <= 0


# --- conformance


def test_a_lane_that_differs_fails_and_a_lane_that_equals_is_said_to(report) -> None:
    section = report.section("a part", "about it")
    checks = _gpu_conformance._Checks(section, Clock(1e6), "a table", "method")
    same, noise = Apart(0, 0, 0), Apart(0.1, 0, 0)
    checks.check("equal", "fp32", lambda: (same, lambda: pytest.fail("needed only beyond what is allowed")))
    checks.check("noisy", "fp32", lambda: (Apart(0.5, 0, 0), lambda: noise))
    checks.check("wrong", "fp32", lambda: (Apart(0.5, 1, 0), lambda: noise))
    checks.check("infinite", "fp32", lambda: (Apart(0, 0, math.inf), lambda: same))
    checks.check("raises", "fp32", lambda: 1 / 0)
    assert [row[-1] for row in checks._table.rows] == [
        "bit-equal",
        "agrees",
        "FAILS: loss",
        "FAILS: map",
        "FAILS: ZeroDivisionError",
    ]
    assert len(section.fails) == 3


def test_lanes_with_validation_rows_of_their_own_are_checked_too() -> None:
    sizes = _gpu_conformance.QUICK
    data = _gpu_conformance._own_rows(generated(sizes.shape))
    assert data.validation is None
    found, _ = _gpu_conformance._lanes(Device("cpu"), data, "psd", {}, "fp64", sizes)
    assert not _gpu_conformance._beyond(found, _gpu_conformance.FLOORS["fp64"])
    found, _ = _gpu_conformance._recorded(Device("cpu"), data, "psd", sizes)
    assert found.equal, "nothing is recorded on a CPU"


@pytest.mark.parametrize("precision", ["fp64", "bf16"])
def test_a_lane_that_sees_another_is_found(precision, monkeypatch) -> None:
    data = generated(_gpu_conformance.QUICK.shape)
    call = partial(_gpu_conformance._lanes, Device("cpu"), data, "triplet", {}, precision, _gpu_conformance.QUICK)
    found, _ = call()
    assert not _gpu_conformance._beyond(found, _gpu_conformance.FLOORS[precision])
    from avtune.methods.triplet import Triplet

    labelled = Triplet._labelled
    # Each lane's term is a little of the mean over lanes.
    monkeypatch.setattr(Triplet, "_labelled", lambda *x: 0.9 * labelled(*x) + 0.1 * labelled(*x).mean())
    found, nudge = call()
    noise = nudge()
    assert found.loss > max(_gpu_conformance.FLOORS[precision].loss, 10 * noise.loss)


def test_differences_of_runs() -> None:
    def runs(loss, value, weight):
        return Runs({0: [(0.5, 1.0), (value, loss)]}, {0: {"w": torch.tensor([3.0, weight])}})

    one = runs(2.0, 0.25, 4.0)
    assert apart(one, runs(2.0, 0.25, 4.0)).equal
    assert apart(one, runs(2.5, 0.375, 4.5)) == (0.1, 0.25, 0.125)
    assert apart(one, runs(math.nan, 0.25, math.nan)) == (math.inf, math.inf, 0)


def test_a_nudge_is_small_and_not_of_the_validation_rows() -> None:
    data = generated(Shape(3, 12, 6, 4, 5))
    moved = nudged(data, 1e-3)
    change = abs(moved.train.audio / data.train.audio - 1)
    assert change == pytest.approx(1e-3, rel=1e-3)
    assert moved.validation is data.validation
    assert len(EPOCHS) > 3


# --- measuring


def test_traffic_of_products() -> None:
    first = Matrices((2, 3, 4), (12, 4, 1), torch.float32)
    second = Matrices((2, 4, 5), (20, 5, 1), torch.float32)
    assert traffic([(first, second)]) == 4 * 2 * (3 * 4 + 4 * 5 + 3 * 5)


def test_a_process_that_died_or_does_not_answer_is_told() -> None:
    group = Engines.__new__(Engines)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=print)
    child.start()
    child.join()
    group._children = [(ours, child)]
    with pytest.raises(RuntimeError, match="has not answered for 0 s"):
        group.epochs_per_second(1, patience=0)
    theirs.close()
    with pytest.raises(RuntimeError, match="ended with exit code 0"):
        group.epochs_per_second(1, patience=0)
    ours.close()


def test_what_comes_before_a_call_gives_its_argument_and_is_not_timed(monkeypatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr("benchmarks._gpu_device.time.perf_counter", lambda: float(next(clock)))
    given = []
    first = partial(next, clock)  # a second goes by
    assert Device("cpu").seconds(given.append, least=2.0, rounds=2, first=first) == [1.0, 1.0]
    assert len(given) == 2 + 2 * 2
    assert None not in given


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_part_of_a_step_can_be_called(precision) -> None:
    """They call what is inside of a method, which changes without them."""
    setup = Setup(None, TINY.hidden, "cpu", precision, 1, TINY.shape)
    parts = Step(engine(setup, 2, validate=True), setup, 2).parts()
    assert len({part.name for part in parts}) == len(parts) > 8
    with matrix_precision(precision):
        for part in parts:
            part.call(part.first()) if part.first is not None else part.call()


def test_every_choice_of_training_is_checked_on_a_gpu() -> None:
    assert {name for change in CHOICES.values() for name in change} >= {
        hyper.name for hyper in METHODS["psd"].hypers if hyper.extra
    }


def test_a_command_that_the_time_ends_is_left_out_and_one_that_fails_is_a_failure(report, tmp_path, capsys) -> None:
    section = report.section("a part", "about")
    late = gpu_search.Commands(tmp_path, 0, Clock(0)).avtune("--version")
    assert late.late
    assert gpu_search._bad(section, "the late one", late)
    wrong = gpu_search.Commands(tmp_path, 0, Clock(60)).avtune("serch")
    assert not wrong.late
    assert gpu_search._bad(section, "the wrong one", wrong)
    right = gpu_search.Commands(tmp_path, 0, Clock(60)).avtune("--version")
    assert not gpu_search._bad(section, "the right one", right)
    assert section.left_out == ["the late one: the time was up"]
    assert section.fails == ["the wrong one: ends with 2"]
    assert "did you mean" in capsys.readouterr().out
