"""The floor: the least that any runner of migrations has to do, and nothing of what makes one safe.

It connects, reads the history in one SELECT, hashes every file, and applies each pending file together with
its history row in one round trip and one transaction.
"""

import hashlib
import os
import sys

import psycopg2

# In db_setup's own schema, where it is not taken for a table of an application, which would have to be adopted.
HISTORY = """
CREATE SCHEMA db_setup;
CREATE TABLE db_setup.floor_history (name text PRIMARY KEY, checksum text NOT NULL)
"""


def main(url: str, folder: str) -> None:
    """Apply what is pending in ``folder``."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("SELECT name, checksum FROM db_setup.floor_history")
    applied = dict(cursor.fetchall())
    for name in sorted(os.listdir(folder)):
        with open(f"{folder}/{name}", "rb") as file:
            content = file.read()
        checksum = hashlib.sha256(content).hexdigest()
        if name not in applied:
            row = f"INSERT INTO db_setup.floor_history VALUES ('{name}', '{checksum}')"
            cursor.execute(f"BEGIN;\n{content.decode()}\n;{row}; COMMIT")
        elif applied[name] != checksum:
            sys.exit(f"{name} was edited")
    connection.close()
