"""Rules: what a policy, or our knowledge of a driver, makes of a statement. The first rule that matches decides."""

from dataclasses import dataclass
from datetime import timedelta

from volumehealth.model.health import Condition, Source
from volumehealth.model.policy import Rule


@dataclass(frozen=True, slots=True)
class Ruled:
    """A statement after the rules.

    Attributes:
        condition: with the status and reason that the rule set, if it set any.
        ignored: never believed, always counted.
        unhealthy_after: how long it must last, if the rule says so itself.
        rule: what decided, for a person: `spec.rules[0]`, `built-in linode-busy`; empty if no rule matched.
    """

    condition: Condition
    ignored: bool = False
    unhealthy_after: timedelta | None = None
    rule: str = ""


class CompiledRules:
    """A policy's rules and the built-in ones, ready to be applied."""

    def apply(self, driver: str, source: Source, condition: Condition) -> Ruled:
        """Return what the first rule that matches makes of a statement."""
        raise NotImplementedError


def compile_rules(rules: tuple[Rule, ...]) -> CompiledRules:
    """Compile a policy's rules; the built-in ones come after them.

    Raises:
        InvalidSpec: if a pattern is no RE2, with a FieldError for every such pattern.
    """
    raise NotImplementedError
