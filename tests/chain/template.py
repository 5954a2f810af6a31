"""A synthesised template: its resources, what waits for what, and the values of its expressions. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from graphlib import TopologicalSorter
from typing import Any, NamedTuple

REGION, ACCOUNT = "eu-central-1", "123456789012"
REF = "Ref"
"""As the name of an attribute: what ``Ref`` gives, a resource's physical id."""

Lookup = Callable[[str, str], Any]
"""Takes a logical id and an attribute (or ``Ref``); returns the value that stands in for AWS's."""

_PSEUDO = {
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
}
_IN_TEXT = re.compile(r"\$\{(!?)([^}]+)\}")


class Resource(NamedTuple):
    """One resource of a template, its properties unresolved; ``needs`` are the logical ids it waits for."""

    type: str
    properties: Mapping[str, Any]
    needs: frozenset[str]


class Template:
    """The resources of a template, by logical id."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        found: dict[str, Mapping[str, Any]] = document["Resources"]
        self.resources = {name: _resource(body, found.keys()) for name, body in found.items()}

    def order(self) -> list[str]:
        """Return the logical ids, each after those it waits for; raises CycleError when that cannot be."""
        graph = {name: sorted(self.resources[name].needs) for name in sorted(self.resources)}
        return list(TopologicalSorter(graph).static_order())

    def of_type(self, kind: str) -> list[str]:
        """Return the logical ids of the resources of a type."""
        return [name for name, resource in self.resources.items() if resource.type == kind]

    def waits_for(self, logical_id: str) -> set[str]:
        """Return every resource that is there before this one begins."""
        seen: set[str] = set()
        waiting = [logical_id]
        while waiting:
            more = self.resources[waiting.pop()].needs - seen
            seen |= more
            waiting += more
        return seen


def _resource(body: Mapping[str, Any], known: Any) -> Resource:
    explicit = body.get("DependsOn", [])
    explicit = [explicit] if isinstance(explicit, str) else explicit
    properties = body.get("Properties", {})
    return Resource(body["Type"], properties, frozenset({*explicit, *_mentioned(properties)} & known))


def _mentioned(value: Any) -> Iterator[str]:
    """Yield the logical ids (and parameters) that an expression names."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key == REF:
                yield inner
            elif key == "Fn::GetAtt":
                yield inner[0]
            elif key == "Fn::Sub":
                text = inner if isinstance(inner, str) else inner[0]
                yield from (name.partition(".")[0] for escaped, name in _IN_TEXT.findall(text) if not escaped)
            yield from _mentioned(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _mentioned(inner)


def resolve(value: Any, lookup: Lookup) -> Any:
    """Return an expression's value; raises ValueError for a function that no resource of ours uses."""
    if isinstance(value, list):
        return [inner for item in value if (inner := resolve(item, lookup)) is not None]
    if not isinstance(value, Mapping):
        return value
    if len(value) == 1:
        (key, argument), = value.items()
        if key == REF:
            return _reference(argument, lookup)
        if key.startswith("Fn::"):
            return _call(key, argument, lookup)
    resolved = {key: resolve(inner, lookup) for key, inner in value.items()}
    return {key: inner for key, inner in resolved.items() if inner is not None}  # AWS::NoValue


def _reference(name: str, lookup: Lookup) -> Any:
    if name == "AWS::NoValue":
        return None
    return _PSEUDO[name] if name in _PSEUDO else lookup(name, REF)


def _call(function: str, argument: Any, lookup: Lookup) -> Any:
    if function == "Fn::Sub":
        return _substitute(argument, lookup)
    values = resolve(argument, lookup)
    match function:
        case "Fn::GetAtt":
            return lookup(values[0], values[1])
        case "Fn::Join":
            return values[0].join(map(str, values[1]))
        case "Fn::Select":
            return values[1][int(values[0])]
        case "Fn::Split":
            return values[1].split(values[0])
        case "Fn::GetAZs":
            return [REGION + letter for letter in "abc"]
    raise ValueError(function)


def _substitute(argument: Any, lookup: Lookup) -> str:
    text, local = (argument, {}) if isinstance(argument, str) else (argument[0], resolve(argument[1], lookup))

    def replaced(found: re.Match[str]) -> str:
        escaped, name = found.groups()
        if escaped:
            return f"${{{name}}}"
        if name in local:
            return str(local[name])
        logical_id, dot, attribute = name.partition(".")
        return str(lookup(logical_id, attribute) if dot else _reference(name, lookup))

    return _IN_TEXT.sub(replaced, text)


def stringified(value: Any) -> Any:
    """Return properties as a custom resource gets them: numbers and booleans have become texts."""
    if isinstance(value, Mapping):
        return {key: stringified(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [stringified(inner) for inner in value]
    return str(value).lower() if isinstance(value, bool) else str(value)
