"""Faults in SQL: what a slip of the pen would make of a query, for the texts in which most of the product's logic is.

A text may be a part of a query, and have ``{placeholders}``; both are left alone where they do not matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"(?P<quoted>'(?:[^']|'')*')|(?P<placeholder>\{[^{}]*\})|(?P<word>[A-Za-z_][\w.]*)"
    r"|(?P<other>[-#]>>?|=>|<@|@>|::|:=)|(?P<sign><>|<=|>=|!~|[=<>~();])"
)
_LOOKS_LIKE_SQL = re.compile(
    r"pg_catalog\.|\b(?:SELECT|FROM|WHERE|UPDATE|INSERT|DELETE|SET|CREATE|ALTER|DROP|GRANT|REVOKE|VALUES|JOIN|AND|OR|NOT|CASE"
    r"|EXISTS|LOCK|BEGIN|COMMIT|ROLLBACK|RETURNING|ORDER BY|CONFLICT|TRUNCATE|COMMENT ON|TABLE|RESET|DISCARD)\b(?= |$|\n|\()"
)
_SIGNS = {"=": "<>", "<>": "=", "<": "<=", "<=": "<", ">": ">=", ">=": ">", "~": "!~", "!~": "~"}
_WORDS = {
    "true": "false", "false": "true", "max": "min", "min": "max", "GREATEST": "LEAST", "LEAST": "GREATEST",
    "bool_and": "bool_or", "bool_or": "bool_and", "AND": "OR", "OR": "AND",
}  # fmt: skip
_PHRASES = [
    (re.compile(before), after)
    for before, after in (
        (r"\bIF NOT EXISTS ", ""), (r"(?<!IF )\bNOT (?!EXISTS \w)", ""), (r"(?<!NOT )(?<!IF )\bEXISTS(?= ?\()", "NOT EXISTS"),
        (r"\bIS NULL\b", "IS NOT NULL"), (r"\bWHERE ", "WHERE true OR "), (r"\bLEFT JOIN\b", "JOIN"), (r" DESC\b", ""),
        (r"\bUNION ALL\b", "UNION"), (r"\bDISTINCT ", ""), (r"\bLIMIT 1\b", ""), (r" FOR UPDATE\b", ""), (r" NOWAIT\b", ""),
        (r" CASCADE\b", ""), (r"\bCONCURRENTLY ", ""), (r" CONCURRENTLY\b", ""), (r"\bON CONFLICT [^;]*", ""),
    )
]  # fmt: skip
_ENDS_CONDITION = frozenset(
    ["AND", "OR", "GROUP", "ORDER", "LIMIT", "FOR", "RETURNING", "UNION", "THEN", "ELSE", "END", "WHERE", "HAVING", "ON", "JOIN", "LEFT", "CROSS", "WHEN", "EXCEPT"]
)  # fmt: skip
_CLAUSES = frozenset(["SET", "WHERE", "ON", "AND", "OR", "SELECT", "FROM", "HAVING", "WHEN", "CASE", "THEN", "ELSE", "IN", "VALUES"])


def is_sql(text: str) -> bool:
    """Return whether a text of the product is SQL, or a part of it."""
    return bool(_LOOKS_LIKE_SQL.search(text))


def faults(text: str) -> Iterator[str]:
    """Yield the text with one fault each: an operator or a word swapped, a condition or a statement left out."""
    code = _without_quotes(text)
    tokens = list(_TOKEN.finditer(text))
    yield from _swapped(text, code, tokens)
    for pattern, after in _PHRASES:
        for found in pattern.finditer(code):
            yield text[: found.start()] + after + text[found.end() :]
    for begin, end in _conditions(code):
        yield text[:begin] + text[end:]
    yield from _statements_left_out(text, code)


def _without_quotes(text: str) -> str:
    """Return the text with as many dots in place of literals and placeholders, so that offsets stay."""
    return _TOKEN.sub(lambda found: found[0] if found["word"] or found["sign"] else "." * len(found[0]), text)


def _swapped(text: str, code: str, tokens: list[re.Match[str]]) -> Iterator[str]:
    clause = ""
    for token in tokens:
        name = token[0].rpartition(".")[2]
        if token["word"] and token[0] in _CLAUSES:
            clause = token[0]
        if token["sign"] and clause != "SET":
            swapped = _SIGNS.get(token[0])
        else:
            swapped = _WORDS.get(name) if token["word"] else None
        before = code[: token.start()]
        if swapped is None or re.search(r"\b(?:CREATE|BETWEEN [\w.:]+) $", before):  # OR REPLACE, and the AND of BETWEEN
            continue
        yield text[: token.end() - len(name if token["word"] else token[0])] + swapped + text[token.end() :]


def _conditions(code: str) -> Iterator[tuple[int, int]]:
    """Yield where each condition after AND or OR begins and ends, with that word."""
    for found in re.finditer(r"\b(?:AND|OR) (?!REPLACE)", code):
        if not re.search(r"\bBETWEEN [\w.:]+ $", code[: found.start()]):
            yield found.start(), _end_of_condition(code, found.end())


def _end_of_condition(code: str, at: int) -> int:
    depth = 0
    for token in re.compile(r"[();]|\b[A-Z]+\b").finditer(code, at):
        if depth == 0 and (token[0] in {")", ";"} or token[0] in _ENDS_CONDITION):
            return token.start()
        depth += {"(": 1, ")": -1}.get(token[0], 0)
    return len(code)


def _statements_left_out(text: str, code: str) -> Iterator[str]:
    """Yield the text without one of its statements; comments on objects are for people."""
    ends = [found.end() for found in re.finditer(";", code)]
    for begin, end in zip([0, *ends], [*ends, len(code)], strict=True):
        statement = code[begin:end].strip()
        if ends and statement.strip(";") and not statement.startswith("COMMENT ON"):
            yield text[:begin] + text[end:]
