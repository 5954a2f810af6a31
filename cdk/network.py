"""Whether the function can reach what it needs, and what has to be there before it is invoked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import aws_cdk
import jsii
from aws_cdk import aws_ec2 as ec2
from constructs import Construct, IConstruct


def allow(function: ec2.Connections, database: ec2.Connections) -> list[IConstruct]:
    """Let the function reach the database, with rules on both sides, and return the rules that it needs.

    Only these are awaited, not the database's whole security group: a rule there for an application's function waits
    for that function, which may wait for the migrations.
    """
    groups = [*function.security_groups, *database.security_groups]
    before = {child.node.path for group in groups for child in group.node.children}
    function.allow_to_default_port(database, "migrations")
    return [child for group in groups for child in group.node.children if child.node.path not in before]


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


class Place:
    """Where in the VPC the function is: its subnets and security groups, and the endpoints around it."""

    def __init__(
        self, scope: Construct, vpc: ec2.IVpc, subnets: ec2.SubnetSelection | None,
        security_groups: Sequence[ec2.ISecurityGroup] | None,
    ) -> None:  # fmt: skip
        self._scope = scope
        self.vpc, self.subnets = vpc, subnets
        self.security_groups = list(security_groups or [_own_group(scope, vpc)])
        self._selected = _select(vpc, subnets or ec2.SubnetSelection())
        self.connectivity = self._selected.internet_connectivity_established

    def endpoints(self) -> list[ec2.CfnVPCEndpoint]:
        """Return the endpoints of the VPC that this app makes."""
        here, there = aws_cdk.Stack.of(self._scope), aws_cdk.Stack.of(self.vpc)
        stacks = {stack.node.path: stack for stack in (here, there)}
        ours = here.resolve(self.vpc.vpc_id)
        found = [node for stack in stacks.values() for node in stack.node.find_all()]
        return [node for node in found if isinstance(node, ec2.CfnVPCEndpoint) and here.resolve(node.vpc_id) == ours]

    def awaited(self) -> list[IConstruct]:
        """Return the endpoints of the function's own stack, each with its security group."""
        here = aws_cdk.Stack.of(self._scope).node.path
        own = [endpoint for endpoint in self.endpoints() if aws_cdk.Stack.of(endpoint).node.path == here]
        return [_with_its_construct(endpoint) for endpoint in own]

    def missing(self) -> str:
        """Say in a sentence what keeps the function from Secrets Manager, or nothing."""
        if not self._is_isolated() or any(_is_for_secrets(endpoint) for endpoint in self.endpoints()):
            return ""
        return (
            "the subnets are isolated, and the VPC has no endpoint for Secrets Manager, so the function cannot read "
            'its secret. Add one: vpc.add_interface_endpoint("SecretsManager", '
            "service=ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER), or choose subnets with egress in vpc_subnets"
        )

    @property
    def is_imported(self) -> bool:
        """Tell whether the VPC may have endpoints that this app does not know of."""
        return not isinstance(self.vpc, ec2.Vpc)

    def _is_isolated(self) -> bool:
        isolated = {subnet.node.path for subnet in self.vpc.isolated_subnets}
        return all(subnet.node.path in isolated for subnet in self._selected.subnets)


def _select(vpc: ec2.IVpc, wanted: ec2.SubnetSelection) -> ec2.SelectedSubnets:
    return vpc.select_subnets(
        availability_zones=wanted.availability_zones,
        one_per_az=wanted.one_per_az,
        subnet_filters=wanted.subnet_filters,
        subnet_group_name=wanted.subnet_group_name,
        subnets=wanted.subnets,
        subnet_type=wanted.subnet_type,
    )


def _own_group(scope: Construct, vpc: ec2.IVpc) -> ec2.SecurityGroup:
    """Make a group that reaches Secrets Manager, by an endpoint or a NAT; the database is allowed later."""
    group = ec2.SecurityGroup(
        scope, "SecurityGroup", vpc=vpc, description="The migrations", allow_all_outbound=False
    )  # fmt: skip
    group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "Secrets Manager")
    return group


def _is_for_secrets(endpoint: ec2.CfnVPCEndpoint) -> bool:
    name = aws_cdk.Stack.of(endpoint).resolve(endpoint.service_name)  # a text, or one joined around the region
    return ".secretsmanager" in json.dumps(name)


def _with_its_construct(endpoint: ec2.CfnVPCEndpoint) -> IConstruct:
    around = endpoint.node.scope
    return around if isinstance(around, ec2.InterfaceVpcEndpoint) else endpoint
