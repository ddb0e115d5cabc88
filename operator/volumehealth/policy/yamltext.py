r"""YAML and JSON that people write into files. Imported where such a file is read: an agent without one must not pay for it.

JSON writes a character beyond U+FFFF as two escapes (`\ud83d\ude00`). PyYAML makes two halves of them, which no encoding
takes: whoever sends, matches or prints the text fails.
"""

from typing import Any

import yaml


class _Joined:
    """Makes one character of two halves; a half by itself is a fault of the file."""

    def construct_scalar(self, node: Any) -> Any:
        text = super().construct_scalar(node)  # type: ignore[misc]  # of the loader that it is mixed into
        if text.isascii():
            return text
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            mark = node.start_mark
            raise yaml.constructor.ConstructorError(
                None, None, "it holds half of a surrogate pair, which stands for nothing", mark
            ) from None


class Values(_Joined, yaml.SafeLoader):
    """Reads numbers, dates and truths as such."""


class Texts(_Joined, yaml.BaseLoader):
    """Makes texts, lists and maps only: every value is the text that is written (`0123`, `yes`)."""


def load_texts(text: str) -> Any:
    """Read a file whose values are texts.

    Raises:
        yaml.YAMLError: if it is no YAML.
        RecursionError: if it is nested too deep.
    """
    return yaml.load(text, Loader=Texts)  # noqa: S506 - it makes texts, lists and maps only
