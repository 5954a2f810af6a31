"""Users and their secrets whenever a run dies: one re-run converges, and a stored version logs in.

A sample of the points, spread by a fixed seed; ``FAULT_POINTS=9999`` takes every one of them.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest
from migrator.cli.local_server import LocalServer

from tests.plugins.crashes import Run, Runs
from tests.plugins.proxy import BACKEND, FRONTEND, Proxy
from tests.plugins.secrets import MakeSite, Site

POINTS = int(os.environ.get("FAULT_POINTS", "16"))
KINDS = ("user", "table_creator")
ROTATE = {"action": "rotate"}


def sample(asked: int) -> Iterator[tuple[int, bool]]:
    """Yield some of the points of a run that asks for so many things: which of them, and if before or after it."""
    everything = [(point, before) for point in range(1, asked + 1) for before in (True, False)]
    yield from random.Random(asked).sample(everything, min(POINTS // 3, len(everything)))  # noqa: S311


def fine(run: Run) -> bool:
    """Return whether a run ended with an answer."""
    return run.body is not None and not run.error


def check(site: Site, at: object) -> None:
    """Every current version logs in and may write, and nothing is staged."""
    for kind in KINDS:
        site.as_user(kind, "INSERT INTO a DEFAULT VALUES")
        assert [labels for labels in site.versions(kind).values() if "AWSPENDING" in labels] == [], at


def test_killed_while_making_users(make_site: MakeSite, runs: Runs) -> None:
    """Kill -9 before or after any statement, login or call of AWS: the next deploy finishes, with one password made."""
    first = make_site(*KINDS)
    first.folder.write("001_a.sql", "CREATE TABLE a (i serial);")
    clean = runs.run(first.environ)
    assert fine(clean)
    for point, before in sample(clean.asked):
        site = make_site(*KINDS)
        assert runs.run(site.environ, point=point, before=before).killed
        again = runs.run(site.environ)
        assert fine(again), (point, before, again)
        check(site, (point, before))
        assert [list(site.versions(kind).values()) for kind in KINDS] == [[["AWSCURRENT"]]] * 2, (point, before)
        assert [row[1:7] for row in plain(site)] == [row[1:7] for row in plain(first)], (point, before)


def plain(site: Site) -> list[tuple[object, ...]]:
    """Return the roles of a site as if it bore another name."""
    return [tuple(str(column).replace(site.database.name, "shop") for column in row) for row in site.roles()]


@pytest.mark.parametrize("again", ["rotate", "deploy"])
def test_killed_while_rotating(make_site: MakeSite, runs: Runs, again: str) -> None:
    """Kill -9 anywhere in a rotation: what is stored logs in at once, a re-run finishes, and it was one rotation."""
    first = make_site(*KINDS)
    first.folder.write("001_a.sql", "CREATE TABLE a (i serial);")
    assert fine(runs.run(first.environ))
    clean = runs.run(first.environ, ROTATE)
    assert fine(clean)
    for point, before in sample(clean.asked):
        site = make_site(*KINDS)
        assert fine(runs.run(site.environ))
        old = [(site.secret(kind), site.versions(kind)) for kind in KINDS]
        assert runs.run(site.environ, ROTATE, point=point, before=before).killed
        for kind in KINDS:
            site.login(kind).close()
        done = site.database.query("SELECT outcome FROM db_setup.runs WHERE action = 'rotate'") == [("succeeded",)]
        assert fine(found := runs.run(site.environ, ROTATE if again == "rotate" and not done else None)), found
        check(site, (point, before))
        for kind, (value, versions) in zip(KINDS, old, strict=True):
            now = site.versions(kind)
            assert len(now) <= 2, (point, before)
            if again == "rotate":
                assert site.secret(kind)["username"] == f"{value['username']}_b", (point, before)
                assert [now[version] for version in versions] == [["AWSPREVIOUS"]], (point, before)
            site.connect(value["username"], value["password"]).close()  # what applications have in memory


@pytest.mark.parametrize("event", [None, ROTATE], ids=["deploy", "rotate"])
def test_cut_connection(
    make_site: MakeSite, runs: Runs, make_proxy: Callable[[LocalServer], Proxy], password_server: LocalServer, event: object
) -> None:
    """A connection cut before or after any message: the run itself or one re-run finishes, with no password too many."""
    proxy = make_proxy(password_server)
    through = {"DB_HOST": str(proxy.folder)}
    first = make_site(*KINDS)
    first.folder.write("001_a.sql", "CREATE TABLE a (i serial);")
    assert fine(runs.run({**first.environ, **through}))
    proxy.disarm()
    assert fine(runs.run({**first.environ, **through}, event))
    everything = [(side, n, before) for side in (FRONTEND, BACKEND) for n in range(2, proxy.counts[side]) for before in (True, False)]
    for side, number, before in random.Random(7).sample(everything, min(POINTS // 4, len(everything))):  # noqa: S311
        site = make_site(*KINDS)
        if event:
            assert fine(runs.run(site.environ))
        proxy.arm(side, number, before=before)
        cut = runs.run({**site.environ, **through}, event)
        proxy.disarm()
        if not fine(cut):
            assert fine(again := runs.run(site.environ, event)), (side, number, before, again)
        check(site, (side, number, before))
        wanted = [["AWSCURRENT"]] if event is None else [["AWSCURRENT"], ["AWSPREVIOUS"]]
        assert [sorted(site.versions(kind).values()) for kind in KINDS] == [wanted] * 2, (side, number, before, cut)


def test_50_deploys(make_site: MakeSite, runs: Runs) -> None:
    """Deploy after deploy leaves exactly the same roles, passwords and versions."""
    site = make_site(*KINDS, "readonly")
    assert fine(runs.run(site.environ))
    state = [(site.roles(), [site.versions(kind) for kind in KINDS])]
    acls = "SELECT xmin, nspacl::text FROM pg_namespace UNION ALL SELECT xmin, defaclacl::text FROM pg_default_acl"
    rows = site.database.query(acls)
    for _ in range(50):
        found = runs.run(site.environ)
        assert fine(found), found
    assert [(site.roles(), [site.versions(kind) for kind in KINDS])] == state
    assert site.database.query(acls) == rows


def test_8_deploys_at_once(make_site: MakeSite, runs: Runs) -> None:
    """Deploys at the same time make each user once, and nobody hears of the others' work on the catalogs."""
    site = make_site(*KINDS, "readonly")
    site.folder.write("001_a.sql", "CREATE TABLE a (i serial);")
    for round_ in range(2):
        found = runs.at_once(8, site.environ)
        assert [run.error for run in found] == [""] * 8, round_
    assert [list(site.versions(kind).values()) for kind in (*KINDS, "readonly")] == [[["AWSCURRENT"]]] * 3
    check(site, "at once")


def test_work_of_another_session_on_the_catalogs(make_site: MakeSite, runs: Runs) -> None:
    """A transaction of another session that changes the same rows is waited out, and not reported."""
    site = make_site(*KINDS)
    site.folder.write("001_a.sql", "CREATE TABLE a (i serial);")
    other = psycopg2.connect(site.database.url)
    with other.cursor() as cursor:
        cursor.execute(f"GRANT CONNECT, TEMP ON DATABASE {site.database.name} TO pg_monitor; GRANT CREATE ON SCHEMA public TO PUBLIC")
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(runs.run, site.environ)
        while not site.database.query("SELECT FROM pg_locks WHERE NOT granted"):
            assert not found.done()
        other.commit()
        assert fine(found.result()), found
    other.close()
    check(site, "busy")


def test_work_of_another_session_that_does_not_end(make_site: MakeSite, runs: Runs) -> None:
    """A transaction of another session that outlasts the run ends it in time, and a re-run finishes."""
    site = make_site("user")
    other = psycopg2.connect(site.database.url)
    with other.cursor() as cursor:
        cursor.execute(f"GRANT CONNECT ON DATABASE {site.database.name} TO pg_monitor")
    found = runs.run({**site.environ, "MIGRATION_TIMEOUT": "2s", "LOCK_TIMEOUT": "200ms"})
    other.close()
    assert "run it again" in found.error, found
    assert fine(runs.run(site.environ))
