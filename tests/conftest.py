"""What every test starts from: a clean environment, a server, databases, folders."""

pytest_plugins = [
    "tests.plugins.environment",  # first: it clears the environment that the others start programs with
    "tests.plugins.node",
    "tests.plugins.server",
    "tests.plugins.namespaces",
    "tests.plugins.databases",
    "tests.plugins.pgbouncer",
    "tests.plugins.folders",
    "tests.plugins.project",
    "tests.plugins.runs",
    "tests.plugins.crashes",
    "tests.plugins.secrets",
]
