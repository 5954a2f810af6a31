"""Lint finds in files and git what a deploy would stumble over, without a database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from migrator.cli.lint import squawk
from migrator.cli.lint.finding import ERROR, INFO, WARNING, LintFinding
from migrator.cli.lint.findings import find
from migrator.errors import UsageError
from migrator.sql.statements import split

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import PRODUCT, Done

Git = Callable[..., str]
Short = list[tuple[str, int, str, str]]
LOCK = Path(__file__).resolve().parents[2] / ".locks" / "test.lock"
needs_squawk = pytest.mark.skipif(not squawk.program(), reason="squawk-cli is not installed")


@pytest.fixture
def git(folder: Folder) -> Git:
    """Make the folder a repository, and run git in it."""
    names = {f"GIT_{who}_{what}": "t@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environ = {**os.environ, **names, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}

    def run(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(folder.path), *words], capture_output=True, text=True, check=True, env=environ)
        return done.stdout

    run("init", "-q", "-b", "main")
    return run


def commit(git: Git) -> None:
    """Commit everything there is."""
    git("add", "-A")
    git("commit", "-q", "--allow-empty", "-m", "x")


def short(findings: list[LintFinding]) -> Short:
    """Return the findings that are not squawk's, in brief."""
    ours = {"no_squawk", "no_branch"}
    return [(f.file, f.line, f.level, f.rule) for f in findings if "_" in f.rule and f.rule not in ours]


def lint(folder: Folder, *words: str, **environ: str) -> Done:
    """Run the command, with nothing on its path that is not needed."""
    done = subprocess.run(
        [sys.executable, str(PRODUCT), "lint", *words], capture_output=True, text=True, check=False,
        env={**os.environ, "MIGRATIONS_DIR": str(folder.path), **environ}, cwd=folder.path.parent,
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"001_a.sql": "SELECT 1;"}, []),
        ({"001_a.sql": "SELECT 1;\n  SELECT 'x"}, [("001_a.sql", 2, ERROR, "unterminated_text")]),
        ({"001_a.sql": "SELECT 1;\n\\i x.sql\n"}, [("001_a.sql", 2, ERROR, "psql_command")]),
        ({"001_a.sql": "BEGIN;\nSELECT 1;"}, [("001_a.sql", 1, ERROR, "unclosed_transaction")]),
        ({"001_a.sql": "-- db_setup: no-transacton\n"}, [("001_a.sql", 1, ERROR, "unknown_directive")]),
        ({"001_a.sql": b"SELECT '\xff';"}, [("001_a.sql", 1, ERROR, "invalid_encoding")]),
        ({"001_a.sql": b"SELECT 1;\0"}, [("001_a.sql", 1, ERROR, "nul_byte")]),
        ({"001_a.sql": "-- +goose Down\nSELECT 1;"}, [("001_a.sql", 1, ERROR, "down_section")]),
        ({"001_a.sql": "VACUUM;\nCREATE TEMP TABLE t (i int);\nTABLE t;"}, [("001_a.sql", 3, ERROR, "not_resumable")]),
        (
            {"001_a.sql": "-- db_setup: not-resumable\nVACUUM;\nCREATE TEMP TABLE t (i int);\nTABLE t;"},
            [("001_a.sql", 1, INFO, "not_resumable")],
        ),
        (
            {"001_a.sql": "VACUUM;\nCREATE TEMP TABLE t (i int);", "001_a.check.sql": "SELECT 1\nFROM t;"},
            [("001_a.check.sql", 2, ERROR, "not_resumable")],
        ),
        ({"001_a.sql": "-- db_setup: forward-only\n-- +goose Down\nSELECT 1;"}, []),
        ({"001_a.sql": "", "001_a_down.sql": ""}, [("001_a_down.sql", 0, ERROR, "not_forward")]),
        ({"V1__a.sql": "", "U1__a.sql": ""}, [("U1__a.sql", 0, ERROR, "not_forward")]),
        ({"R__a.sql": "SELECT 1;"}, [("R__a.sql", 0, ERROR, "misplaced_file")]),
        ({"env/dev/U1__a.sql": "", "repeatable/a.sql": "SELECT 1;\n-- DOWN\nSELECT 1;"}, [
            ("env/dev/U1__a.sql", 0, ERROR, "not_forward"), ("repeatable/a.sql", 2, ERROR, "down_section"),
        ]),
        ({"20240101_a/migration.sql": ""}, [("", 0, ERROR, "foreign_layout")]),
        ({"001_a.sql": "", "1_b.sql": ""}, [("1_b.sql", 1, ERROR, "duplicate_number")]),
        ({"001_a.SQL": ""}, [("", 0, WARNING, "not_run"), ("", 0, WARNING, "no_migrations")]),
        ({"a.sql": ""}, [("a.sql", 1, WARNING, "no_number")]),
        ({"001_a.sql": "", "001_a.down.sql": "", "002_b.sql": ""}, [("002_b.sql", 1, INFO, "no_down_file")]),
        (
            {"001_a.sql": "", "001_a.down.sql": "SELECT 'x", "001_a.check.sql": "SELECT 1;\nCOMMIT;"},
            [("001_a.check.sql", 2, ERROR, "unusable_check"), ("001_a.down.sql", 1, ERROR, "unterminated_text")],
        ),
        ({"001_a.sql": "SELECT 'x", "001_a.down.sql": "\\q"}, [
            ("001_a.down.sql", 1, ERROR, "psql_command"), ("001_a.sql", 1, ERROR, "unterminated_text"),
        ]),
        ({"001_a.sql": "", "001_a.down.sql": f"-- {' ' * (1 << 18)}"}, [("001_a.sql", 1, WARNING, "not_stored")]),
        ({"001_a.sql": "", "002_b.check.sql": "SELECT 'x"}, [("", 0, WARNING, "not_run")]),
        ({"repeatable/v.sql": "SELECT 'x", "env/dev/001_a.sql": "\nBEGIN;"}, [
            ("env/dev/001_a.sql", 2, ERROR, "unclosed_transaction"), ("repeatable/v.sql", 1, ERROR, "unterminated_text"),
        ]),
        ({"env/dev/001_a.sql": "", "env/dev/001_a.check.sql": "COMMIT"}, [("env/dev/001_a.check.sql", 1, ERROR, "unusable_check")]),
        ({"001_a.sql": "-- db_setup: env=dev,qa\nSELECT 'x"}, [("001_a.sql", 2, ERROR, "unterminated_text")]),
        ({"env/dev/001_a.sql": "", "env/qa/001_a.sql": "", "repeatable/001_v.sql": ""}, []),
        ({"001_a.sql": "", "env/dev/001_b.sql": ""}, [("env/dev/001_b.sql", 1, ERROR, "duplicate_number")]),
        ({"001_a.sql": "-- db_setup: env=qa\n", "env/dev/001_b.sql": "", "001_c.sql": "-- db_setup: env=prod"}, []),
        ({"001_a.sql": "-- db_setup: env=qa,dev\n", "env/dev/001_b.sql": ""}, [
            ("env/dev/001_b.sql", 1, ERROR, "duplicate_number"),
        ]),
        ({"env/dev/a.sql": ""}, [("env/dev/a.sql", 1, WARNING, "no_number")]),
    ],
)  # fmt: skip
def test_rules_of_the_folder(folder: Folder, files: dict[str, str | bytes], wanted: Short) -> None:
    """What a run refuses, or warns of, is found in each file, with the code of the run's own error."""
    for name, content in files.items():
        (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
        folder.write(name, content)
    assert short(find(folder)) == wanted


def test_folder_that_is_not_there(folder: Folder) -> None:
    """That there is no folder is a finding."""
    (finding,) = find(folder.path / "nope")
    assert (finding.rule, finding.text("nope").startswith("nope: error: ")) == ("folder_not_found", True)


def test_without_a_branch(folder: Folder, git: Git) -> None:
    """That there is nothing to compare with is said; a base that is named has to be there."""
    folder.write("001_a.sql", "SELECT 1;")
    said = [item.message for item in find(folder) if item.rule == "no_branch"]
    assert [text.partition(" none of ")[0] for text in said] == ["not compared with a branch: git has"]
    with pytest.raises(UsageError, match='no branch or commit "nope"'):
        find(folder, "nope")


def test_without_the_objects_of_the_base(folder: Folder, git: Git) -> None:
    """Where git names a file of the base and does not have it, as in a partial clone, nothing is compared."""
    folder.write("001_a.sql", "SELECT 1;")
    commit(git)
    blob = git("rev-parse", "HEAD:001_a.sql").strip()
    (folder.path / ".git/objects" / blob[:2] / blob[2:]).unlink()
    said = [item.message for item in find(folder) if item.rule == "no_branch"]
    assert said == ["not compared with a branch: git cannot read the files that main has; fetch them first"]


def test_no_repository(folder: Folder) -> None:
    """Outside a repository the rules of the folder still hold."""
    folder.write("001_a.sql", "SELECT 1;")
    said = [item.message for item in find(folder, "main") if item.rule == "no_branch"]
    assert said == ["not compared with a branch: there is no git here, or no repository"]


def test_edited_missing_renamed(folder: Folder, git: Git) -> None:
    """What is on the base must be here as it is there; line ends do not count, a new name is only a warning."""
    for name in ("001_a.sql", "002_b.sql", "003_c.sql", "004_d.sql", "005_e.sql"):
        folder.write(name, f"SELECT '{name}';\nSELECT 2;\n")
    folder.write("001_a.down.sql", "SELECT 0;")
    commit(git)
    git("switch", "-q", "-c", "work")
    folder.write("001_a.sql", "SELECT '001_a.sql';\r\nSELECT 2;\r\n")
    folder.write("001_a.down.sql", "SELECT 1;")
    folder.write("002_b.sql", "SELECT 'edited';\n")
    (folder.path / "003_c.sql").unlink()
    (folder.path / "004_d.sql").rename(folder.path / "006_d.sql")
    expected = [
        ("002_b.sql", 1, ERROR, "edited_file"), ("003_c.sql", 0, ERROR, "missing_file"),
        ("006_d.sql", 1, WARNING, "renamed_file"), ("006_d.sql", 1, INFO, "no_down_file"),
    ]  # fmt: skip
    assert short(find(folder)) == short(find(folder, "main")) == expected
    commit(git)  # committed or not makes no difference
    assert short(find(folder, "main")) == expected


def test_base_has_moved_on(folder: Folder, git: Git) -> None:
    """What came to the base meanwhile is not missing here, but its numbers count; what it has lost is not missing."""
    folder.write("001_a.sql", "SELECT 1;")
    folder.write("002_gone.sql", "SELECT 2;")
    commit(git)
    git("switch", "-q", "-c", "work")
    git("switch", "-q", "main")
    folder.write("003_theirs.sql", "SELECT 3;")
    folder.write("005_theirs.sql", "SELECT 5;")
    (folder.path / "002_gone.sql").unlink()
    commit(git)
    git("switch", "-q", "work")
    folder.write("003_ours.sql", "SELECT 3;")
    folder.write("006_ours.sql", "SELECT 6;")
    (folder.path / "002_gone.sql").unlink()
    duplicate, late = ("003_ours.sql", 1, ERROR, "duplicate_number"), ("003_ours.sql", 1, WARNING, "out_of_order")
    assert short(find(folder, "main")) == [duplicate, late]
    assert short(find(folder, "main", strict_order=True)) == [duplicate, (*late[:2], ERROR, late[3])]


def test_duplicates_that_are_history(folder: Folder, git: Git) -> None:
    """Two files with one number that both are on the base are only warned of; a third one is an error."""
    folder.write("001_a.sql")
    folder.write("001_b.sql")
    commit(git)
    assert short(find(folder)) == [("001_b.sql", 1, WARNING, "duplicate_number")]
    folder.write("001_c.sql")
    assert short(find(folder)) == [("001_c.sql", 1, ERROR, "duplicate_number")]


def write_all(folder: Folder, *names: str) -> None:
    """Write files that say their own names, in subfolders too."""
    for name in names:
        (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
        folder.write(name, f"SELECT '{name}';\n")


def test_other_tools_files_on_the_base(folder: Folder, git: Git) -> None:
    """What the base has may be applied, and is warned of; it is an error where it is new, or was edited here."""
    folder.write("001_a.sql", "SELECT 1;\n-- DOWN\nSELECT 2;")
    write_all(folder, "U1__a.sql", "repeatable/v.sql")
    commit(git)
    git("switch", "-q", "-c", "work")
    folder.write("002_b.sql", "SELECT 1;\n-- DOWN\nSELECT 2;")
    folder.write("U2__b.sql", "SELECT 1;")
    folder.write("repeatable/v.sql", "SELECT 1;\n-- DOWN\nSELECT 2;")
    assert short(find(folder)) == [
        ("001_a.sql", 2, WARNING, "down_section"), ("002_b.sql", 2, ERROR, "down_section"),
        ("U1__a.sql", 0, WARNING, "not_forward"), ("U2__b.sql", 0, ERROR, "not_forward"),
        ("repeatable/v.sql", 2, ERROR, "down_section"),
    ]  # fmt: skip
    folder.write("001_a.sql", "-- db_setup: forward-only\nSELECT 1;\n-- DOWN\nSELECT 2;")
    assert [item for item in short(find(folder)) if item[0] == "001_a.sql"] == []


def test_environments_and_the_base(folder: Folder, git: Git) -> None:
    """What is edited, missing or renamed in a folder of an environment is found; repeatable files may change and go."""
    names = ["001_a.sql", "002_b.sql", "env/dev/003_c.sql", "env/dev/004_d.sql", "env/qa/010_e.sql", "006_f.sql"]
    write_all(folder, *names, "repeatable/v.sql", "repeatable/w.sql", "other/007_g.sql", "env/008_h.sql")
    commit(git)
    remarks = short(find(folder))
    assert [item[3] for item in remarks] == ["not_run", "not_run"]
    git("switch", "-q", "-c", "work")
    for name in ("env/dev/003_c.sql", "repeatable/v.sql"):
        folder.write(name, "SELECT 'edited';\n")
    for name in ("env/dev/004_d.sql", "repeatable/w.sql", "other/007_g.sql"):
        (folder.path / name).unlink()
    (folder.path / "006_f.sql").rename(folder.path / "env/dev/006_f.sql")
    (folder.path / "env/qa/010_e.sql").rename(folder.path / "010_e.sql")
    assert [item for item in short(find(folder)) if item[3] != "not_run"] == [
        ("010_e.sql", 1, WARNING, "renamed_file"), ("env/dev/003_c.sql", 1, ERROR, "edited_file"),
        ("env/dev/004_d.sql", 0, ERROR, "missing_file"), ("env/dev/006_f.sql", 1, ERROR, "renamed_file"),
    ]  # fmt: skip


def test_each_environment_has_its_own_order(folder: Folder, git: Git) -> None:
    """A new file is late, or carries a number twice, only where an environment runs both it and the other."""
    write_all(folder, "001_a.sql", "env/dev/005_b.sql")
    commit(git)
    git("switch", "-q", "-c", "work")
    git("switch", "-q", "main")
    write_all(folder, "env/dev/008_theirs.sql")
    folder.write("009_theirs.sql", "-- db_setup: env=dev\nSELECT 9;")
    commit(git)
    git("switch", "-q", "work")
    write_all(folder, "env/qa/003_ours.sql", "env/qa/008_ours.sql", "env/qa/009_ours.sql")
    assert short(find(folder)) == []
    write_all(folder, "004_ours.sql", "env/dev/009_ours.sql")
    late = ("004_ours.sql", 1, WARNING, "out_of_order")
    assert short(find(folder)) == [late, ("env/dev/009_ours.sql", 1, ERROR, "duplicate_number")]


def test_odd_names(folder: Folder, git: Git) -> None:
    """Names with spaces, quotes and letters of the world are compared like all others."""
    names = ["001 a.sql", "002_é'\".sql", "003_\t.sql"]
    for name in names:
        folder.write(name, "SELECT 1;")
    commit(git)
    assert short(find(folder)) == []
    for name in names:
        folder.write(name, "SELECT 2;")
    assert [item[0] for item in short(find(folder))] == names


@needs_squawk
def test_squawk(folder: Folder, git: Git) -> None:
    """Dangerous statements are found in files that are not on the base, at their places, without excluded rules."""
    danger = "ALTER TABLE a DROP COLUMN b;\n"
    folder.write("001_old.sql", danger)
    commit(git)
    folder.write(
        "002_new.sql",
        "\ufeffBEGIN;\r\nCREATE TABLE é (i bigint); ALTER TABLE é DROP COLUMN i;\nCOPY a FROM stdin;\nit's\n\\.\n"
        f"{danger}CREATE TABLE c (i bigint);\nCREATE INDEX c_i ON c (i);\nCREATE INDEX a_i ON a (i);\nCOMMIT;\n",
    )
    folder.write("003_steps.sql", "CREATE INDEX CONCURRENTLY a_j ON a (j);\n-- squawk-ignore ban-drop-table\nDROP TABLE a;")
    found = [(f.file, f.line, f.column, f.level, f.rule) for f in find(folder)]
    assert found == [
        ("002_new.sql", 2, 42, WARNING, "ban-drop-column"),
        ("002_new.sql", 6, 15, WARNING, "ban-drop-column"),
        ("002_new.sql", 9, 1, WARNING, "slow_after_lock"),
        ("002_new.sql", 9, 1, WARNING, "require-concurrent-index-creation"),
    ]
    assert all(f.message for f in find(folder))


@needs_squawk
def test_squawk_looks_at_what_would_run(folder: Folder, git: Git) -> None:
    """New files of every environment and edited repeatable ones are read by squawk; what is as on the base is not."""
    danger = "ALTER TABLE a DROP COLUMN b;\n"
    names = ["001_a.sql", "env/dev/002_b.sql", "repeatable/v.sql", "repeatable/w.sql"]
    write_all(folder, *names)
    for name in names:
        folder.write(name, danger)
    commit(git)
    assert find(folder) == []
    write_all(folder, "env/qa/003_c.sql")
    folder.write("env/qa/003_c.sql", danger)
    folder.write("repeatable/v.sql", f"\n{danger}")
    assert [(f.file, f.line) for f in find(folder)] == [("env/qa/003_c.sql", 1), ("repeatable/v.sql", 2)]


@needs_squawk
def test_squawk_leaves_old_files_alone_when_asked(folder: Folder, git: Git) -> None:
    """With only_new squawk reads nothing where no branch shows which files are new."""
    folder.write("001_a.sql", "ALTER TABLE a DROP COLUMN b;\n")
    assert "ban-drop-column" in [item.rule for item in find(folder)]
    assert [item.rule for item in find(folder, only_new=True)] == ["no_branch"]


def test_squawk_is_installed_where_the_lock_names_it() -> None:
    """The tests of squawk are skipped only where it is no part of the environment."""
    assert bool(squawk.program()) or "squawk-cli==" not in LOCK.read_text(encoding="utf-8")


def test_without_squawk(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where squawk is not installed lint says so, and goes on."""
    monkeypatch.setattr(squawk, "program", lambda: "")
    folder.write("001_a.sql", "SELECT 'x")
    folder.write("002_b.sql", "SELECT 1;")
    found = find(folder)
    assert [(item.level, item.rule) for item in found if item.rule != "no_branch"] == [
        (INFO, "no_squawk"), (ERROR, "unterminated_text"),
    ]  # fmt: skip


def test_squawk_that_fails(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A squawk that does not do its work is a warning with what it said."""
    monkeypatch.setattr(squawk, "program", lambda: "/bin/false")
    folder.write("001_a.sql", "SELECT 1;")
    assert [item.message for item in find(folder) if item.rule == "squawk_failed"] == [
        "squawk did not read this file: exit status 1"
    ]


def test_statements_keep_their_places() -> None:
    """What squawk is given has every statement where its file has it; data and psql's commands are blank."""
    text = "\\restrict x\n  SELECT 1; SELECT\n 2;COPY a FROM stdin;\n'\n\\.\n-- ignore\nSELECT 3; -- end\n  \\unrestrict x\n"
    wanted = "\n  SELECT 1; SELECT\n 2;COPY a FROM stdin;\n\n\n-- ignore\nSELECT 3; -- end\n\n"
    assert squawk.without_data(text, split(text)) == wanted


def test_shown_as_text_json_and_annotations() -> None:
    """Every form has place, level, rule, message and help; what GitHub would take apart is escaped."""
    finding = LintFinding("001_a,b.sql", 3, 5, WARNING, "some-rule", "100% of\nit", "do: this")
    assert finding.text("migrations") == "migrations/001_a,b.sql:3:5: warning: 100% of\nit [some-rule]\n    do: this"
    assert finding.entry("m")["file"] == "m/001_a,b.sql"
    assert finding.annotation("m") == (
        "::warning file=m/001_a%2Cb.sql,line=3,col=5,title=some-rule::100%25 of%0Ait%0Ado: this"
    )
    whole = LintFinding("", 0, 0, INFO, "r", "x")
    assert (whole.text("m"), whole.annotation("m")) == ("m: info: x [r]", "::notice title=r::x")
    assert whole.entry("m") == {
        "file": "m", "line": None, "column": None, "level": INFO, "rule": "r", "message": "x", "help": None,
    }  # fmt: skip


def test_command(folder: Folder, git: Git) -> None:
    """Exit status 1 for errors, and with --strict for warnings; 2 for a base that is not there; needs no database."""
    folder.write("001_a.sql", "SELECT 1;")
    commit(git)
    folder.write("000_late.sql", "SELECT 1;")
    done = lint(folder)
    assert (done.status, done.err) == (0, "")
    assert "migrations/000_late.sql:1:1: warning: 000_late.sql comes before 001_a.sql" in done.out
    assert done.out.splitlines()[-1].startswith("1 warning")
    assert lint(folder, STRICT_ORDER="true").status == 1
    strict = lint(folder, "--strict", "--github", "--base", "main")
    assert (strict.status, "::error file=migrations/000_late.sql,line=1" in strict.out) == (1, True)
    body = json.loads(lint(folder, "--json").out)
    assert (body["success"], "out_of_order" in {item["rule"] for item in body["findings"]}) == (True, True)
    assert lint(folder, "--base", "nope").status == 2


@pytest.mark.parametrize(
    ("files", "rules"),
    [
        ({"orders.sql": "CREATE TABLE orders (i int);", "003_alter.sql": "ALTER TABLE orders ADD n int;"}, ["new_database"]),
        ({"repeatable/v.sql": "CREATE VIEW v AS SELECT 1;", "001_a.sql": "GRANT SELECT ON v TO PUBLIC;"}, ["new_database"]),
        ({"001_a.sql": "CREATE TABLE a (i int);", "002_b.sql": "ALTER TABLE a ADD n int;"}, []),
        ({"001_a.sql": "SELECT 'open;", "002_b.sql": "ALTER TABLE a ADD n int;"}, ["unterminated_text", "not_built"]),
    ],
    ids=["unnumbered", "repeatable", "fine", "unreadable"],
)  # fmt: skip
def test_build(folder: Folder, database: Database, files: dict[str, str], rules: list[str]) -> None:
    """With --build the files are built as a new database gets them: what breaks there has its place; nothing stays."""
    for name, text in files.items():
        (folder.path / name).parent.mkdir(exist_ok=True)
        folder.write(name, text)
    done = lint(folder, "--build", "--json", DATABASE_URL=database.url)
    found = [item for item in json.loads(done.out)["findings"] if item["level"] in {"error", "info"} and "_" in item["rule"]]
    assert [item["rule"] for item in found if item["rule"] not in {"no_branch", "no_squawk"}] == rules
    assert done.status == (1 if rules else 0)
    for item in found:
        if item["rule"] == "new_database":
            assert (item["file"].endswith(("003_alter.sql", "001_a.sql")), item["line"]) == (True, 1)
    assert database.query("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == [(0,)]
    assert database.query("SELECT count(*) FROM pg_database WHERE datname LIKE 'db_setup_scratch%%' || current_database()") == [(0,)]


def test_command_names_a_database_only_to_build(folder: Folder) -> None:
    """A database that would not be used is refused."""
    done = lint(folder, "--local")
    assert (done.status, "without --build" in done.err) == (2, True)


def test_command_needs_no_driver(folder: Folder) -> None:
    """A machine without psycopg2, such as that of a CI run, can lint."""
    folder.write("001_a.sql", "SELECT 1;")
    code = "import sys; sys.modules['psycopg2'] = None; sys.argv[1:] = ['lint']; import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
    words = [sys.executable, "-c", f"import sys; sys.argv[0] = {str(PRODUCT / '__main__.py')!r}; sys.path.insert(0, {str(PRODUCT)!r}); {code}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, "MIGRATIONS_DIR": str(folder.path)})
    assert (done.returncode, done.stderr) == (0, "")


def test_need_of_a_file_that_may_be_applied(folder: Folder, git: Git) -> None:
    """A file on the base that no run could go on with may be applied everywhere: it is warned of, a new one is an error."""
    needs = "VACUUM;\nCREATE TEMP TABLE t (i int);\nTABLE t;"
    folder.write("001_a.sql", needs)
    commit(git)
    git("switch", "-q", "-c", "work")
    folder.write("002_b.sql", needs)
    commit(git)
    assert short(find(folder.path)) == [
        ("001_a.sql", 3, WARNING, "not_resumable"), ("002_b.sql", 3, ERROR, "not_resumable"),
    ]  # fmt: skip


def test_need_where_nobody_knows_what_is_new(folder: Folder) -> None:
    """At synth without a branch to compare with, every file may be old: a warning, and the deploy refuses what is new."""
    folder.write("001_a.sql", "VACUUM;\nCREATE TEMP TABLE t (i int);\nTABLE t;")
    assert short(find(folder.path, only_new=True)) == [("001_a.sql", 3, WARNING, "not_resumable")]
