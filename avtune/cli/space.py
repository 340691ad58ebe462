"""`avtune space`: checks and shows space files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from avtune.cli import console
from avtune.cli.arguments import SET, Verbs, add_actions, add_user_code, add_verb, completes
from avtune.core.errors import UserError, choices
from avtune.report.text import short

if TYPE_CHECKING:
    from avtune.space.axis import Axis
    from avtune.space.space import Space


def add(verbs: Verbs) -> None:
    actions = add_actions(add_verb(verbs, "space", "check and show space files", "avtune space show ave"))
    for name, text in (("check", "check a space file"), ("show", "print a space, complete")):
        one = add_verb(actions, name, text, f"avtune space {name} demo")
        space = one.add_argument("space", metavar="FILE|NAME", nargs="?", help="a space file, or the name of a space")
        completes(space, "space")
        add_user_code(one, "method it is for; without FILE|NAME its own space, or the one made for it", train=True)
        one.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=SET)
    add_verb(actions, "list", "the spaces that come with avtune", "avtune space list")


def run(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.space.files import names
    from avtune.workflows.choose_space import chosen

    if given.action == "list":
        console.say(*names())
        return 0
    method = given.train or given.method
    if given.space is None and method is None:
        raise UserError(f"name a space, by file or by name: {choices(names())}")
    notes: list[str] = []
    space = chosen(given.space, method, overrides=given.set, notes=notes)
    if given.action == "show":
        print(space.to_yaml(), end="")
    else:
        console.say(*_lines(space, given.space or "this"), *(f"note: {note}" for note in notes))
    return 0


def _lines(space: Space, name: str) -> list[str]:
    return [
        f"{name} is a legal space for {space.method}: searches {len(space.axes)} hyper-parameters",
        *console.fitting(["", "low", "high", "", "values"], [_row(axis) for axis in space.axes]),
        *(f"{axis.name} is searched only where {axis.when_text}" for axis in space.axes if axis.when),
        *(f"constraint: {one.text}" for one in space.constraints),
        *(f"note: {note}" for note in space.notes()),
    ]


def _row(axis: Axis) -> list[str]:
    low, high = ("" if end is None else short(end) for end in (axis.low, axis.high))
    return [axis.name, low, high, "log" if axis.log else "", " ".join(map(str, axis.values))]
