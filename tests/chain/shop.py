"""The shop that the app deploys: its database's admin, and the migrations of its releases, by file name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

ADMIN = "shop_admin"

Files = Mapping[str, str]

BASE: Files = MappingProxyType({
    "001_customers.sql": "CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL);\nCREATE TABLE gate (opened int);\n",
    "002_first_customer.sql": "INSERT INTO customers VALUES (1, 'Ada');\n",
})  # fmt: skip

NEXT: Files = {**BASE, "003_invoices.sql": "CREATE TABLE invoices (id int);\nINSERT INTO invoices VALUES (1);\n"}

BAD: Files = {**BASE, "003_bad.sql": "CREATE TABLE invoices (id int);\nSELECT id,\n  nmae FROM customers;\n"}

# Does not heed a cancel, as user SQL can.
STUBBORN: Files = {
    **BASE,
    "003_stubborn.sql": (
        "CREATE TABLE invoices (id int);\nDO $$ BEGIN WHILE NOT EXISTS (SELECT FROM gate) LOOP\n"
        "BEGIN PERFORM pg_sleep(0.02); EXCEPTION WHEN query_canceled THEN NULL; END;\nEND LOOP; END $$;\n"
    ),
}

# Waits in the middle until a test opens the gate; each check is a statement of its own, so it sees what other sessions commit.
GATED: Files = {
    **BASE,
    "003_gated.sql": (
        "CREATE TABLE invoices (id int);\nINSERT INTO invoices VALUES (1);\n"
        "DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.02); END LOOP; END $$;\n"
        "INSERT INTO invoices VALUES (2);\n"
    ),
}

# For several environments, with files that are run again when they have changed.
ENVIRONMENTS: Files = {
    **BASE,
    "003_marks.sql": "-- db_setup: env=dev,qa\nCREATE TABLE marks (mark text);\n",
    "env/dev/004_sample.sql": "INSERT INTO customers VALUES (100, 'Sample');\n",
    "env/dev/004_sample.check.sql": "SELECT count(*) = 1 FROM customers WHERE id = 100;\n",
    "env/prod/004_no_sample.sql": "INSERT INTO customers VALUES (200, 'Not for dev');\n",
    "repeatable/names.sql": "CREATE OR REPLACE VIEW names AS SELECT name FROM customers;\n",
}

SHOUTING: Files = {
    **ENVIRONMENTS,
    "repeatable/names.sql": "CREATE OR REPLACE VIEW names AS SELECT upper(name) AS name, id FROM customers;\n",
}
