"""What the construct adds to the synth of an app in which nothing has changed: no pip, no package built again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from migrator.cli.local_server import LocalServer

from tests.benchmarks import PRODUCT
from tests.benchmarks.figures import Figure
from tests.benchmarks.processes import compare, interleave, python
from tests.plugins.node import BIN

_MOST = 1.3  # times the same app without the construct
_APP = """
import sys
import aws_cdk
from aws_cdk import aws_ec2 as ec2
from cdk.example.database import make_database, ISOLATED
from cdk.database_initializer import DatabaseInitializer

app = aws_cdk.App(outdir=sys.argv[1])
stack = aws_cdk.Stack(app, "Shop")
subnets = [ec2.SubnetConfiguration(name="database", subnet_type=ISOLATED)]
vpc = ec2.Vpc(stack, "Network", max_azs=2, nat_gateways=0, subnet_configuration=subnets)
vpc.add_interface_endpoint("SecretsManager", service=ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER)
database = make_database(stack, vpc, aurora=False, protected=False)
if sys.argv[2] == "with":
    DatabaseInitializer(stack, "Migrations", vpc=vpc, database=database)
app.synth()
"""


def measure(_server: LocalServer, *, quick: bool) -> Iterator[Figure]:
    """Measure whole synths, each into a folder in which one was made before, as cdk.out is."""
    with tempfile.TemporaryDirectory() as folder:
        path = {"PATH": f"{BIN}:/usr/bin:/bin"}
        without = python(_APP, PRODUCT.parent, str(Path(folder, "without")), "without", **path)
        runs = {"python app.py": python(_APP, PRODUCT.parent, str(Path(folder, "with")), "with", **path).run}
        pairs = interleave(without.run, runs, 2 if quick else 9)["python app.py"]
        figure = partial(Figure, "synth again", "python app.py")
        for what, found in (
            ("wall", compare(pairs, lambda cost: cost.wall)),
            ("CPU", compare(pairs, lambda cost: cost.cpu)),
        ):
            yield figure(what, "ms", found.measured, _MOST, found.floor, found.ratio)
