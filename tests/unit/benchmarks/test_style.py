"""The figures of style: counted by the same rules for every package."""

from pathlib import Path

import pytest
from benchmarks.style import figures_of, main, table

SOURCE = '''"""A module."""


class Wide:
    """Many attributes."""

    kind: ClassVar[str] = "x"
    one: int

    def __init__(self) -> None:
        self.two, self.three = 2, 3

    def tell(self, other: int, loud) -> str:
        """Tell."""
        # one reason a line
        if other and loud and self.one and self.two:
            return "a" if other else "b"
        return ""
'''


def test_what_is_counted(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(SOURCE)
    (tmp_path / "pb").mkdir()
    (tmp_path / "pb" / "generated.py").write_text("x = 1\n")
    figures = figures_of(tmp_path)
    assert figures.files == [18]
    assert sorted(figures.bodies) == [1, 3]
    assert figures.attributes == [3]
    assert (figures.branches, figures.conditionals, figures.long_booleans) == (5, 1, 1)
    assert (figures.comments, figures.annotated, figures.public, figures.documented) == (1, 1, 1, 1)


def test_packages_stand_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(SOURCE)
    head, _, first, *_ = table({"before": figures_of(tmp_path), "after": figures_of(tmp_path)}).splitlines()
    assert head == "| | before | after |"
    assert first == "| files; lines | 1; 18 | 1; 18 |"


def test_a_directory_without_python_files_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([f"nothing={tmp_path}"])
    assert "is no directory with Python files" in capsys.readouterr().err
