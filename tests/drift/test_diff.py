"""Differences of two catalogs, and what is shown of them."""

from __future__ import annotations

from migrator.drift.diff import Difference, compare, in_words, made_by, truncated
from migrator.drift.snapshot import Catalog, CatalogObject


def catalog(*entries: CatalogObject) -> Catalog:
    """Return a catalog of entries."""
    return {entry.key: entry for entry in entries}


TABLE = CatalogObject("table", "s.t", "", "owner x")
COLUMN = CatalogObject("column", "s.t.c", "s.t", "integer\nnullable")
ORDER = CatalogObject("column order", "s.t", "s.t", "a, b, c")
SEQUENCE = CatalogObject("sequence", "s.q", "s.t", "bigint")
GRANTS = CatalogObject("grants", "sequence s.q", "s.q", "r: USAGE")


def test_same() -> None:
    """Equal catalogs have no differences."""
    assert compare(catalog(TABLE, COLUMN), catalog(TABLE, COLUMN)) == []


def test_what_goes_along() -> None:
    """A lone table is one difference; what belongs to it, and to that, is counted with it."""
    (found,) = compare(catalog(TABLE, COLUMN, ORDER, SEQUENCE, GRANTS), catalog())
    assert (found.how, found.along) == ("only in the files", "1 column, 1 grants, 1 sequence")
    assert str(found) == "table s.t: only in the files (with 1 column, 1 grants, 1 sequence)\n  - owner x"


def test_lone_part_of_a_table_on_both_sides() -> None:
    """A column that only one side has is a difference of its own, and no matter of the order of columns."""
    one, other = catalog(TABLE, ORDER), catalog(TABLE, COLUMN, ORDER._replace(definition="a, x, b, c"))
    (found,) = compare(one, other)
    assert (found.identity, found.how, found.lines) == ("s.t.c", "only in the database", ("+ integer", "+ nullable"))


def test_order_of_columns() -> None:
    """Columns that both sides have, in another order, are a difference."""
    (found,) = compare(catalog(ORDER), catalog(ORDER._replace(definition="b, a, d")))
    assert found.lines == ("- a, b", "+ b, a")


def test_lines() -> None:
    """What differs is shown line by line, with a line of context."""
    (found,) = compare(catalog(COLUMN), catalog(COLUMN._replace(definition="integer\nnot null")))
    assert (found.how, found.lines) == ("differs", ("  integer", "- nullable", "+ not null"))
    assert found.as_json()["lines"] == ["  integer", "- nullable", "+ not null"]


def test_unknown_objects() -> None:
    """An object that nobody can say anything of is not compared; what belongs to it is, unless it goes with it."""
    other = catalog(TABLE._replace(definition="owner y"), COLUMN._replace(definition="text"))
    assert [found.identity for found in compare(catalog(TABLE, COLUMN), other, unknown={TABLE.key: False})] == ["s.t.c"]
    assert compare(catalog(TABLE, COLUMN), other, unknown={TABLE.key: True}) == []
    assert compare(catalog(), catalog(TABLE, COLUMN), unknown={TABLE.key: True}) == []


def test_objects_of_others() -> None:
    """What the files do not make, and one of some roles owns, is told apart with its comment; a body that says so is not."""
    text = "CREATE FUNCTION ... AS $$\nowner x\n$$"
    mine = CatalogObject("function", "s.f()", "", f"{text}\nowner me")
    database = catalog(
        TABLE, COLUMN, CatalogObject("comment", "table s.t", "s.t", "x"), mine, CatalogObject("schema", "s", "", "owner x"),
        CatalogObject("comment", "schema s", "", "x"),
    )  # fmt: skip
    found, names = made_by(compare(catalog(), database), database, ["x", "z"])
    assert ([item.identity for item in found], names) == (["s.f()"], ["schema s", "table s.t"])
    both = compare(catalog(TABLE._replace(definition="owner me")), catalog(TABLE))
    assert made_by(both, catalog(TABLE), ["x"]) == (both, [])


def test_bounds() -> None:
    """Long texts and many differences are cut, and said to be."""
    long = CatalogObject("function", "s.f()", "", "\n".join(f"{number} {'x' * 1000}" for number in range(100)))
    (found,) = compare(catalog(), catalog(long))
    assert (len(found.lines), found.lines[-1]) == (31, "  ... 70 more lines")
    assert max(map(len, found.lines)) < 320
    many = [Difference("table", f"t{number}", "differs") for number in range(1000)]
    assert len(truncated(many)) == 100
    assert len(truncated([found] * 100)) < 10
    assert in_words(many) == "table t0 (differs); table t1 (differs); table t2 (differs); and 997 more"
