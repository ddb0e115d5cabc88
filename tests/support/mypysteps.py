"""A plugin for mypy: a computation in steps that is called and not taken is an error, as a coroutine without `await` is.

A bare call of a function that returns `Steps` makes a generator and runs none of it. To mypy its result is made an
awaitable, of which `enable_error_code = ["unused-awaitable"]` demands that something is done with it.
"""

from collections.abc import Callable

from mypy.plugin import FunctionContext, MethodContext, Plugin
from mypy.types import AnyType, Instance, NoneType, Type, TypeOfAny, get_proper_type

_OURS = ("volumehealth", "support", "tests")


class StepsPlugin(Plugin):
    """Looks at the calls of this project's own functions."""

    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        """Return what looks at calls of a function."""
        return _marked if fullname.startswith(_OURS) else None

    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        """Return what looks at calls of a method."""
        return _marked if fullname.startswith(_OURS) else None


def plugin(_: str) -> type[Plugin]:
    """Return the plugin to a version of mypy."""
    return StepsPlugin


def _marked(call: FunctionContext | MethodContext) -> Type:
    made = get_proper_type(call.default_return_type)
    if not (isinstance(made, Instance) and made.type.fullname == "typing.Generator"):
        return call.default_return_type
    steps, sent, result = made.args
    if not all(isinstance(get_proper_type(one), NoneType) for one in (steps, sent)):
        return call.default_return_type
    anything = AnyType(TypeOfAny.special_form)
    return call.api.named_generic_type("typing.AwaitableGenerator", [steps, sent, result, anything])
