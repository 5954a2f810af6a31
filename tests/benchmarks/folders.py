"""Folders of migrations to be measured with."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

_TABLE = """\
-- Orders of kind {number}, one row for each that a customer has sent.
CREATE TABLE orders_{number} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer text NOT NULL,
    amount numeric(12, 2) NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now()
);
"""
_NOTHING = """\
-- Migration {number}, whose text has the size of a usual one and whose statement costs nothing: a run that
-- finds it applied reads the text and no more, and ten thousand are applied before one is measured.
SELECT {number};
"""
_DEFAULT = """\
-- After this file the default of one column is {number}, and nothing else is different.
CREATE TABLE IF NOT EXISTS orders_0 (id bigint PRIMARY KEY, amount numeric(12, 2) NOT NULL DEFAULT 0);
ALTER TABLE orders_0 ALTER COLUMN amount SET DEFAULT {number};
"""
_ROWS_HEAD = "CREATE TABLE payments (id integer PRIMARY KEY, payer text NOT NULL, note text NOT NULL);\n"


@contextmanager
def folder_of_tables(number: int) -> Iterator[Path]:
    """Make ``number`` small files, each of which makes a table."""
    with _folder(number, _TABLE) as folder:
        yield folder


@contextmanager
def folder_of_defaults(number: int) -> Iterator[Path]:
    """Make ``number`` small files, each of which changes the same table in a way that no count of objects shows."""
    with _folder(number, _DEFAULT) as folder:
        yield folder


@contextmanager
def folder_of_nothing(number: int) -> Iterator[Path]:
    """Make ``number`` files that change nothing."""
    with _folder(number, _NOTHING) as folder:
        yield folder


@contextmanager
def _folder(number: int, text: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="db_setup-bench-") as name:
        for each in range(1, number + 1):
            (Path(name) / f"{each:05}_orders_{each}.sql").write_text(text.format(number=each))
        yield Path(name)


@contextmanager
def folder_of_rows(size: int) -> Iterator[Path]:
    """Make one file of ``size`` bytes with an INSERT of 100 bytes for each row."""
    with tempfile.TemporaryDirectory(prefix="db_setup-bench-") as name:
        with (Path(name) / "001_payments.sql").open("w") as file:
            written = file.write(_ROWS_HEAD)
            for number in count(1):
                if written >= size:
                    break
                row = f"INSERT INTO payments VALUES ({number}, 'payer {number % 9973}', 'paid; it''s on time "
                written += file.write(f"{row:.<96}');\n")
        yield Path(name)
