"""Where the function is in the network: subnets, security groups and their rules, and the VPC endpoints it needs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import aws_cdk
import jsii
from aws_cdk import aws_ec2 as ec2
from constructs import Construct, IConstruct, IDependable

from .errors import InvalidProps

_RULES = (ec2.CfnSecurityGroupIngress, ec2.CfnSecurityGroupEgress)
_MISSING = (
    "the subnets are isolated, and the VPC has no endpoint for Secrets Manager, so the function cannot read its "
    'secret. Add one: vpc.add_interface_endpoint("SecretsManager", '
    "service=ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER), or choose subnets with egress in vpc_subnets"
)


def allow(one: ec2.Connections, other: ec2.Connections) -> list[IConstruct]:
    """Allow one to reach the other's default port, with rules on both sides, and return the rules between the two.

    Only these are awaited, not whole security groups: a rule there for an application's function waits for that
    function, which may wait for the migrations.
    """
    one.allow_to_default_port(other, "migrations")
    groups = [*one.security_groups, *other.security_groups]
    rules = [child for group in groups for child in group.node.find_all() if isinstance(child, _RULES)]
    return [rule for rule in rules if _is_between(rule, one.security_groups, other.security_groups)]


def _is_between(
    rule: ec2.CfnSecurityGroupIngress | ec2.CfnSecurityGroupEgress,
    ones: Sequence[ec2.ISecurityGroup], others: Sequence[ec2.ISecurityGroup],
) -> bool:  # fmt: skip
    stack = aws_cdk.Stack.of(rule)
    if isinstance(rule, ec2.CfnSecurityGroupIngress):
        source, destination = rule.source_security_group_id, rule.group_id
    else:
        source, destination = rule.group_id, rule.destination_security_group_id
    return _is_one_of(stack, source, ones) and _is_one_of(stack, destination, others)


def _is_one_of(stack: aws_cdk.Stack, group_id: str | None, groups: Sequence[ec2.ISecurityGroup]) -> bool:
    return stack.resolve(group_id) in [stack.resolve(group.security_group_id) for group in groups]


class Place:
    """The VPC, the subnets and the security groups of the function; raises InvalidProps for public subnets."""

    def __init__(
        self, scope: Construct, vpc: ec2.IVpc, subnets: ec2.SubnetSelection | None,
        security_groups: Sequence[ec2.ISecurityGroup] | None,
    ) -> None:  # fmt: skip
        self.vpc, self.subnets = vpc, subnets
        self._selected = _select(vpc, subnets or ec2.SubnetSelection())
        if self._selected.has_public:
            raise InvalidProps(
                "the subnets are public, and a function in them cannot reach AWS or the internet",
                fix="give the VPC private subnets, isolated or with egress, or choose them in vpc_subnets",
            )
        self.security_groups = list(security_groups or [_own_group(scope, vpc)])

    @property
    def is_isolated(self) -> bool:
        """Return whether all subnets are without a route to the internet."""
        isolated = {subnet.node.path for subnet in self.vpc.isolated_subnets}
        return all(subnet.node.path in isolated for subnet in self._selected.subnets)

    def awaited(self) -> list[IDependable]:
        """Return the routes of the subnets, and the security groups themselves, without the rules of others."""
        groups = [group.node.default_child for group in self.security_groups]
        return [self._selected.internet_connectivity_established, *(group for group in groups if group is not None)]


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


def at_synth(scope: Construct, action: Callable[[], None]) -> None:
    """Call ``action`` at synth, when all constructs exist: VPC endpoints are often added after this one."""
    leaf = Construct(scope, "AtTheEnd")  # the CDK calls for each construct below; this one has none
    aws_cdk.Aspects.of(leaf).add(_Call(action))


@jsii.implements(aws_cdk.IAspect)
class _Call:
    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action

    def visit(self, _node: IConstruct) -> None:
        self._action()


def connect_endpoints(scope: Construct, place: Place, connections: ec2.Connections) -> list[IConstruct]:
    """Allow the function to reach the endpoint for Secrets Manager, and return the endpoints and rules to wait for.

    In isolated subnets this endpoint is the only way to the secret; a missing one is an error, or a warning where the
    VPC is imported.
    """
    endpoints = _of_the_vpc(scope, place.vpc)
    for_secrets = [endpoint for endpoint in endpoints if _is_for_secrets(endpoint)]
    if not place.is_isolated:
        return [*_in_the_same_stack(scope, endpoints)]
    if not for_secrets:
        _report_missing(scope, place)
    # The construct of an endpoint holds rules for other functions, too; those are not awaited.
    return [*_in_the_same_stack(scope, endpoints), *for_secrets, *_allow_endpoints(connections, for_secrets)]


def _of_the_vpc(scope: Construct, vpc: ec2.IVpc) -> list[ec2.CfnVPCEndpoint]:
    """Return the endpoints of the VPC; other stacks are searched only when this one and the VPC's have none."""
    here, there = aws_cdk.Stack.of(scope), aws_cdk.Stack.of(vpc)
    places = {there.node.path: there.node, here.node.path: here.node}
    found = _endpoints(here, vpc, [node for place in places.values() for node in place.find_all()])
    return found or _endpoints(here, vpc, scope.node.root.node.find_all())


def _endpoints(here: aws_cdk.Stack, vpc: ec2.IVpc, nodes: list[IConstruct]) -> list[ec2.CfnVPCEndpoint]:
    ours = _identity(here, vpc.vpc_id)
    found = {node.node.path: node for node in nodes if isinstance(node, ec2.CfnVPCEndpoint)}
    return [node for node in found.values() if _identity(aws_cdk.Stack.of(node), node.vpc_id) == ours]


def _identity(stack: aws_cdk.Stack, vpc_id: str) -> str:
    """Return what a token stands for, the same in every stack."""
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


def _allow_endpoints(connections: ec2.Connections, endpoints: list[ec2.CfnVPCEndpoint]) -> list[IConstruct]:
    """Make a rule in the endpoint's security group, which may be closed to the VPC (open=False)."""
    around = [endpoint.node.scope for endpoint in endpoints]
    known = [construct for construct in around if isinstance(construct, ec2.InterfaceVpcEndpoint)]
    return [rule for construct in known for rule in allow(connections, construct.connections)]


def _report_missing(scope: Construct, place: Place) -> None:
    annotations = aws_cdk.Annotations.of(scope)
    if isinstance(place.vpc, ec2.Vpc):
        annotations.add_error(_MISSING)
    else:  # an imported VPC may have endpoints that this app does not contain
        annotations.add_warning_v2("db_setup:no-endpoint", f"as far as this app knows, {_MISSING}")
