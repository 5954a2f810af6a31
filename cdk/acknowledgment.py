"""Findings of rules for templates (AwsSolutionsChecks) that are known, and why they stay."""

from __future__ import annotations

import aws_cdk
from constructs import IConstruct


def acknowledge(construct: IConstruct, rule: str, reason: str) -> None:
    """Record the reason at the construct; an aws-cdk-lib too old to know acknowledgments knows no such rules either."""
    if hasattr(aws_cdk, "Acknowledgment"):
        aws_cdk.Validations.of(construct).acknowledge(aws_cdk.Acknowledgment(id=rule, reason=reason))
