"""folder: the migrations on disk, their checksums, and remarks about what is not run."""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from migrator.errors import FolderNotFound, InvalidFileName, UnreadableFile
from migrator.files import folder
from migrator.files.folder import checksum, default_path, read_folder
from migrator.sql.decode import read_text

from tests.plugins.runs import PRODUCT

BOM = b"\xef\xbb\xbf"
WINDOW, WHOLE = folder._PIECE, folder._WHOLE


def names(path: Path) -> list[str]:
    """Return the names of the migrations of a folder."""
    return [file.name for file in read_folder(path).files]


def test_files_come_in_name_order_with_checksum_and_size(tmp_path: Path) -> None:
    """A folder's migrations have name, path, checksum and size, in the order of their names."""
    (tmp_path / "002_b.sql").write_bytes(b"select 2;\r\n")
    (tmp_path / "001_a.sql").write_bytes(b"select 1;\n")
    found = read_folder(tmp_path)
    assert [(file.name, file.size) for file in found.files] == [("001_a.sql", 10), ("002_b.sql", 11)]
    assert found.files[1].checksum == checksum(b"select 2;\n")
    assert Path(found.files[0].path).read_bytes() == b"select 1;\n"
    assert found.warnings == ()


def test_empty_folder_is_fine(tmp_path: Path) -> None:
    """A folder without a file is no error."""
    assert read_folder(tmp_path).files == ()


@pytest.mark.parametrize(
    "name",
    ["it's.sql", 'a "b".sql', "a b.sql", "ünïcode_名前_😀.sql", "a\nb.sql", "a\tb.sql", "9" * 40 + "_x.sql",
     "%s{}$$.sql", "--.sql", "-rf.sql", "a;b.sql", "x" * 251 + ".sql"],
    ids=lambda name: ascii(name)[:20],
)  # fmt: skip
def test_any_name_in_utf8_is_a_name(tmp_path: Path, name: str) -> None:
    """Quotes, spaces, line ends and every script are allowed in names."""
    (tmp_path / name).write_text("select 1;")
    assert names(tmp_path) == [name]


def test_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """A name that no history could record is refused, in a message that can be printed."""
    path = os.fsencode(tmp_path) + b"/003_\xff.sql"
    Path(os.fsdecode(path)).write_text("select 1;")
    with pytest.raises(InvalidFileName) as caught:
        read_folder(tmp_path)
    assert str(caught.value).encode()
    assert "003_" in caught.value.what


@pytest.mark.parametrize(
    "name",
    ["003_x.SQL", "003_x.Sql", "003_x.sql.txt", "003_x.sql~", "003_x.sql.bak", "003_größe.SQL", "it's.SQL"],
)
def test_file_that_looks_like_a_mistake_is_named_in_a_warning(tmp_path: Path, name: str) -> None:
    """A file that somebody may believe is run is named, as it is spelled."""
    (tmp_path / name).write_text("select 1;")
    found = read_folder(tmp_path)
    assert found.files == ()
    assert len(found.warnings) == 1
    assert name in found.warnings[0]


@pytest.mark.parametrize(
    "name", ["003_x.down.sql", "README.md", ".003_x.sql", ".gitkeep", "._003_x.sql", "seed.py", ".003_x.sql.swp"]
)
def test_other_files_are_left_alone(tmp_path: Path, name: str) -> None:
    """Down migrations, hidden files and files of other kinds are neither run nor remarked upon."""
    (tmp_path / name).write_text("this is no SQL")
    assert read_folder(tmp_path)[1:3] == ((), ())


@pytest.mark.parametrize("name", ["003_x.Down.sql", "003_x.DOWN.sql"])
def test_down_migration_is_never_run_however_it_is_spelled(tmp_path: Path, name: str) -> None:
    """A down migration spelled in another case is not mistaken for a migration."""
    (tmp_path / name).write_text("drop table users;")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("folder", "inner", "warned"),
    [("003_x.sql", "", True), ("more", "004_y.sql", True), ("more", "README.md", False), ("more", "", False),
     ("more", "003_x.down.sql", False)],
    ids=["named-like-a-migration", "holds-migrations", "holds-others", "holds-nothing", "holds-ways-back"],
)  # fmt: skip
def test_subfolder_is_not_run(tmp_path: Path, folder: str, inner: str, warned: bool) -> None:
    """A subfolder is left alone; one that seems to hold migrations is named in a warning."""
    (tmp_path / folder).mkdir()
    if inner:
        (tmp_path / folder / inner).write_text("select 1;")
    (tmp_path / "001_a.sql").write_text("select 1;")
    found = read_folder(tmp_path)
    assert [file.name for file in found.files] == ["001_a.sql"]
    assert [folder in warning for warning in found.warnings] == [True] * warned


def test_link_to_a_file_is_a_migration(tmp_path: Path) -> None:
    """A link is read as the file it leads to."""
    (tmp_path / "m").mkdir()
    (tmp_path / "elsewhere").write_text("select 1;")
    (tmp_path / "m" / "001_a.sql").symlink_to("../elsewhere")
    assert read_folder(tmp_path / "m").files[0].checksum == checksum(b"select 1;")


def test_folder_may_be_a_link(tmp_path: Path) -> None:
    """The folder itself may be a link."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "001_a.sql").write_text("select 1;")
    (tmp_path / "migrations").symlink_to("real")
    assert names(tmp_path / "migrations") == ["001_a.sql"]


@pytest.mark.parametrize("target", ["nowhere", "001_a.sql", "file/below"], ids=["nowhere", "itself", "below-a-file"])
def test_link_that_leads_nowhere_is_named_in_a_warning(tmp_path: Path, target: str) -> None:
    """A dangling link is no migration and no crash: it is named in a warning."""
    (tmp_path / "file").write_text("")
    (tmp_path / "001_a.sql").symlink_to(target)
    found = read_folder(tmp_path)
    assert found.files == ()
    assert ["001_a.sql" in warning for warning in found.warnings] == [True]


def test_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    """A pipe is refused by name; opening it would wait for ever."""
    os.mkfifo(tmp_path / "003_x.sql")
    with pytest.raises(UnreadableFile, match=r"003_x\.sql is not a regular file"):
        read_folder(tmp_path)


def test_link_to_a_pipe_is_refused_as_a_pipe(tmp_path: Path) -> None:
    """A link to a pipe does not lead nowhere."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "003_x.sql").symlink_to("pipe")
    with pytest.raises(UnreadableFile, match=r"003_x\.sql is not a regular file"):
        read_folder(tmp_path)


def test_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket is refused by name."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("003_x.sql")
        with pytest.raises(UnreadableFile, match=r"003_x\.sql is not a regular file"):
            read_folder(tmp_path)


@pytest.fixture
def ordinary_user() -> Iterator[Path]:
    """Return a folder of an ordinary user, whom the test acts as: root may read everything."""
    folder = Path(tempfile.mkdtemp(prefix="db_setup-"))
    folder.chmod(0o777)
    if os.geteuid() == 0:
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
    yield folder
    os.seteuid(os.getuid())
    for path in folder.iterdir():
        path.chmod(0o700)
    shutil.rmtree(folder)


def test_file_without_permission_is_refused(ordinary_user: Path) -> None:
    """A file that cannot be opened is refused by name."""
    (ordinary_user / "003_x.sql").write_text("select 1;")
    (ordinary_user / "003_x.sql").chmod(0)
    with pytest.raises(UnreadableFile, match=r"003_x\.sql cannot be read"):
        read_folder(ordinary_user)


def test_file_that_fails_while_it_is_read_is_refused(tmp_path: Path) -> None:
    """A file that opens and then cannot be read is refused by name."""
    (tmp_path / "003_x.sql").symlink_to("/proc/self/mem")
    with pytest.raises(UnreadableFile, match=r"003_x\.sql cannot be read"):
        read_folder(tmp_path)


def test_subfolder_without_permission_is_left_alone(ordinary_user: Path) -> None:
    """A subfolder that cannot be opened, such as lost+found, does not stop a run."""
    (ordinary_user / "001_a.sql").write_text("select 1;")
    (ordinary_user / "lost+found").mkdir(0)
    assert names(ordinary_user) == ["001_a.sql"]


INSIDE = ("env", "env/dev", "env/prod", "repeatable")


@pytest.mark.parametrize("name", INSIDE)
def test_folder_inside_without_permission_is_refused(ordinary_user: Path, name: str) -> None:
    """A folder with a meaning that cannot be listed is an error that names it, whichever environment it is for."""
    path = ordinary_user / name
    path.mkdir(parents=True)
    path.chmod(0)
    try:
        with pytest.raises(UnreadableFile, match=f"the folder {name} cannot be read \\(Permission denied\\)") as caught:
            read_folder(ordinary_user, "dev")
    finally:
        path.chmod(0o700)
    assert "permission" in caught.value.fix


@pytest.mark.parametrize("name", INSIDE)
def test_folder_inside_that_fails_while_it_is_listed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The same for whoever may read everything, where the file system refuses."""
    (tmp_path / name).mkdir(parents=True)
    scan = os.scandir

    def refuse(path: str | os.PathLike[str]) -> object:
        if Path(path) == tmp_path / name:
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UnreadableFile, match=f"the folder {name} cannot be read"):
        read_folder(tmp_path)


@pytest.mark.parametrize("name", ["missing", "file"])
def test_no_folder_is_refused_with_its_path(tmp_path: Path, name: str) -> None:
    """A path that is no folder is refused; the fix says how to name another."""
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderNotFound) as caught:
        read_folder(tmp_path / name)
    assert str(tmp_path / name) in caught.value.what
    assert "MIGRATIONS_DIR" in caught.value.fix


def test_default_folder_is_inside_the_package_or_next_to_it(tmp_path: Path) -> None:
    """In a Lambda the migrations lie next to initializer.py, in a project next to db_setup/."""
    base = tmp_path / "db_setup"
    base.mkdir()
    assert Path(default_path(base)) == tmp_path / "migrations"
    (base / "migrations").mkdir()
    assert Path(default_path(base)) == base / "migrations"


@pytest.mark.parametrize("border", [WHOLE, WHOLE + WINDOW])
@pytest.mark.parametrize("shift", [-2, -1, 0, 1])
@pytest.mark.parametrize("middle", [b"\r\n", b"\r", b"\r\r\n", b"\r\r\r", BOM + b"\r\n"], ids=repr)
@pytest.mark.parametrize("start", [b"", BOM], ids=["plain", "bom"])
def test_checksum_of_a_large_file_is_that_of_its_text(
    tmp_path: Path, start: bytes, middle: bytes, shift: int, border: int
) -> None:
    """Line ends across the borders of what is read at once count as elsewhere."""
    content = start + b"x" * (border - len(start) + shift) + middle + b"y" * 20 + b"\r"
    (tmp_path / "001_a.sql").write_bytes(content)
    (file,) = read_folder(tmp_path).files
    assert (file.checksum, file.size) == (checksum(content), len(content))


@pytest.mark.parametrize("size", [WHOLE - 1, WHOLE, WHOLE + 1, WHOLE + WINDOW])
@pytest.mark.parametrize("line", [b"\r", b"\r\n", b"\n"], ids=repr)
def test_checksum_of_large_copies_does_not_see_line_ends(tmp_path: Path, size: int, line: bytes) -> None:
    """A large file has one checksum with any line ends, with and without BOM."""
    lines = size // (6 + len(line)) + 1
    for number, content in enumerate((b"select\n" * lines, (b"select" + line) * lines, BOM + (b"select" + line) * lines)):
        (tmp_path / f"{number}_a.sql").write_bytes(content)
    assert len({file.checksum for file in read_folder(tmp_path).files}) == 1


def test_text_comes_in_pieces_of_a_fixed_window(tmp_path: Path) -> None:
    """A large text is never held whole, and nothing is lost between its pieces."""
    text = "sélect 名前;\r\n" * 100_000
    (tmp_path / "001_a.sql").write_bytes(BOM + text.encode())
    file = read_folder(tmp_path).files[0]
    pieces = list(read_text(file.name, file.path, file.size))
    assert max(len(piece.encode()) for piece in pieces) <= WINDOW + 4
    assert "".join(pieces) == text


def test_reading_a_folder_loads_no_lexer() -> None:
    """A deploy with nothing to do reads the folder: neither SQL, nor directives, nor the driver is loaded for that."""
    code = (
        "import sys; import migrator.files; "
        "loaded = {'migrator.sql', 'migrator.scripts', 'migrator.files.directives', 'psycopg2'} & set(sys.modules); "
        "sys.exit(str(loaded) if loaded else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PRODUCT)
