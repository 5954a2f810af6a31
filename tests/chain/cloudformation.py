"""A small CloudFormation: carries out a template resource by resource, and rolls back when one of them fails.

What it does is what the deploy of a stack depends on: the order, updates only where a resolved property has changed,
the rollback with the old properties while the new version and the old one are both there, the clean-up at the end.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tests.chain.assembly import Assembly
from tests.chain.template import REF, Resource, resolve

Properties = dict[str, Any]
CREATE, UPDATE, DELETE = "Create", "Update", "Delete"


class ResourceFailed(Exception):
    """A resource could not be made, changed or removed; the text is what CloudFormation shows."""

    def __init__(self, reason: str, physical_id: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.physical_id = physical_id


class Change(NamedTuple):
    """What is to be done to one resource; ``code`` is the unpacked package of a function."""

    action: str
    stack: str
    logical_id: str
    type: str
    properties: Properties
    old: Properties = {}  # noqa: RUF012 - never written to
    physical_id: str = ""
    code: Path | None = None


class ResourceType(Protocol):
    """Stands in for the part of AWS that has resources of one type."""

    def carry_out(self, change: Change) -> str:
        """Carry out a change and return the physical id; raises ResourceFailed."""

    def attribute(self, physical_id: str, name: str) -> object:
        """Return what Fn::GetAtt gives."""


class _Failing:
    """What a resource meets that fails for a reason of its own."""

    def carry_out(self, change: Change) -> str:
        raise ResourceFailed("it failed for a reason of its own", change.physical_id)

    def attribute(self, physical_id: str, name: str) -> object:
        raise NotImplementedError


class Provisioned(NamedTuple):
    """A resource that is there."""

    type: str
    physical_id: str
    properties: Properties
    code: Path | None = None


class Event(NamedTuple):
    """One line of a stack's events."""

    logical_id: str
    type: str
    status: str
    reason: str = ""


class Stack:
    """One stack, from its first deploy to its deletion."""

    def __init__(self, name: str, types: Mapping[str, ResourceType], other: ResourceType) -> None:
        self.name = name
        self.events: list[Event] = []
        """Those of the last deploy."""
        self._types = types
        self._other = other
        self._resources: dict[str, Provisioned] = {}
        self._parameters: Mapping[str, str] = {}

    def deploy(
        self, assembly: Assembly, *, failing: Collection[str] = (),
        overrides: Mapping[str, Mapping[str, object]] | None = None, parameters: Mapping[str, str] | None = None,
    ) -> str:
        """Bring the stack to what the template says, and return its status.

        ``failing`` are logical ids of resources that fail for a reason of their own; ``overrides`` are properties
        by type of resource, where a test wants others than the template's (short times).
        """
        self.events, self._parameters = [], {"AWS::StackName": self.name, **(parameters or {})}
        kind, before = ("UPDATE" if self._resources else "CREATE"), dict(self._resources)
        try:
            for name in assembly.template.order():
                self._provision(assembly, name, name in failing, (overrides or {}).get(_type(assembly, name), {}))
        except ResourceFailed:
            return self._roll_back(kind, before)
        gone = self._resources.keys() - assembly.template.resources.keys()
        return self._remove(gone, f"{kind}_COMPLETE")

    def delete(self) -> str:
        """Remove everything, what was made last first, and return the status."""
        self.events = []
        return self._remove(self._resources.keys(), "DELETE_COMPLETE", "DELETE_FAILED")

    def touched(self) -> list[str]:
        """Return the logical ids of what the last deploy has made or changed, in order."""
        return [event.logical_id for event in self.events if event.status in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}]

    def _lookup(self, logical_id: str, attribute: str) -> object:
        if logical_id in self._parameters:
            return self._parameters[logical_id]
        found = self._resources[logical_id]
        return found.physical_id if attribute == REF else self._at(found.type).attribute(found.physical_id, attribute)

    def _at(self, kind: str) -> ResourceType:
        return self._types.get(kind, self._other)

    def _provision(self, assembly: Assembly, name: str, fails: bool, overrides: Mapping[str, object]) -> None:
        resource: Resource = assembly.template.resources[name]
        properties = {**resolve(resource.properties, self._lookup), **overrides}
        code = assembly.code(properties)
        there = self._resources.get(name)
        if there is None:
            change = Change(CREATE, self.name, name, resource.type, properties, code=code)
        elif properties != there.properties:
            change = Change(
                UPDATE, self.name, name, resource.type, properties, there.properties, there.physical_id, code
            )  # fmt: skip
        else:
            return
        self._carry_out(change, _Failing() if fails else None)

    def _carry_out(self, change: Change, at: ResourceType | None = None) -> None:
        """Do it; what has failed is there too, if it has a physical id, until it is rolled back."""
        verb = change.action.upper()
        try:
            physical_id = (at or self._at(change.type)).carry_out(change)
        except ResourceFailed as error:
            self.events.append(Event(change.logical_id, change.type, f"{verb}_FAILED", error.reason))
            if change.action != DELETE and error.physical_id:
                self._keep(change, error.physical_id)
            raise
        self.events.append(Event(change.logical_id, change.type, f"{verb}_COMPLETE"))
        if change.action == DELETE:
            del self._resources[change.logical_id]
        else:
            self._keep(change, physical_id)

    def _keep(self, change: Change, physical_id: str) -> None:
        self._resources[change.logical_id] = Provisioned(change.type, physical_id, change.properties, change.code)

    def _roll_back(self, kind: str, before: dict[str, Provisioned]) -> str:
        """Give every resource its old properties again, in the old order; then remove what is new."""
        prefix = "UPDATE_ROLLBACK" if kind == "UPDATE" else "ROLLBACK"
        for name, old in before.items():
            now = self._resources[name]
            if now == old:
                continue
            try:
                self._carry_out(
                    Change(UPDATE, self.name, name, old.type, old.properties, now.properties, now.physical_id, old.code)
                )
            except ResourceFailed:
                return f"{prefix}_FAILED"
        return self._remove(self._resources.keys() - before.keys(), f"{prefix}_COMPLETE", f"{prefix}_FAILED")

    def _remove(self, names: Collection[str], done: str, failed: str = "") -> str:
        """Remove resources, what was made last first; a clean-up that fails does not fail a deploy."""
        for name in [name for name in reversed(self._resources) if name in names]:
            there = self._resources[name]
            try:
                self._carry_out(
                    Change(DELETE, self.name, name, there.type, there.properties, physical_id=there.physical_id)
                )
            except ResourceFailed:
                if failed:
                    return failed
        return done


def _type(assembly: Assembly, name: str) -> str:
    return assembly.template.resources[name].type
