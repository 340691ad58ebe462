"""How many engines one driver keeps busy: 64 of them on a virtual clock, with the driver's own work as it is.

    python -m benchmarks.engines

A study with its files, TensorBoard and stopping rule, the dispatcher, and messages as text are those of a search; each
costs the CPU time that it takes here. So does what the mailbox takes for a message, measured on a Ray of this machine
beforehand. So other work on the machine is left out, as far as it does not slow the processor down; so are waits for
the disk. Engines train nothing: an epoch of all lanes takes the seconds given, on a clock that waits for nobody else.
Nodes have no part in it, as an engine talks to the driver alone: 64 engines on 8 nodes are 64 on one, but for their
network.
"""

from __future__ import annotations

import heapq
import json
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

from avtune.core.trial import Trial
from avtune.engine.messages import Message, Orders
from avtune.report.board import BoardListener, StudyBoard
from avtune.runners._base import Placement
from avtune.runners.dispatcher import Dispatcher, spare_trials
from avtune.study.folder import StudyFolder
from avtune.study.study import Study
from benchmarks import _report, _tiny

ENGINES = 64
SIDES = (("random", 4), ("random", 16), ("tpe", 4))
"""Sampler, and lanes of an engine. With 16 lanes TPE would make 6,000 suggestions of 13 ms for each line."""
SECONDS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Of an epoch."""
EPOCHS = 9
WANTED = 0.95
_GENERATIONS = 6  # trials for each lane
_MEMORY = Path("/dev/shm")  # no disk, whose waits are another matter
Value = TypeVar("Value")
_SHORTEST_WAIT, _LONGEST_WAIT = 0.001, 0.25  # of an engine without work, see `engine.engine`


@dataclass
class Engine:
    """One that trains nothing."""

    capacity: int
    trials: dict[int, Trial] = field(default_factory=dict)
    epochs: dict[int, int] = field(default_factory=dict)
    wait: float = _SHORTEST_WAIT

    def follows(self, orders: Orders) -> None:
        for number in orders.stop:
            self.trials.pop(number, None)
        for trial in orders.trials:
            self.trials[trial.number], self.epochs[trial.number] = trial, 0

    def trains(self) -> Message:
        """What it says after an epoch of its trials."""
        message = Message(0)
        for number, trial in list(self.trials.items()):
            self.epochs[number] += 1
            value = trial.seed % 1009 / 1009 * (1 - 0.6 ** self.epochs[number])
            metrics = {"val_map": value, "loss": 1 - value, "lr": 1e-3, "seconds": 0.1}
            message.reports.append((number, self.epochs[number], metrics))
            if self.epochs[number] == trial.epochs:
                message.ends.append((number, None, ""))
                del self.trials[number]
        message.want = self.capacity - len(self.trials)
        return message


@dataclass(frozen=True)
class Load:
    """What came of a search: the share of lanes that trained while trials were left, epochs a second of the virtual
    clock, and milliseconds that the driver had for a message."""

    busy: float
    rate: float
    message: float


def load(engines: int, lanes: int, seconds: float, transport: float, sampler: str) -> Load:
    """One search on the virtual clock.

    Args:
        seconds: of an epoch of all lanes of an engine.
        transport: seconds that a message takes in the mailbox.
    """
    trials = engines * lanes * _GENERATIONS
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as scratch:
        settings = {"early_stopping__epochs": EPOCHS, "search__trials": trials, "search__sampler": sampler}
        space = _tiny.space(Path(scratch), **settings)
        folder = StudyFolder(Path(scratch) / "study")
        folder.create({"format": 1, "space": space.as_dict()}, {})
        board = StudyBoard(folder.tensorboard, space)
        study = Study(folder, space, listeners=[BoardListener(board, folder.tensorboard)])
        placement = Placement(engines, 0, 1, lanes=lanes)
        dispatcher = Dispatcher(study, spare=spare_trials(placement), max_failures=3)
        found = _run(study, dispatcher, [Engine(lanes) for _ in range(engines)], seconds, transport)
        study.close()
        board.close()
    return found


def _run(study: Study, dispatcher: Dispatcher, engines: list[Engine], seconds: float, transport: float) -> Load:
    """Messages come to the driver in the order of the clock; it takes one after the other, and suggests when none is
    there. The time that counts begins when all lanes are full, and ends with the last suggestion."""
    draw = random.Random(0)
    # (when it comes, engine, message)
    coming = [(draw.uniform(0, seconds), place, Message(engine.capacity)) for place, engine in enumerate(engines)]
    heapq.heapify(coming)
    free = began = ended = spent = 0.0  # when the driver is free; the time that counts; what messages took
    lanes = sum(engine.capacity for engine in engines)
    epochs = messages = 0.0
    trained: list[tuple[float, int]] = []  # when so many lanes began an epoch
    filled = False
    while not study.exhausted:
        at, place, message = coming[0]
        while free < at:
            did, cost = _timed(dispatcher.prepare)
            free = free + cost if did else at
        heapq.heappop(coming)
        orders, cost = _timed(lambda place=place, message=message: _exchanged(dispatcher, place, message))
        free = max(free, at) + cost + transport
        engine = engines[place]
        engine.follows(orders)
        if not filled and sum(len(one.trials) for one in engines) == lanes:
            filled, began = True, free
        counts = filled and len(study.records) < study.space.search.trials
        if counts:
            ended, spent, messages = free, spent + cost + transport, messages + 1
        if engine.trials:
            engine.wait = _SHORTEST_WAIT
            trained.append((free, len(engine.trials)))
            epochs += len(engine.trials) * counts
            heapq.heappush(coming, (free + seconds, place, engine.trains()))
        elif not orders.over:
            heapq.heappush(coming, (free + engine.wait, place, Message(engine.capacity)))
            engine.wait = min(2 * engine.wait, _LONGEST_WAIT)
    span = ended - began
    inside = sum(count * max(0.0, min(at + seconds, ended) - max(at, began)) for at, count in trained)
    return Load(inside / (lanes * span), epochs / span, 1e3 * spent / messages)


def _exchanged(dispatcher: Dispatcher, place: int, message: Message) -> Orders:
    """As the runner `lanes` takes a message: both ways as text."""
    said = json.loads(json.dumps(asdict(message)))
    orders = dispatcher.exchange(f"engine {place}", Message(**said))
    answer = json.loads(json.dumps(asdict(orders)))
    return Orders(answer["stop"], [Trial(**trial) for trial in answer["trials"]], answer["over"])


def _timed(call: Callable[[], Value]) -> tuple[Value, float]:
    """What it returns, and the CPU time of this thread that it took."""
    began = time.thread_time()
    value = call()
    return value, time.thread_time() - began


def transport(engines: int, rounds: int) -> float:
    """Seconds of CPU time that a message takes in the driver's process and in the mailbox's, on its way there and back,
    when all engines have left one. The engines' own calls, which this process makes too, are in it: more than on a
    machine that does nothing else."""
    from avtune.runners.mailbox import Mailbox
    from avtune.runners.ray.local import local_ray

    class Timed(Mailbox):
        async def cpu(self) -> float:
            return time.process_time()

    text = json.dumps({"reports": [[1, 1, {"val_map": 0.5, "loss": 0.5}]] * 16})
    with local_ray(1, 0, 1 << 20):
        import ray

        mailbox = ray.remote(num_cpus=0, max_concurrency=10_000)(Timed).remote("over")
        before = ray.get(mailbox.cpu.remote()) + time.process_time()
        for _ in range(rounds):
            answers = [mailbox.exchange.remote(text) for _ in range(engines)]
            answered = 0
            while answered < engines:
                taken = ray.get(mailbox.take.remote(60.0))
                for ticket, _ in taken:
                    mailbox.reply.remote(ticket, text)
                answered += len(taken)
            ray.get(answers)
        return float(ray.get(mailbox.cpu.remote()) + time.process_time() - before) / (rounds * engines)


def main() -> None:
    parser = _report.arguments("engines", __doc__)
    parser.add_argument("--engines", type=int, default=ENGINES)
    parser.add_argument("--transport", type=float, metavar="MS", help="of a message; measured on a Ray by default")
    parser.add_argument("--sides", default=",".join(f"{sampler}:{lanes}" for sampler, lanes in SIDES), help="which")
    given = parser.parse_args()
    sides = [(sampler, int(lanes)) for sampler, _, lanes in (one.partition(":") for one in given.sides.split(","))]
    seconds = SECONDS
    if given.quick:
        given.engines, sides, seconds = 4, [("random", 2)], (0.5,)
    takes = given.transport / 1e3 if given.transport is not None else transport(given.engines, 3 if given.quick else 20)
    print(f"{1e3 * takes:.2f} ms for a message in the mailbox", flush=True)
    rows = []
    for sampler, count in sides:
        for epoch in seconds:
            one = load(given.engines, count, epoch, takes, sampler)
            busy = f"{100 * one.busy:.1f} %" + " *" * (one.busy >= WANTED)
            rows.append([sampler, str(count), f"{epoch:g}", busy, f"{one.rate:.0f}", f"{one.message:.2f}"])
            print(*rows[-1], flush=True)
            if one.busy >= WANTED:
                break  # longer epochs leave more time
    print(
        _report.write(
            "engines",
            "Engines that one driver keeps busy",
            [_section(rows, given.engines, takes)],
            ["ray", "optuna"],
            given.out,
        )
    )


def _section(rows: list[list[str]], engines: int, takes: float) -> str:
    head = ["sampler", "lanes of an engine", "epoch, s", "lanes busy", "epochs a second", "driver, ms a message"]
    return (
        f"{engines} engines on a virtual clock, trials of {EPOCHS} epochs at most, {_GENERATIONS} for each lane. An "
        "epoch is one of all lanes of an engine. The driver takes one message after the other; each costs the CPU time "
        f"that study, files, TensorBoard, dispatcher and text take here, and {1e3 * takes:.2f} ms for the mailbox on "
        "Ray (CPU time of both processes). Lanes busy: of the time from all lanes being full to the last suggestion; "
        f"* is {100 * WANTED:.0f} % and more, and longer epochs are not tried then. Waits for the disk (the files are "
        "in memory; an end of a trial is synced) and the network between machines are left out.\n\n"
        + _report.table(head, rows)
    )


if __name__ == "__main__":
    main()
