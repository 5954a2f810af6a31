"""The VPC endpoints that this app makes: the one for Secrets Manager is the only way out of isolated subnets."""

from __future__ import annotations

import json
from collections.abc import Callable

import aws_cdk
import jsii
from aws_cdk import aws_ec2 as ec2
from constructs import Construct, IConstruct

from cdk.network import Place, allow

_MISSING = (
    "the subnets are isolated, and the VPC has no endpoint for Secrets Manager, so the function cannot read its "
    'secret. Add one: vpc.add_interface_endpoint("SecretsManager", '
    "service=ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER), or choose subnets with egress in vpc_subnets"
)


def at_the_end(scope: Construct, action: Callable[[], None]) -> None:
    """Call ``action`` when all constructs are made: VPC endpoints are often added after the function."""
    leaf = Construct(scope, "AtTheEnd")  # the CDK calls for each construct below; this one has none
    aws_cdk.Aspects.of(leaf).add(_Call(action))


@jsii.implements(aws_cdk.IAspect)
class _Call:
    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action

    def visit(self, _node: IConstruct) -> None:
        self._action()


def look_around(scope: Construct, place: Place, connections: ec2.Connections) -> list[IConstruct]:
    """Return the endpoints to wait for, let the function into them, and say when the one it needs is missing."""
    endpoints = _of_the_vpc(scope, place.vpc)
    for_secrets = [endpoint for endpoint in endpoints if _is_for_secrets(endpoint)]
    if not place.is_isolated:
        return [*_in_the_same_stack(scope, endpoints)]
    if not for_secrets:
        _tell(scope, place)
    # Their own construct holds the rules of others, too; those are not awaited.
    return [*_in_the_same_stack(scope, endpoints), *for_secrets, *_let_in(connections, for_secrets)]


def _of_the_vpc(scope: Construct, vpc: ec2.IVpc) -> list[ec2.CfnVPCEndpoint]:
    """Return the endpoints of the VPC, in whatever stack; the others are looked through only when need be."""
    here, there = aws_cdk.Stack.of(scope), aws_cdk.Stack.of(vpc)
    places = {there.node.path: there.node, here.node.path: here.node}
    found = _endpoints(here, vpc, [node for place in places.values() for node in place.find_all()])
    return found or _endpoints(here, vpc, scope.node.root.node.find_all())


def _endpoints(here: aws_cdk.Stack, vpc: ec2.IVpc, nodes: list[IConstruct]) -> list[ec2.CfnVPCEndpoint]:
    ours = _identity(here, vpc.vpc_id)
    found = {node.node.path: node for node in nodes if isinstance(node, ec2.CfnVPCEndpoint)}
    return [node for node in found.values() if _identity(aws_cdk.Stack.of(node), node.vpc_id) == ours]


def _identity(stack: aws_cdk.Stack, vpc_id: str) -> str:
    """Return what a token stands for, whichever stack it is asked in."""
    reference = aws_cdk.Tokenization.reverse_string(vpc_id).first_token
    if isinstance(reference, aws_cdk.Reference):
        return f"{reference.target.node.path}.{reference.display_name}"
    return json.dumps(stack.resolve(vpc_id))


def _is_for_secrets(endpoint: ec2.CfnVPCEndpoint) -> bool:
    name = aws_cdk.Stack.of(endpoint).resolve(endpoint.service_name)  # a text, or one joined around the region
    return ".secretsmanager" in json.dumps(name) and endpoint.private_dns_enabled is True


def _in_the_same_stack(scope: Construct, endpoints: list[ec2.CfnVPCEndpoint]) -> list[ec2.CfnVPCEndpoint]:
    here = aws_cdk.Stack.of(scope).node.path
    return [endpoint for endpoint in endpoints if aws_cdk.Stack.of(endpoint).node.path == here]


def _let_in(connections: ec2.Connections, endpoints: list[ec2.CfnVPCEndpoint]) -> list[IConstruct]:
    """Make a rule in the endpoint's security group, which may be closed to the VPC (open=False)."""
    around = [endpoint.node.scope for endpoint in endpoints]
    known = [construct for construct in around if isinstance(construct, ec2.InterfaceVpcEndpoint)]
    return [rule for construct in known for rule in allow(connections, construct.connections)]


def _tell(scope: Construct, place: Place) -> None:
    annotations = aws_cdk.Annotations.of(scope)
    if isinstance(place.vpc, ec2.Vpc):
        annotations.add_error(_MISSING)
    else:  # what is imported may have endpoints that this app does not know of
        annotations.add_warning_v2("db_setup:no-endpoint", f"as far as this app knows, {_MISSING}")
