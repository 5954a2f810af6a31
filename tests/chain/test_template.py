"""template: references, expressions and order of a template. Pure."""

from __future__ import annotations

from graphlib import CycleError
from typing import Any

import pytest

from tests.chain.template import Template, resolve, stringified

VALUES = {("Db", "Ref"): "db-1", ("Db", "Endpoint.Address"): "db.example", ("Fn", "Arn"): "arn:aws:fn"}


def lookup(logical_id: str, attribute: str) -> str:
    """Return the values of the tests."""
    return VALUES[logical_id, attribute]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ({"Ref": "Db"}, "db-1"),
        ({"Ref": "AWS::Region"}, "eu-central-1"),
        ({"A": {"Ref": "AWS::NoValue"}, "B": 1}, {"B": 1}),
        ([{"Ref": "AWS::NoValue"}, 1], [1]),
        ({"Fn::GetAtt": ["Db", "Endpoint.Address"]}, "db.example"),
        ({"Fn::Join": [":", ["a", {"Ref": "Db"}, 3]]}, "a:db-1:3"),
        ({"Fn::Select": [1, {"Fn::Split": ["-", {"Ref": "Db"}]}]}, "1"),
        ({"Fn::Select": [0, {"Fn::GetAZs": ""}]}, "eu-central-1a"),
        ({"Fn::Sub": "${AWS::Partition}/${Db}/${Fn.Arn}/${!Db}"}, "aws/db-1/arn:aws:fn/${Db}"),
        ({"Fn::Sub": ["${x}-${Db}", {"x": {"Ref": "Db"}}]}, "db-1-db-1"),
        ({"deep": [{"Fn::GetAtt": ["Fn", "Arn"]}]}, {"deep": ["arn:aws:fn"]}),
    ],
)
def test_expression(expression: Any, value: Any) -> None:
    """Each of CloudFormation's functions that the CDK writes has its value."""
    assert resolve(expression, lookup) == value


def test_unknown_function() -> None:
    """A function that the resolver does not know is no silent text."""
    with pytest.raises(ValueError, match="Fn::Cidr"):
        resolve({"Fn::Cidr": []}, lookup)


def resource(*depends_on: str, **properties: Any) -> dict[str, Any]:
    """Return a resource of a template."""
    return {"Type": "T", "Properties": properties, "DependsOn": list(depends_on)}


def test_order() -> None:
    """A resource comes after what its DependsOn names and what its properties mention, however deep."""
    template = Template({"Resources": {
        "A": resource("B"), "B": resource(x=[{"y": {"Fn::Sub": "${C.Arn}"}}]), "C": resource(x={"Fn::GetAtt": ["D", "Arn"]}),
        "D": resource(x={"Ref": "AWS::Region"}),
    }})  # fmt: skip
    assert template.order() == ["D", "C", "B", "A"]
    assert template.waits_for("B") == {"C", "D"}


def test_circle() -> None:
    """A template whose resources wait for each other is refused."""
    with pytest.raises(CycleError):
        Template({"Resources": {"A": resource("B"), "B": resource(x={"Ref": "A"})}}).order()


def test_properties_of_a_custom_resource_are_texts() -> None:
    """Numbers and booleans become texts on the way to a custom resource."""
    assert stringified({"a": True, "b": [1, {"c": 2.5}], "d": "x"}) == {"a": "true", "b": ["1", {"c": "2.5"}], "d": "x"}
