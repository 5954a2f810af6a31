"""Commands that only psql understands, and what to write instead. Pure."""

from __future__ import annotations


def cure_of_command(name: str, value: str) -> str:
    """Return what to write instead of the psql command ``name``."""
    if name == "encoding":
        return f"write SET client_encoding TO '{value or 'UTF8'}';"
    return _CURES.get(name, "remove it")


_CURES = {
    **dict.fromkeys(("i", "ir", "include", "include_relative"),
                    "put the text of that file in a migration of its own"),
    **dict.fromkeys(("c", "connect"), "remove it: one run works on one database"),
    **dict.fromkeys(("set", "gset", "prompt", "unset"), "remove it and write the value where :name stands"),
    **dict.fromkeys(("echo", "qecho", "warn"), "remove it, or RAISE NOTICE in a DO block"),
    "copy": "write COPY ... FROM stdin; the data on the lines below, \\. on a line of its own after it",
    ".": "remove it, or put it on a line of its own below the data of a COPY ... FROM stdin;",
    "g": "end the statement with ; instead",
    "gexec": "write a DO block that loops over the query and runs EXECUTE",
    ";": "write ; instead",
}
