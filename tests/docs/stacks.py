"""The CDK projects of readers: the snippets of the README in an app, synthesised by the real library, and run."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cdk.database_initializer import driver_wheels
from tests.chain.template import Template
from tests.docs.documents import PROJECT
from tests.docs.reader import Reader
from tests.plugins.node import BIN, NODE

APPS = Path(__file__).with_name("apps")
NODE_MODULES = PROJECT / ".venv" / "node" / "node_modules"
TRIGGER = "Custom::Trigger"
STACKS = ("Instance", "Cluster")

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
ARCHITECTURE = "arm64" if platform.machine().lower() in {"arm64", "aarch64"} else "x86_64"
# The README's function is for a Python and a processor that this machine may not have.
_HERE = {
    "--python 3.13": f"--python {PYTHON}",
    "for Python 3.13": f"for Python {PYTHON}",
    "PYTHON_3_13": f"PYTHON_{PYTHON.replace('.', '_')}",
    "--architecture arm64": f"--architecture {ARCHITECTURE}",
    "on arm64": f"on {ARCHITECTURE}",
    "ARM_64": "ARM_64" if ARCHITECTURE == "arm64" else "X86_64",
}


def for_here(text: str) -> str:
    """Return a text of the README with this machine's Python and processor."""
    for there, here in _HERE.items():
        text = text.replace(there, here)
    return text


def link_drivers(project: Path, *targets: driver_wheels.Target) -> None:
    """Put psycopg2 into the cache of a project, so that it is fetched once for all tests."""
    (project / ".db_setup").mkdir()
    for target in targets:
        found = driver_wheels.drivers(target)
        (project / ".db_setup" / found.name).symlink_to(found)


def run(reader: Reader, folder: Path, words: Sequence[str | Path], **environ: str) -> str:
    """Run a program in a project, which must succeed, and return what it prints."""
    # The checks of resources that are not ours take 3 s.
    given = {**reader.environ, "PATH": f"{BIN}{os.pathsep}{reader.environ['PATH']}", "CDK_VALIDATION": "false", **environ}
    done = subprocess.run(
        list(map(str, words)), cwd=folder, env=given, text=True, check=False, encoding="utf-8",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


class Synthesis(NamedTuple):
    """A folder that synth has written."""

    folder: Path

    def template(self, stack: str) -> dict[str, Any]:
        """Return a stack's template as it was written."""
        found: dict[str, Any] = json.loads((self.folder / f"{stack}.template.json").read_text("utf-8"))
        return found

    def asset(self, stack: str, place: Mapping[str, str]) -> Path:
        """Return the folder or file that a template names by its bucket and key."""
        files = json.loads((self.folder / f"{stack}.assets.json").read_text("utf-8"))["files"]
        return self.folder / str(files[place["S3Key"].partition(".")[0]]["source"]["path"])


def synthesise_python(reader: Reader, folder: Path, snippet: str, releases: Mapping[str, Mapping[str, str]]) -> Path:
    """Synthesise the Python app once for each release, with its files; return the folder that has all of them."""
    for release, files in releases.items():
        (folder / "releases" / release).mkdir(parents=True)
        for name, text in files.items():
            path = folder / "releases" / release / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    (folder / "snippet.txt").write_text(snippet, "utf-8")
    (folder / "app.py").write_bytes((APPS / "app.py").read_bytes())
    run(reader, folder, [sys.executable, "app.py", "snippet.txt", "releases", "out"])
    return folder / "out"


def synthesise_typescript(reader: Reader, folder: Path, snippet: str, releases: Sequence[str]) -> Path:
    """Compile the TypeScript app, as strictly as the compiler can be, and synthesise it once for each release."""
    lines = snippet.splitlines(keepends=True)
    imports = "".join(line for line in lines if line.startswith("import "))
    body = "".join(line for line in lines if not line.startswith("import "))
    text = (APPS / "store.ts").read_text("utf-8")
    text = text.replace("/* snippet: imports */", imports).replace("/* snippet */", body)
    (folder / "app.ts").write_text(text, "utf-8")
    (folder / "node_modules").symlink_to(NODE_MODULES)
    options = ["--strict", "--noUnusedLocals", "--skipLibCheck", "--target", "es2022", "--module", "commonjs"]
    run(reader, folder, [NODE, NODE_MODULES / "typescript" / "bin" / "tsc", *options, "app.ts"])
    flags = json.dumps(json.loads((PROJECT / "cdk.json").read_text("utf-8"))["context"])  # as `cdk init` writes them
    for release in releases:
        run(reader, folder, [NODE, "app.js"], CDK_OUTDIR=f"out/{release}", CDK_CONTEXT_JSON=flags)
    return folder / "out"


def cdk_command(reader: Reader, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the CDK's own command line, without an AWS account."""
    command = [str(NODE), str(NODE_MODULES / "aws-cdk" / "bin" / "cdk"), *words]
    return subprocess.run(
        command, cwd=folder, env={**reader.environ, "CDK_DISABLE_VERSION_CHECK": "1"}, text=True, check=False,
        encoding="utf-8", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def run_package(code: Path, layer: Path, scratch: Path, url: str) -> dict[str, Any]:
    """Run the handler of a package with a layer, as Lambda would, and return its answer."""
    with zipfile.ZipFile(layer) as archive:
        archive.extractall(scratch / "opt")
    script = "import json, initializer, psycopg2; print(psycopg2.__file__); print(json.dumps(initializer.handler({}, None)))"
    environ = {"PYTHONPATH": f"{code}{os.pathsep}{scratch / 'opt' / 'python'}", "DATABASE_URL": url}
    done = subprocess.run(
        [sys.executable, "-S", "-B", "-c", script], cwd=code, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(str(scratch / "opt" / "python")), lines[0]
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


def the(template: Template, kind: str) -> str:
    """Return the logical id of the only resource of a type, or of the one that is the migrations'."""
    found = template.of_type(kind)
    ours = [name for name in found if name.startswith("Migrations")]
    (name,) = ours if len(found) > 1 else found
    return name
