"""What an image is made of: all that can be said of it without root and without building one."""

from pathlib import Path

import pytest

from volumehealth.errors import SandboxError
from volumehealth_sandbox.assets import checkout
from volumehealth_sandbox.image import Recipe, base_names, content_hash, context_files, product


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    root = tmp_path / "checkout"
    (root / "source" / "__pycache__").mkdir(parents=True)
    (root / "Dockerfile").write_text("FROM some:1\n")
    (root / ".dockerignore").write_text("*\n!source\n!LICENSE\n**/__pycache__\n")
    (root / "source" / "code.py").write_text("pass")
    (root / "source" / "__pycache__" / "code.pyc").write_text("compiled")
    (root / "LICENSE").write_text("free")
    (root / "notes").write_text("not part of it")
    return product(root)


def test_the_files_of_a_build_are_those_the_ignore_file_lets_in(recipe: Recipe) -> None:
    names = {str(path.relative_to(recipe.root)) for path in context_files(recipe)}
    assert names == {"source/code.py", "LICENSE"}


def test_an_ignore_file_that_starts_from_everything_is_refused(recipe: Recipe) -> None:
    recipe.ignore.write_text("notes\n")
    with pytest.raises(SandboxError, match="leave out everything"):
        list(context_files(recipe))


def test_the_hash_follows_the_content_and_nothing_else(recipe: Recipe) -> None:
    before = content_hash(recipe, "base")
    (recipe.root / "notes").write_text("another note")
    assert content_hash(recipe, "base") == before
    (recipe.root / "source" / "code.py").write_text("raise")
    after_code = content_hash(recipe, "base")
    recipe.dockerfile.write_text("FROM some:2\n")
    after_instructions = content_hash(recipe, "base")
    assert len({before, after_code, after_instructions, content_hash(recipe, "another base")}) == 4


def test_a_base_is_what_a_dockerfile_starts_from_but_not_its_own_stages() -> None:
    text = "FROM --platform=linux/amd64 python:3.13-slim AS build\nFROM build\nfrom other:1 as last\n"
    assert base_names(text) == {"python:3.13-slim", "other:1"}


def test_the_shipped_dockerfile_has_a_base_that_can_be_named() -> None:
    (name,) = base_names((checkout() / "Dockerfile").read_text())
    assert "@" not in name, "a digest names one image in a registry, and nothing can take its place"


def test_a_directory_without_a_dockerfile_is_no_checkout(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="Dockerfile"):
        product(tmp_path)
