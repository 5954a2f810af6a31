"""The environments of the example: one stack for each. ``-c database=aurora`` chooses Aurora Serverless v2."""

# Not "import aws_cdk as cdk", as is the custom: it would hide the folder cdk/ next to this file.
import aws_cdk

from cdk.example.stack import ExampleStack

app = aws_cdk.App()
aurora = app.node.try_get_context("database") == "aurora"

ExampleStack(app, "ShopDev", environment_name="dev", aurora=aurora)
ExampleStack(app, "ShopProd", environment_name="prod", aurora=aurora, termination_protection=True)

app.synth()
