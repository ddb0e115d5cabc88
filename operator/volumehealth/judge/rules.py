"""Rules: what a policy, or our knowledge of a driver, makes of a statement. The first rule that matches decides."""

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from typing import Protocol

import re2

from volumehealth.errors import InvalidSpec
from volumehealth.judge.builtin import BUILT_IN
from volumehealth.model.health import Condition, Source
from volumehealth.model.policy import FieldError, Rule

_REMEMBERED = 4096
"""Texts whose ruling is kept; a fault is said again in every check."""


@dataclass(frozen=True, slots=True)
class Ruled:
    """A statement after the rules.

    Attributes:
        condition: with the status and reason that the rule set, if it set any.
        ignored: never confirmed, always counted.
        unhealthy_after: how long it must last, if the rule says so itself.
        rule: what decided, for a person: `spec.rules[0]`, `built-in linode-busy`; empty if no rule matched.
    """

    condition: Condition
    ignored: bool = False
    unhealthy_after: timedelta | None = None
    rule: str = ""


class CompiledRules:
    """A policy's rules and the built-in ones, ready to be applied. Made by `compile_rules`."""

    def __init__(self, rules: "tuple[_Compiled, ...]") -> None:
        self._rules = rules
        self._rule = lru_cache(maxsize=_REMEMBERED)(self._first)

    def apply(self, driver: str, source: Source, condition: Condition) -> Ruled:
        """Return what the first rule that matches makes of a statement."""
        return self._rule(driver, source, condition)

    def _first(self, driver: str, source: Source, condition: Condition) -> Ruled:
        for rule in self._rules:
            if rule.matches(driver, source, condition):
                return rule.ruling(condition)
        return Ruled(condition)


def compile_rules(rules: tuple[Rule, ...]) -> CompiledRules:
    """Compile a policy's rules; the built-in ones come after them.

    Raises:
        InvalidSpec: if a pattern is no RE2, with a FieldError for every such pattern.
    """
    compiled: list[_Compiled] = []
    errors: list[FieldError] = []
    for index, rule in enumerate(rules):
        try:
            compiled.append(_Compiled(f"spec.rules[{index}]", rule, _pattern(rule.match.message)))
        except (re2.error, UnicodeEncodeError) as error:
            errors.append(FieldError(f"spec.rules[{index}].match.message", f"invalid RE2: {_said(error)}"))
    if errors:
        raise InvalidSpec(errors)
    return CompiledRules((*compiled, *_built_in()))


class _Pattern(Protocol):
    def search(self, text: str) -> object | None: ...


@dataclass(frozen=True, slots=True)
class _Compiled:
    name: str
    rule: Rule
    pattern: _Pattern | None

    def matches(self, driver: str, source: Source, condition: Condition) -> bool:
        match = self.rule.match
        return (
            (not match.driver or match.driver == driver)
            and (not match.source or match.source == source)
            and (not match.status or match.status == condition.status)
            and (not match.reason or match.reason == condition.reason)
            and (self.pattern is None or self.pattern.search(condition.message) is not None)
        )

    def ruling(self, condition: Condition) -> Ruled:
        made = self.rule.set
        if made is not None:
            condition = replace(
                condition, status=made.status or condition.status, reason=made.reason or condition.reason
            )
        return Ruled(condition, self.rule.ignore, self.rule.unhealthy_after, self.name)


@lru_cache(maxsize=1)
def _built_in() -> tuple[_Compiled, ...]:
    return tuple(
        _Compiled(f"built-in {known.name}", known.rule, _pattern(known.rule.match.message))
        for known in BUILT_IN
    )


def _pattern(text: str) -> _Pattern | None:
    if not text:
        return None
    options = re2.Options()
    options.log_errors = False  # a bad pattern is told in the policy's status, not on our stderr
    pattern: _Pattern = re2.compile(text, options)
    return pattern


def _said(error: Exception) -> str:
    """Return RE2's own words; it may give them as bytes."""
    if isinstance(error, UnicodeEncodeError):
        return "it is not valid UTF-8"
    said = error.args[0] if error.args else "it does not compile"
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)
