"""credentials: URLs as libpq reads them, variables, secrets; and no password in any word of ours."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from migrator.database import credentials
from migrator.database.credentials import Credentials
from migrator.errors import DbSetupError, InvalidSetting, NoDatabase, SecretError
from migrator.settings import Settings

from tests.plugins.databases import Database
from tests.plugins.folders import Folder
from tests.plugins.runs import Invoke

RDS = {"engine": "postgres", "host": "h", "username": "u", "password": "S3CRET", "dbname": "d", "port": 5433}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p@h/d", Credentials("h", 5432, "d", "u", "p")),
        ("postgres://u:p@h:6543/d", Credentials("h", 6543, "d", "u", "p")),
        ("POSTGRESQL://u:p@h/d", Credentials("h", 5432, "d", "u", "p")),
        ("postgresql+psycopg2://u:p@h/d", Credentials("h", 5432, "d", "u", "p")),
        ("postgresql://u@h/d", Credentials("h", 5432, "d", "u", "")),
        ("postgresql://u:@h/d", Credentials("h", 5432, "d", "u", "")),
        ("postgresql://u@h", Credentials("h", 5432, "u", "u", "")),
        ("postgresql://u@h/", Credentials("h", 5432, "u", "u", "")),
        ("postgresql://u@h:/d", Credentials("h", 5432, "d", "u", "")),
        ("postgresql://u:p@[::1]:5433/d", Credentials("::1", 5433, "d", "u", "p")),
        ("postgresql://u:p@[2001:db8::1]/d", Credentials("2001:db8::1", 5432, "d", "u", "p")),
        ("postgresql://u@/d?host=/var/run/postgresql", Credentials("/var/run/postgresql", 5432, "d", "u", "")),
        ("postgresql://u@%2Fhome%2FMe%2Fsock/d", Credentials("/home/Me/sock", 5432, "d", "u", "")),
        ("postgresql:///d?host=h&user=u&port=6000", Credentials("h", 6000, "d", "u", "")),
        ("postgresql://u@h/a?dbname=b", Credentials("h", 5432, "b", "u", "")),
        ("postgresql://u%40corp:p%40%3A%2F%23%3F@h/my%20db", Credentials("h", 5432, "my db", "u@corp", "p@:/#?")),
        ("postgresql://u:a+b@h/d", Credentials("h", 5432, "d", "u", "a+b")),
        ("postgresql://u:a:b@h/d", Credentials("h", 5432, "d", "u", "a:b")),
        ("postgresql://u:it's\"quoted\"@h/d", Credentials("h", 5432, "d", "u", "it's\"quoted\"")),
        ("postgresql://ü:pä%C3%9F@h/dö", Credentials("h", 5432, "dö", "ü", "päß")),
        (
            "postgresql://u@h/d?sslmode=require&connect_timeout=5",
            Credentials("h", 5432, "d", "u", "", (("connect_timeout", "5"), ("sslmode", "require"))),
        ),
        (
            "postgresql://u@h/d?sslmode=verify-full&sslrootcert=/certs/a+b.pem",
            Credentials("h", 5432, "d", "u", "", (("sslmode", "verify-full"), ("sslrootcert", "/certs/a+b.pem"))),
        ),
        (
            "postgresql+psycopg2://u@h/d?tcp_user_timeout=5000&application_name=shop%20deploy",
            Credentials("h", 5432, "d", "u", "", (("application_name", "shop deploy"), ("tcp_user_timeout", "5000"))),
        ),
        (
            "postgresql://u@h/d?keepalives_idle=30&connect_timeout=5&keepalives=1",
            Credentials("h", 5432, "d", "u", "", (("connect_timeout", "5"), ("keepalives", "1"), ("keepalives_idle", "30"))),
        ),
        (
            "postgresql://u@h/d?krbsrvname=pg&sslcrl=/c&gssencmode=disable&target_session_attrs=any",
            Credentials(
                "h", 5432, "d", "u", "",
                (("gssencmode", "disable"), ("krbsrvname", "pg"), ("sslcrl", "/c"), ("target_session_attrs", "any")),
            ),
        ),
        ("postgresql://u@h/d?password=p%26q", Credentials("h", 5432, "d", "u", "p&q")),
        ("postgresql://u@h/d?sslmode=&application_name=", Credentials("h", 5432, "d", "u", "")),
        ("postgresql://u:p@h/d?ssl=true", Credentials("h", 5432, "d", "u", "p", (("sslmode", "require"),))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_url_is_read_as_libpq_reads_it(url: str, expected: Credentials) -> None:
    """Each part of a URL is found and decoded, as libpq does."""
    assert credentials.from_url(url) == expected


@pytest.mark.parametrize("password", ["p@:/#?&=%", "a b", "'\";--", "пароль", "+", "%41", "[x]", "\\", "$$"])
def test_encoded_password_arrives_whole(password: str) -> None:
    """A password written with %-encoding is the password, whatever characters it has."""
    found = credentials.from_url(f"postgresql://u:{quote(password, safe='')}@h/d")
    assert (found.password, found.host, found.name) == (password, "h", "d")


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("", "postgresql://"),
        ("h", "postgresql://"),
        ("mysql://u:S3CRET@h/d", "postgresql://"),
        ("host=h user=u password=S3CRET", "postgresql://"),
        ("https://u:S3CRET@h/d", "postgresql://"),
        ("postgresql://h/d", "user"),
        ("postgresql://:S3CRET@h/d", "user"),
        ("postgresql://u:S3CRET@/d", "host"),
        ("postgresql:///d", "no host and no user"),
        ("postgresql://u:S3CRET@h:0/d", "port"),
        ("postgresql://u:S3CRET@h:70000/d", "port"),
        ("postgresql://u:S3CRET@h:65536/d", "port"),
        ("postgresql://u:S3CRET@h:abc/d", "port"),
        ("postgresql://u:S3CRET@h:-1/d", "port"),
        ("postgresql://u:S3CRET@h:5432x/d", "port"),
        ("postgresql://u:S3CRET@h/d?port=0", "port"),
        ("postgresql://u:S3CRET@h/d?port=abc", "port"),
        ("postgresql://u:S3CRET@[::1/d", "host"),
        ("postgresql://u:S3CRET@h/d?options=-csearch_path%3Dx", "options"),
        ("postgresql://u:S3CRET@h/d?options=x&sslmode=require&nonsense=S3CRET", "nonsense"),
        ("postgresql://u:S3CRET@h/d?sslmod=require", "sslmod"),
        ("postgresql://u@h/d?password=S3CRET&x=1", "unknown parameter"),
        ("postgresql://u@h/d?password=S3&S3CRET=1", "unknown parameter"),
        ("postgresql://u:S3CRET/d?user=x&host=h", "the port in DATABASE_URL is not a number"),
        ("postgresql://u:S3CRET@h1,h2/d", "several hosts"),
        ("postgresql://u:S3CRET@h1:5432,h2:5432/d", "host"),
        ("postgresql://u:S3CRET@/d?host=h1,h2", "several hosts"),
        ("postgresql://u:S3CRET#S3CRET@h/d", "DATABASE_URL"),
        ("postgresql://u:12#S3CRET@h/d", "DATABASE_URL"),
        ("postgresql://u:S3CRET/S3CRET@h/d", "DATABASE_URL"),
        ("postgresql://u:12/S3CRET@h/d", "DATABASE_URL"),
        ("postgresql://u:S3CRET?S3CRET@h/d", "DATABASE_URL"),
        ("postgresql://u:12?S3CRET@h/d", "DATABASE_URL"),
        ("postgresql://u:?S3CRET@h/d", "DATABASE_URL"),
        ("postgresql://u:S3CRET@h/d?passfile=/S3CRET", "unknown parameter: passfile"),
        ("postgresql://u:S3CRET@h/d?service=S3CRET", "unknown parameter: service"),
        ("postgresql://u:S3CRET@localhost/d?hostaddr=10.0.0.1", "unknown parameter: hostaddr"),
        ("postgresql://u:S3CRET@h/d?client_encoding=LATIN1", "unknown parameter: client_encoding"),
        ("postgresql://u:S3CRET@h/d?replication=database", "unknown parameter: replication"),
        ("postgresql://u:S3CRET@h/d?options=S3CRET&service=S3CRET", "unknown parameter: options, service"),
        ("postgresql://u:S3CRET@h/d?b=S3CRET&sslmode=require&a=S3CRET", "unknown parameter: a, b"),
        ("postgresql://u:S3CRET@h/d?S3CRET", "unknown parameter: .not a name."),
        ("postgresql://u:12?S3CRET", "unknown parameter: .not a name."),
        ("postgresql://u:S3CRET@h/d?S3-CRET=S3CRET", "unknown parameter: .not a name."),
        ("postgresql://u:S3CRET@h/d?sslmode=S3CRET=S3CRET", "parameter that cannot be read"),
        ("postgresql://u:S3CRET%zz@h/d", "broken %-encoding"),
        ("postgresql://u:S3CRET%@h/d", "broken %-encoding"),
        ("postgresql://u:S3CRET%00@h/d", "broken %-encoding"),
        ("postgresql://u:S3CRET%ff@h/d", "cannot be read"),
        ("postgresql://u:S3CRET\udcff@h/d", "cannot be read"),
        ("postgresql://u:S3CRET\x00@h/d", "cannot be read"),
        ("postgresql://u:S3CRET@[]/d", "cannot be read"),
        ("postgresql://u:S3CRET@[::1]S3CRET/d", "cannot be read"),
        ("postgresql://u@h:S3CRET@h/d", "cannot be read"),
        ("postgresql://u@h/d?dbname=postgresql://u:S3CRET@h", "cannot be read"),
        ("postgresql://u:S3CRET@h/d?host=", "no host"),
        ("postgresql://u:S3CRET@h/d?user=", "no user"),
        ("postgresql", "no host and no user"),
    ],
    ids=lambda value: ascii(value.replace("S3CRET", "*")) if value else "empty",
)
def test_unusable_url_is_refused_without_its_password(url: str, named: str) -> None:
    """A URL that cannot be used is refused; the refusal says which part, and shows nothing of a password."""
    with pytest.raises(InvalidSetting, match=named) as caught:
        credentials.from_url(url)
    assert "S3CRET" not in str(caught.value)
    assert "S3CRET" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_parameters_reach_the_server(invoke: Invoke, folder: Folder, database: Database) -> None:
    """The session of a run has the parameters of the URL; its application_name goes before the name of a run."""
    folder.write("001_a.sql", "CREATE TABLE a AS SELECT current_setting('application_name') AS name;")
    folder.write("002_b.sql", "INSERT INTO a SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid();")
    invoke(DATABASE_URL=f"{database.url}&application_name=shop%20deploy&tcp_user_timeout=5000&connect_timeout=7&keepalives=0")
    assert database.query("SELECT * FROM a") == [("shop deploy",)] * 2
    folder.write("003_c.sql", "TRUNCATE a; INSERT INTO a SELECT current_setting('application_name');")
    invoke()
    ((name,),) = database.query("SELECT * FROM a")
    assert name.startswith("db_setup ")


def test_password_with_an_at_sign_is_never_taken_for_a_host() -> None:
    """An @ that somebody forgot to encode is either part of the password or refused, never shown."""
    try:
        found = credentials.from_url("postgresql://u:S3@CRET@h/d")
    except InvalidSetting as error:
        shown = str(error)
    else:
        assert (found.host, found.password) == ("h", "S3@CRET")
        shown = repr(found)
    assert "CRET" not in shown


@pytest.mark.parametrize("show", [repr, str, lambda value: f"{value}", lambda value: value.place])
def test_credentials_show_the_place_and_no_password(show: Any) -> None:
    """What a person or a log sees of credentials is where and who, not the password."""
    shown = show(Credentials("db.example.com", 5432, "app", "owner", "S3CRET", (("sslpassword", "S3CRET"),)))
    assert "S3CRET" not in shown
    assert all(part in shown for part in ("db.example.com", "5432", "app", "owner"))


@pytest.mark.parametrize(
    ("host", "socket", "local"),
    [("/var/run", True, True), ("localhost", False, True), ("127.0.0.1", False, True), ("::1", False, True),
     ("db.example.com", False, False), ("10.0.0.1", False, False), ("localhost.example.com", False, False)],
)  # fmt: skip
def test_connection_that_cannot_leave_the_machine_is_known(host: str, socket: bool, local: bool) -> None:
    """Sockets and loopback addresses are local, everything else is remote."""
    found = Credentials(host, 5432, "d", "u", "")
    assert (found.is_socket, found.is_local) == (socket, local)


@pytest.mark.parametrize(
    ("text", "port"), [("", 5432), ("1", 1), ("5433", 5433), ("65535", 65535), ("005432", 5432)]
)
def test_port_is_read(text: str, port: int) -> None:
    """A port is a number from 1 to 65535; none is 5432."""
    assert credentials.port_number(text, "DB_PORT", InvalidSetting) == port


@pytest.mark.parametrize(
    "text", ["0", "-1", "65536", "70000", "abc", "5432.0", "5 432", "0x10", "²", "٣", "9" * 5000], ids=lambda text: text[:8]
)
@pytest.mark.parametrize("error", [InvalidSetting, SecretError])
def test_other_ports_are_refused(text: str, error: type[DbSetupError]) -> None:
    """What is not a port is refused with the name of where it stood."""
    with pytest.raises(error, match="the port in DB_PORT"):
        credentials.port_number(text, "DB_PORT", error)


def test_variables_are_read() -> None:
    """DB_HOST, DB_PORT, DB_NAME, DB_USER and DB_PASSWORD make credentials; the password may be missing."""
    settings = Settings(host="h", port="5433", name="d", user="u", password="p@:/#")
    assert credentials.from_variables(settings) == Credentials("h", 5433, "d", "u", "p@:/#")
    assert credentials.from_variables(settings._replace(port="", password="")) == Credentials("h", 5432, "d", "u", "")


@pytest.mark.parametrize("settings", [Settings(), Settings(password="S3CRET"), Settings(port="5432")])
def test_no_variables_are_no_database(settings: Settings) -> None:
    """Without host, name and user there is no database, and the fix lists every way to give one."""
    with pytest.raises(NoDatabase) as caught:
        credentials.from_variables(settings)
    assert all(name in caught.value.fix for name in ("DATABASE_URL", "DB_SECRET_NAME", "DB_HOST", "DB_PASSWORD"))
    assert "S3CRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (Settings(host="h"), ["DB_NAME", "DB_USER"]),
        (Settings(name="d", user="u"), ["DB_HOST"]),
        (Settings(host="h", user="u"), ["DB_NAME"]),
    ],
)
def test_missing_variables_are_named(settings: Settings, named: list[str]) -> None:
    """When some variables are there, those that are not are named."""
    with pytest.raises(InvalidSetting) as caught:
        credentials.from_variables(settings)
    assert [name for name in ("DB_HOST", "DB_NAME", "DB_USER") if name in caught.value.what] == named


@pytest.mark.parametrize(
    ("secret", "settings", "expected"),
    [
        (RDS, Settings(), Credentials("h", 5433, "d", "u", "S3CRET")),
        ({**RDS, "port": "5434"}, Settings(), Credentials("h", 5434, "d", "u", "S3CRET")),
        ({**RDS, "port": None}, Settings(), Credentials("h", 5432, "d", "u", "S3CRET")),
        ({**RDS, "engine": "aurora-postgresql"}, Settings(), Credentials("h", 5433, "d", "u", "S3CRET")),
        (
            {**RDS, "masterarn": "arn", "dbClusterIdentifier": "c"},
            Settings(),
            Credentials("h", 5433, "d", "u", "S3CRET"),
        ),
        (
            {"username": "u", "password": "S3CRET"},
            Settings(host="proxy", name="app"),
            Credentials("proxy", 5432, "app", "u", "S3CRET"),
        ),
        (RDS, Settings(host="proxy", port="6432", name="app"), Credentials("proxy", 6432, "app", "u", "S3CRET")),
    ],
    ids=["rds", "port-as-text", "port-null", "aurora", "rotation-fields", "username-and-password", "overruled"],
)
def test_secret_of_rds_is_read(secret: dict[str, object], settings: Settings, expected: Credentials) -> None:
    """The JSON that RDS stores is understood; DB_HOST, DB_PORT and DB_NAME fill in or overrule."""
    assert credentials.from_secret(secret, "prod/db", settings) == expected


@pytest.mark.parametrize(
    ("secret", "named"),
    [
        ({key: value for key, value in RDS.items() if key != "host"}, ["host"]),
        ({key: value for key, value in RDS.items() if key != "dbname"}, ["dbname"]),
        ({key: value for key, value in RDS.items() if key != "username"}, ["username"]),
        ({key: value for key, value in RDS.items() if key != "password"}, ["password"]),
        ({}, ["host", "dbname", "username", "password"]),
        ({**RDS, "password": ""}, ["password"]),
        ({**RDS, "password": 12345}, ["password"]),
        ({**RDS, "host": None, "username": ["S3CRET"]}, ["host", "username"]),
        ({**RDS, "port": 0}, ["port"]),
        ({**RDS, "port": "S"}, ["port"]),
        ({**RDS, "port": 70000}, ["port"]),
        ({**RDS, "port": [5432]}, ["port"]),
        ({**RDS, "engine": "mysql"}, ["mysql"]),
    ],
    ids=["host", "dbname", "username", "password", "all", "empty", "wrong-type", "null-and-list", "port-0",
         "port-text", "port-70000", "port-list", "engine"],
)  # fmt: skip
def test_fields_a_secret_lacks_are_named(secret: dict[str, object], named: list[str]) -> None:
    """A missing or unusable field is named with the secret's name, and no value of the secret is shown."""
    with pytest.raises(SecretError) as caught:
        credentials.from_secret(secret, "prod/db", Settings())
    assert "prod/db" in caught.value.what
    assert all(field in caught.value.what for field in named)
    assert "S3CRET" not in str(caught.value)
    assert "12345" not in str(caught.value)
