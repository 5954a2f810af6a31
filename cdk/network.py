"""Where the function is in the network: its subnets and security groups, and the rules that let it through."""

from __future__ import annotations

from collections.abc import Sequence

import aws_cdk
from aws_cdk import aws_ec2 as ec2
from constructs import Construct, IConstruct, IDependable

from cdk.refusals import Refused

_RULES = (ec2.CfnSecurityGroupIngress, ec2.CfnSecurityGroupEgress)


def allow(one: ec2.Connections, other: ec2.Connections) -> list[IConstruct]:
    """Let one reach the other's default port, with rules on both sides, and return the rules between the two.

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
    """The VPC, the subnets and the security groups of the function; raises Refused for subnets that lead nowhere."""

    def __init__(
        self, scope: Construct, vpc: ec2.IVpc, subnets: ec2.SubnetSelection | None,
        security_groups: Sequence[ec2.ISecurityGroup] | None,
    ) -> None:  # fmt: skip
        self.vpc, self.subnets = vpc, subnets
        self._selected = _select(vpc, subnets or ec2.SubnetSelection())
        if self._selected.has_public:
            raise Refused(
                "the subnets are public, and there a function has no way to AWS nor to the internet",
                cure="give the VPC private subnets, isolated or with egress, or choose them in vpc_subnets",
            )
        self.security_groups = list(security_groups or [_own_group(scope, vpc)])

    @property
    def is_isolated(self) -> bool:
        """Tell whether all subnets are without a way out."""
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
