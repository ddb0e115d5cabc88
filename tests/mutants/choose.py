"""Random mutants of the product's source, made by cosmic-ray, on lines that the simulator runs."""

import ast
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import cosmic_ray.plugins
from cosmic_ray.ast import get_ast
from cosmic_ray.mutating import MutationVisitor

from mutants.faults import Mutant

_NO_FAULT = ("VariableReplacer", "VariableInserter", "RemoveDecorator")
"""Operators whose mutants nearly always end in a NameError or TypeError, which any run would find."""
_NO_CHANGE = ("Eq_Is", "Eq_IsNot", "Is_Eq", "IsNot_NotEq")
"""Operators whose mutants nearly always mean what was there before."""


def choose(root: Path, lines: Mapping[str, Collection[int]], random: Random) -> Iterator[Mutant]:
    """Make mutants without an end, each at another place.

    Args:
        root: the package's directory.
        lines: which lines of which files may be changed.
        random: decides which.
    """
    places = [
        (path, position, options)
        for path in sorted(lines)
        for position, options in sorted(_places(root / path, lines[path]).items())
    ]
    random.shuffle(places)
    for path, position, options in places:
        random.shuffle(options)
        for operator, occurrence in options:
            mutant = _mutant(root, path, position[0], operator, occurrence)
            if mutant is not None:
                yield mutant
                break


def _places(file: Path, lines: Collection[int]) -> dict[tuple[int, int], list[tuple[str, int]]]:
    """Return what can be done at each place of a file: operators and which of their occurrences it is."""
    nodes = list(_nodes(get_ast(file.read_text(encoding="utf-8"))))
    found: dict[tuple[int, int], list[tuple[str, int]]] = {}
    for operator in cosmic_ray.plugins.operator_names():
        if operator.endswith((*_NO_FAULT, *_NO_CHANGE)):
            continue
        mutation = cosmic_ray.plugins.get_operator(operator)()
        positions = [one for node in nodes for one in mutation.mutation_positions(node)]
        for occurrence, (start, _) in enumerate(positions):
            if start[0] in lines:
                found.setdefault(start, []).append((operator, occurrence))
    return found


def _nodes(node: Any) -> Iterator[Any]:
    """Return all nodes in the order in which cosmic-ray visits them."""
    yield node
    for child in getattr(node, "children", ()):
        yield from _nodes(child)


def _mutant(root: Path, path: str, line: int, operator: str, occurrence: int) -> Mutant | None:
    """Make one; None if it is no program, or differs in annotations only."""
    before = (root / path).read_text(encoding="utf-8")
    after = MutationVisitor.mutate_code(before, cosmic_ray.plugins.get_operator(operator)(), occurrence)
    try:
        if after is None or _meaning(before) == _meaning(after):
            return None
    except SyntaxError:
        return None
    old, new = before.splitlines()[line - 1].strip(), after.splitlines()[line - 1].strip()
    return Mutant(f"{path}:{line} {operator.removeprefix('core/')}", path, after, (old, new))


def _meaning(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
    return ast.dump(tree)
