"""arguments: the command line's grammar."""

from __future__ import annotations

import pytest
from migrator.cli.arguments import parser


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["migrate"], {"action": "migrate", "target": "head", "dry_run": False, "json": False, "local": False}),
        (["migrate", "--target", "003", "--dry-run"], {"target": "003", "dry_run": True}),
        (["migrate", "--target=003_x.sql"], {"target": "003_x.sql"}),
        (["plan"], {"action": "plan", "target": "head"}),
        (["plan", "--target", "3", "--json"], {"target": "3", "json": True}),
        (["status"], {"action": "status", "check": False}),
        (["status", "--check"], {"check": True}),
        (["new", "add orders"], {"action": "new", "name": "add orders"}),
        (["number"], {"action": "number"}),
        (["rollback", "--steps", "2"], {"steps": 2, "target": "head", "yes": False}),
        (["rotate"], {"action": "rotate", "user": None, "yes": False}),
        (["rotate", "table_creator", "--yes"], {"user": "table_creator", "yes": True}),
        (
            ["migrate", "--database-url", "postgresql://u@h/d", "--migrations", "m"],
            {"database_url": "postgresql://u@h/d", "migrations": "m"},
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_words_are_understood(words: list[str], expected: dict[str, object]) -> None:
    """Each documented action and option ends up in its place."""
    found = vars(parser().parse_args(words))
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize("action", ["migrate", "plan", "status", "rotate", "number"])
def test_every_action_takes_database_folder_and_json(action: str) -> None:
    """Each action takes its database and folder, and answers in JSON where it is asked to."""
    found = parser().parse_args([action, "--database-url", "u", "--migrations", "m", "--json"])
    assert (found.database_url, found.migrations, found.json) == ("u", "m", True)


@pytest.mark.parametrize(
    "words",
    [[], ["drop"], ["Migrate"], ["migrate", "now"], ["migrate", "--targ", "3"], ["migrate", "--target"], ["new"],
     ["new", "add", "orders"], ["plan", "--dry-run"], ["status", "--target", "3"], ["migrate", "--check"],
     ["--json", "migrate"], ["migrate", "--verbose"], ["rotate", "a", "b"], ["rollback", "--steps", "0"],
     ["rollback", "--steps", "x"], ["rollback", "--steps", "2", "--target", "1"]],
    ids=lambda words: " ".join(words) or "nothing",
)  # fmt: skip
def test_wrong_usage_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown, missing, shortened or misplaced word ends the program with status 2 and a usage line."""
    with pytest.raises(SystemExit) as caught:
        parser().parse_args(words)
    assert caught.value.code == 2
    assert "usage: python db_setup" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["migrate", "--help"], ["new", "--help"]], ids=" ".join)
def test_help_is_success(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Asking for help is no wrong usage."""
    with pytest.raises(SystemExit) as caught:
        parser().parse_args(words)
    assert caught.value.code == 0
    assert "python db_setup" in capsys.readouterr().out


def test_help_lists_every_action_and_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    """The first help says what there is, where the database comes from, and what the exit status means."""
    with pytest.raises(SystemExit):
        parser().parse_args(["--help"])
    text = capsys.readouterr().out
    words = ("migrate", "plan", "status", "new", "number", "DATABASE_URL", "DB_SECRET_NAME", "DB_HOST", "exit status")
    assert [word for word in words if word not in text] == []
