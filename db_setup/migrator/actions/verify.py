"""verify: is the database what its applied files build? Writes nothing to it, and makes scratch databases."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any, NamedTuple

from migrator.context import RunContext
from migrator.database import Connection
from migrator.drift import (
    Build,
    Catalog,
    Difference,
    building,
    catalog_expressions,
    compare,
    difference_fields,
    in_words,
    made_by,
    new_database,
    query_catalog,
    read_catalog,
)
from migrator.errors import DbSetupError, InconsistentHistory, NothingProven, ScratchFailed
from migrator.files import REPEATABLE, Folder, Migration
from migrator.formatting import counted
from migrator.history import SCHEMA, AppliedMigration, History
from migrator.planning import Inspection, Pending, inspect, match, states
from migrator.report import Report, describe

_MAX_MADE_OUTSIDE = 100


def verify(context: RunContext) -> Report:
    """Report the drift: every object that is not as the applied files build it.

    That a new database would fail, or be another one, is a problem, too. Raises what keeps the files from being built,
    ScratchFailed where differences may come from what is left out of a build, and InconsistentHistory where the files
    are not all that was applied.
    """
    folder = context.read_folder()
    with closing(context.connect()) as connection:
        inspection, live = _settled(context, folder, connection)
        inspection.plan.refuse_problems()
        if inspection.history.exists:
            History(connection).refuse_tampering()
        found = _Verification(context, connection, folder, inspection).compare(live)
    warnings = (*folder.warnings, *context.warnings)
    report = describe(context, inspection, warnings, action="verify")._replace(details=found.details)
    problems = [found.drift] if found.drift else []
    fixes = []
    if found.new_database:
        problems.append(found.new_database.what)
        fixes.append(found.new_database.fix)
    if not problems:
        return report._replace(remark=found.remark)
    state = states.DRIFTED if found.drift else report.state
    return report._replace(state=state, problems=tuple(problems), fixes=tuple(fixes))


def after_deploy(context: RunContext, report: Report) -> Report:
    """Add to the report of a deploy whether the database has drifted.

    What is committed stays, so neither a drift nor a verification that cannot be made fails the deploy: both are
    warnings, and a drift is the state.
    """
    try:
        found = verify(context)
    except DbSetupError as error:
        return report._replace(warnings=(*report.warnings, f"the database could not be verified: {error.cause}"))
    state = states.DRIFTED if found.state == states.DRIFTED else report.state
    return report._replace(
        state=state,
        warnings=(*report.warnings, *found.problems, *found.fixes),
        details={**report.details, **found.details},
        duration_ms=context.elapsed_ms(),
    )


def _settled(context: RunContext, folder: Folder, connection: Connection) -> tuple[Inspection, Catalog]:
    """Return history and catalog of one moment: no run has changed the one while the other was read."""
    inspection = inspect(context, folder, connection)
    while True:
        live = read_catalog(connection, own_roles(connection, known=inspection.history.exists))
        again = inspect(context, folder, connection)
        if again.applied == inspection.applied:
            return inspection, live
        inspection = again


def own_roles(connection: Connection, *, known: bool) -> list[str]:
    """Return the roles that have applied migrations here: who asks, and those in the history."""
    earlier = f" UNION SELECT applied_by FROM {SCHEMA}.history" if known else ""
    return [str(name) for (name,) in connection.rows(f"SELECT SESSION_USER::text UNION SELECT CURRENT_USER{earlier}")]


class _Item(NamedTuple):
    """A file to be built; ``known`` is false where another text of it was applied."""

    pending: Pending
    known: bool = True

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.pending.migration.name


def _applied_files(folder: Folder, inspection: Inspection) -> list[_Item]:
    """Return the files that are applied whole, in the order of application.

    A repeatable file stands where it was run last. Raises NothingProven and InconsistentHistory.
    """
    if inspection.plan.state == states.UNTRACKED:
        raise NothingProven(
            "the database has tables and no history, so nothing says what it should be",
            fix="adopt shows which files are applied already, and records it",
        )
    found = match(folder.files, inspection.applied, folder.others)
    if found.missing:
        names = ", ".join(row.name for row in found.missing)
        raise InconsistentHistory(
            f"not all that is applied is among these files: {names}", fix="verify with the package that has them all"
        )
    by_row = {row.name: file for file in folder.files if (row := found.rows.get(file.name))}
    by_row |= {file.name: file for file in folder.repeatable}
    done = [row for row in inspection.applied if row.state == "applied" and row.name in by_row]
    return [_item(row, by_row[row.name]) for row in done]


def _item(row: AppliedMigration, file: Migration) -> _Item:
    known = row.checksum == file.checksum or not (row.checksum or row.name.startswith(REPEATABLE))
    return _Item(Pending(file, row.number), known=known)


def _repeatable_last(items: Sequence[_Item]) -> list[_Item]:
    """Return the repeatable files behind all others, in the order of names, as a new database gets them."""
    repeatable = [item for item in items if item.name.startswith(REPEATABLE)]
    return [item for item in items if item not in repeatable] + sorted(repeatable, key=lambda item: item.name)


def _beyond(folder: Folder, inspection: Inspection) -> list[str]:
    """Return what of the history the files here do not show."""
    here = {file.name for file in (*folder.repeatable, *folder.others)}
    return [
        *(f"{row.name} is applied in part" for row in inspection.applied if row.state != "applied"),
        *(
            f"{row.name} is applied, and its file is gone"
            for row in inspection.applied
            if row.name.startswith(REPEATABLE) and row.name not in here
        ),
    ]


_BuiltInOrder = tuple[Sequence[_Item], Build, Catalog, Catalog | None]
"""An order of files, the build, its catalog, and that before the first file whose applied text is not known, if any."""


class _Found(NamedTuple):
    """What a verification has found: the drift in a sentence, empty for none, and what a new database would do."""

    drift: str
    new_database: new_database.NewDatabaseFails | None
    details: dict[str, Any]
    remark: str


class _Verification:
    """The comparison of a database with what its applied files build."""

    def __init__(self, context: RunContext, connection: Connection, folder: Folder, inspection: Inspection) -> None:
        self._context = context
        self._connection = connection
        self._folder = folder
        self._inspection = inspection
        self._own = own_roles(connection, known=inspection.history.exists)
        self._items = _applied_files(folder, inspection)

    def compare(self, live: Catalog) -> _Found:
        """Build the files and compare."""
        order, build, built, known = self._build_first()
        differences = compare(built, live, known=known, unknown=build.unknown)
        if differences and (other := self._equal_in_order_of_new(order, live)):
            (order, build, built, known), differences = other, []
        differences, made_outside = self._apart(differences, live)
        _refuse_unknown(build, differences)
        count = f"{len(differences)} difference{'s' * (len(differences) > 1)}"
        drift = f"the database is not what its files build, {count}: {in_words(differences)}" * bool(differences)
        details = {
            **difference_fields(differences),
            "not_verifiable": [
                *build.not_verifiable, *self._of_another_text(), *_beyond(self._folder, self._inspection),
            ],
            "made_outside": made_outside[:_MAX_MADE_OUTSIDE],
        }
        return _Found(drift, self._try_new_database(order, built), details, self._remark(build))

    def _apart(self, differences: list[Difference], live: Catalog) -> tuple[list[Difference], list[str]]:
        """Return the differences without what the table creators have made, and this in words."""
        creators = self._table_creators()
        if not (differences and creators):
            return differences, []
        query = catalog_expressions.owned_without_a_line(self._connection.literals(*creators))
        owned = {(str(kind), str(name)) for kind, name in query_catalog(self._connection, query)}
        return made_by(differences, live, creators, owned)

    def _table_creators(self) -> list[str]:
        if not self._connection.has_made_users:
            return []
        from migrator.users import table_creators  # noqa: PLC0415 - for those who have such users

        return table_creators(self._connection)

    def _remark(self, build: Build) -> str:
        but = ""
        if build.unknown or build.unknown_since:
            but = ", as far as they can be compared: what is left out of a scratch build is named"
        count = len(self._items)
        return f"The database is what {counted(count)} build{'s' * (count == 1)}{but}."

    def _of_another_text(self) -> list[str]:
        """Return that the first file whose applied text is not known is not compared, nor what comes after it."""
        first = next((item.name for item in _repeatable_last(self._items) if not item.known), "")
        if not first:
            return []
        ahead = self._inspection.plan.state == states.AHEAD
        why = "was applied with a newer text" if ahead else "is to be run again"
        return [f"{first} {why}: it, and the {'repeatable ' * first.startswith(REPEATABLE)}files after it"]

    def _try_new_database(self, order: Sequence[_Item], built: Catalog) -> new_database.NewDatabaseFails | None:
        others = [*(file.name for file in self._folder.files), *self._inspection.skipped]
        items = [item.pending for item in order]
        return new_database.try_new_database(
            self._context, self._connection, items, built, own=self._own, others=others
        )

    def _equal_in_order_of_new(self, order: Sequence[_Item], live: Catalog) -> _BuiltInOrder | None:
        """Return the build in the order of a new database, where that is what there is.

        In what order files were applied that were not run here is not known.
        """
        new = self._order_of_new()
        if new == list(order) or not History(self._connection).not_run_here():
            return None
        try:
            build, built, known = self._build(new)
        except ScratchFailed:
            return None  # then the differences of the other order are told
        return None if compare(built, live, known=known, unknown=build.unknown) else (new, build, built, known)

    def _order_of_new(self) -> list[_Item]:
        by_name = {item.name: item for item in self._items}
        order = new_database.order_of_new([item.pending for item in self._items])
        return [by_name[pending.migration.name] for pending in order]

    def _build_first(self) -> _BuiltInOrder:
        """Build the files in the first order in which they can be built; return the order, and what was built.

        A numbered file may need what a repeatable one makes, as it was there when it was applied. Raises ScratchFailed.
        """
        failed: ScratchFailed | None = None
        for order in dict.fromkeys(map(tuple, (_repeatable_last(self._items), self._items, self._order_of_new()))):
            try:
                return order, *self._build(order)
            except ScratchFailed as error:
                failed = failed or error
        assert failed is not None
        raise failed

    def _build(self, items: Sequence[_Item]) -> tuple[Build, Catalog, Catalog | None]:
        """Build the files; return the catalog, and that before the first file whose applied text is not known, if any.

        What that file has changed is not known, and neither is what the files after it have changed, which may use it.
        """
        before: Catalog | None = None
        with building(self._context, self._connection, self._context.warnings.append) as build:
            for item in items:
                if before is None and not item.known:
                    before = read_catalog(build.connection, self._own)
                build.apply(item.pending)
            return build, read_catalog(build.connection, self._own), before


def _refuse_unknown(build: Build, differences: Sequence[Difference]) -> None:
    """Raise ScratchFailed where differences may come from what is left out of a build, and nothing tells them apart."""
    if build.unknown_since and differences:
        raise ScratchFailed(
            f"{build.unknown_since} is left out of a scratch build, and what it changes is not known, so these "
            f"differences may come from it: {in_words(differences)}",
            fix="compare them by hand; changes of tables stand better in statements of their own, outside such a block",
        )
