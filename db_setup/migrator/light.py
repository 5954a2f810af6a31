"""Typing's names without the cost of importing typing.

That import and its NamedTuple take 4 ms of CPU, a tenth of a run with nothing to do, on every deploy and in a Lambda
that may have a quarter of a processor. A type checker sees typing's own names; at run time annotations are text, and
a named tuple is made by collections, which the driver has loaded already.
"""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO as IO
    from typing import Any as Any
    from typing import NamedTuple as NamedTuple
    from typing import NoReturn as NoReturn
    from typing import Protocol as Protocol
    from typing import TextIO as TextIO
else:
    Any = IO = NoReturn = Protocol = TextIO = object

    class _Maker(type):
        """Makes of a class body what typing.NamedTuple makes of it: fields, defaults, methods, docstring."""

        def __new__(cls, name, bases, body):
            if not bases:
                return super().__new__(cls, name, bases, body)
            fields = body.pop("__annotations__", {})
            defaults = [body.pop(field) for field in fields if field in body]
            made = namedtuple(name, fields, defaults=defaults, module=body.pop("__module__"))
            for key, value in body.items():
                setattr(made, key, value)
            return made

    class NamedTuple(metaclass=_Maker):
        """A tuple with named fields."""
