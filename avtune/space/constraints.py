"""Constraints of a space file: `constraints: [w_dis < w_cross]`, comparisons that every configuration fulfils."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from avtune.core.errors import UserError, choices, did_you_mean
from avtune.core.hyper import Value
from avtune.space.yaml_lines import Entry, shorten

_EXAMPLE = "constraints: [w_dis < w_cross]"
_LONGEST = 200
_COMPARISONS: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_OPERATIONS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class Constraint:
    """A comparison of sums, products and quotients of hyper-parameters and numbers.

    Attributes:
        text: as the file has it.
        names: the hyper-parameters in it.
    """

    text: str
    names: frozenset[str] = field(compare=False)
    _tree: ast.Compare = field(compare=False, repr=False)

    def holds(self, config: Mapping[str, Value]) -> bool:
        """Whether a configuration fulfils it. One in which it has no value (see `conditions`) does; one in which it
        divides by zero does not."""
        if any(name not in config for name in self.names):
            return True
        try:
            sides = [_number(side, config) for side in (self._tree.left, *self._tree.comparators)]
        except (ZeroDivisionError, OverflowError):
            return False
        return all(
            _COMPARISONS[type(how)](one, other)
            for how, one, other in zip(self._tree.ops, sides, sides[1:], strict=False)
        )


def _number(tree: ast.expr, config: Mapping[str, Value]) -> float:
    if isinstance(tree, ast.BinOp):
        return _OPERATIONS[type(tree.op)](_number(tree.left, config), _number(tree.right, config))
    if isinstance(tree, ast.UnaryOp):
        return -_number(tree.operand, config)
    if isinstance(tree, ast.Name):
        return float(config[tree.id])
    assert isinstance(tree, ast.Constant)
    assert isinstance(tree.value, int | float)
    return float(tree.value)


def parse_constraints(entry: Entry, numbers: Collection[str], others: Collection[str]) -> tuple[Constraint, ...]:
    """The constraints that a file lists.

    Args:
        entry: of its key `constraints`.
        numbers: the hyper-parameters that are numbers.
        others: those that are words or flags.

    Raises:
        UserError: it is no list of comparisons, or one names what is no number.
    """
    if entry.value is None:
        return ()
    if not isinstance(entry.value, list):
        raise UserError(f"{entry.where}: constraints is {entry.shown}; give a list, for example {_EXAMPLE}")
    return tuple(_constraint(item, numbers, others) for item in entry.value)


def _constraint(entry: Entry, numbers: Collection[str], others: Collection[str]) -> Constraint:
    text = entry.value
    if not isinstance(text, str):
        raise UserError(f"{entry.where}: a constraint is {entry.shown}; give a comparison, for example {_EXAMPLE}")
    try:
        if len(text) > _LONGEST:
            raise SyntaxError
        tree = ast.parse(text.strip(), mode="eval").body
        _check(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UserError(
            f"{entry.where}: the constraint {shorten(text)!r} is no comparison; allowed are names and numbers with + - "
            f"* / ( ) and at least one of < <= > >=, for example {_EXAMPLE}"
        ) from None
    assert isinstance(tree, ast.Compare)
    names = frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    for name in sorted(names):
        if name in others:
            raise UserError(f"{entry.where}: the constraint {shorten(text)!r} compares {name}, which is no number")
        if name not in numbers:
            hint = did_you_mean(name, numbers) or f"; numbers are {choices(numbers) or 'none'}"
            raise UserError(f"{entry.where}: the constraint {shorten(text)!r} names {name!r}, which is unknown{hint}")
    if not names:
        raise UserError(f"{entry.where}: the constraint {shorten(text)!r} names no hyper-parameter; take it out")
    return Constraint(" ".join(text.split()), names, tree)


def _check(tree: ast.expr) -> None:
    """Raises:
    SyntaxError: it is no comparison of arithmetic.
    """
    if not isinstance(tree, ast.Compare) or any(type(how) not in _COMPARISONS for how in tree.ops):
        raise SyntaxError
    for side in (tree.left, *tree.comparators):
        for node in ast.walk(side):
            number = isinstance(node, ast.Constant) and type(node.value) in (int, float)
            operation = isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS
            sign = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
            mark = isinstance(node, ast.Name | ast.expr_context | ast.operator | ast.unaryop)
            if not (number or operation or sign or mark):
                raise SyntaxError
