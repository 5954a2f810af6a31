// The app of somebody who keeps their own stack. A test puts the README's snippet into both stacks.
import { App, Stack, aws_rds as rds } from "aws-cdk-lib";
import { Construct } from "constructs";
/* snippet: imports */

const subnets = { subnetType: ec2.SubnetType.PRIVATE_ISOLATED };

function makeNetwork(scope: Construct): ec2.Vpc {
  const vpc = new ec2.Vpc(scope, "Network", { natGateways: 0, subnetConfiguration: [{ name: "database", ...subnets }] });
  vpc.addInterfaceEndpoint("SecretsManager", { service: ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER });
  return vpc;
}

function makeInstance(scope: Construct, vpc: ec2.Vpc): rds.DatabaseInstance {
  const engine = rds.DatabaseInstanceEngine.postgres({ version: rds.PostgresEngineVersion.VER_17_9 });
  return new rds.DatabaseInstance(scope, "Database", { engine, vpc, vpcSubnets: subnets, databaseName: "shop" });
}

function makeCluster(scope: Construct, vpc: ec2.Vpc): rds.DatabaseCluster {
  const engine = rds.DatabaseClusterEngine.auroraPostgres({ version: rds.AuroraPostgresEngineVersion.VER_17_9 });
  const writer = rds.ClusterInstance.serverlessV2("Writer");
  const readers = [rds.ClusterInstance.serverlessV2("Reader")];
  return new rds.DatabaseCluster(scope, "Database", {
    engine, vpc, vpcSubnets: subnets, writer, readers, defaultDatabaseName: "shop",
  });
}

function makeApplication(scope: Construct, vpc: ec2.Vpc): lambda.Function {
  const code = lambda.Code.fromInline("exports.handler = async () => {};");
  return new lambda.Function(scope, "Application", { code, handler: "index.handler", runtime: lambda.Runtime.NODEJS_22_X, vpc });
}

class InstanceStack extends Stack {
  constructor(scope: Construct, id: string) {
    super(scope, id);
    const vpc = makeNetwork(this);
    const database = makeInstance(this, vpc);
    const application = makeApplication(this, vpc);
    database.connections.allowDefaultPortFrom(application);
    /* snippet */
  }
}

class ClusterStack extends Stack {
  constructor(scope: Construct, id: string) {
    super(scope, id);
    const vpc = makeNetwork(this);
    const database = makeCluster(this, vpc);
    const application = makeApplication(this, vpc);
    database.connections.allowDefaultPortFrom(application);
    /* snippet */
  }
}

const app = new App();
new InstanceStack(app, "Instance");
new ClusterStack(app, "Cluster");
app.synth();
