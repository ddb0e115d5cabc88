"""Figures of how code is written: of this product, and of any other Python package, by the same rules.

    python benchmarks/style.py operator/volumehealth path/to/kopf path/to/structlog

Each argument is a directory, or NAME=DIRECTORY. Generated code (`pb`) is left out. The figures are a question to ask,
not a gate: docs/glossary.md and CONTRIBUTING.md say what holds.
"""

import argparse
import ast
import io
import sys
import tokenize
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_BRANCHES = (
    ast.If,
    ast.IfExp,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.With,
    ast.AsyncWith,
    ast.Assert,
    ast.comprehension,
    ast.match_case,
)
_MANY = 12
"""Attributes of a class."""
_TERMS = 4
"""Terms of one boolean expression."""


@dataclass(slots=True)
class Figures:
    """What was counted.

    Attributes:
        files: lines of each file.
        bodies: lines of each function's body without its docstring.
        attributes: attributes of each class.
    """

    files: list[int] = field(default_factory=list)
    bodies: list[int] = field(default_factory=list)
    attributes: list[int] = field(default_factory=list)
    branches: int = 0
    conditionals: int = 0
    long_booleans: int = 0
    comments: int = 0
    annotated: int = 0
    public: int = 0
    documented: int = 0


Function = ast.FunctionDef | ast.AsyncFunctionDef


def figures_of(root: Path) -> Figures:
    """Count the Python files below a directory."""
    figures = Figures()
    for path in sorted(root.rglob("*.py")):
        if "pb" not in path.relative_to(root).parts:
            _count_file(path.read_text(), figures)
    return figures


def _count_file(text: str, figures: Figures) -> None:
    figures.files.append(len(text.splitlines()))
    figures.comments += _comments(text)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, _FUNCTIONS):
            _count_function(node, figures)
        elif isinstance(node, ast.ClassDef):
            figures.attributes.append(len(set(_attributes(node))))
        elif isinstance(node, ast.IfExp):
            figures.conditionals += 1
        elif isinstance(node, ast.BoolOp):
            figures.long_booleans += _terms(node) >= _TERMS


def _comments(text: str) -> int:
    """Count lines that hold a comment and nothing else."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return sum(token.type == tokenize.COMMENT and token.line.strip().startswith("#") for token in tokens)


def _count_function(node: Function, figures: Figures) -> None:
    body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    if body:
        figures.bodies.append((body[-1].end_lineno or body[-1].lineno) - body[0].lineno + 1)
    else:
        figures.bodies.append(0)
    figures.branches += sum(map(_decides, (inner for one in body for inner in ast.walk(one))))
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    named = [one for one in arguments if one.arg not in ("self", "cls")]
    figures.annotated += node.returns is not None and all(one.annotation is not None for one in named)
    if not node.name.startswith("_"):
        figures.public += 1
        figures.documented += ast.get_docstring(node) is not None


def _decides(node: ast.AST) -> int:
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    return isinstance(node, _BRANCHES)


def _terms(node: ast.expr) -> int:
    return sum(map(_terms, node.values)) if isinstance(node, ast.BoolOp) else 1


def _attributes(node: ast.ClassDef) -> Iterator[str]:
    """Yield fields, and what methods set on `self`."""
    for one in node.body:
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
            yield from () if "ClassVar" in ast.unparse(one.annotation) else (one.target.id,)
        elif isinstance(one, _FUNCTIONS):
            yield from filter(None, map(_set_on_self, ast.walk(one)))


def _set_on_self(node: ast.AST) -> str:
    """Return the attribute that is set on `self`; empty if none is."""
    if not (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)):
        return ""
    return node.attr if isinstance(node.value, ast.Name) and node.value.id == "self" else ""


def _spread(numbers: Sequence[int]) -> str:
    """`median / p95 / max`."""
    ordered = sorted(numbers)
    return f"{median(ordered):.0f} / {ordered[int(0.95 * (len(ordered) - 1))]} / {ordered[-1]}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


ROWS: dict[str, Callable[[Figures], str]] = {
    "files; lines": lambda one: f"{len(one.files)}; {sum(one.files)}",
    "file median / p95 / max": lambda one: _spread(one.files),
    "function body median / p95 / max": lambda one: _spread(one.bodies),
    "functions fully annotated": lambda one: _share(one.annotated, len(one.bodies)),
    "public functions with a docstring": lambda one: _share(one.documented, one.public),
    "branches per 100 body lines": lambda one: f"{100 * one.branches / sum(one.bodies):.0f}",
    "conditional expressions per 1,000 lines": lambda one: f"{1000 * one.conditionals / sum(one.files):.1f}",
    "booleans of 4 and more terms": lambda one: f"{one.long_booleans}",
    "classes with more than 12 attributes": lambda one: (
        f"{sum(number > _MANY for number in one.attributes)} of {len(one.attributes)}"
    ),
    "full-line comments": lambda one: _share(one.comments, sum(one.files)),
}


def table(columns: dict[str, Figures]) -> str:
    """Return the figures side by side, as Markdown."""
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    lines += [f"| {row} | {' | '.join(map(figure, columns.values()))} |" for row, figure in ROWS.items()]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/style.py", description="Figures of style, side by side."
    )
    parser.add_argument("directories", nargs="+", metavar="[NAME=]DIRECTORY", help="Python code to count")
    columns = {}
    for argument in parser.parse_args(arguments).directories:
        name, _, path = argument.rpartition("=")
        figures = figures_of(Path(path))
        if not figures.files:
            parser.error(f"{path} is no directory with Python files")
        columns[name or Path(path).name] = figures
    sys.stdout.write(f"{table(columns)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
