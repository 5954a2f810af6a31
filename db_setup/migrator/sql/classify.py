"""What kind of statement a text is, as far as running it needs to know."""

from __future__ import annotations

import enum
import functools
import itertools
import re

_MAX_WORDS = 12
_BULK = frozenset(("insert", "update", "delete", "values"))  # data files consist of these: nothing more is read of them
_QUERY = frozenset(("select", "with"))
_PIECE, _LONGEST_NAME = 1 << 16, 64  # characters


class Kind(enum.Enum):
    """The kinds of statement that are run differently."""

    EMPTY = "empty"
    PLAIN = "plain"
    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    PREPARE_TRANSACTION = "prepare_transaction"
    SAVEPOINT = "savepoint"
    SET_TRANSACTION = "set_transaction"
    ENCODING = "encoding"
    SESSION = "session"
    COPY_IN = "copy_in"
    OUTSIDE = "outside"


_BY_FIRST_WORD = {
    "begin": Kind.BEGIN, "end": Kind.COMMIT, "abort": Kind.ROLLBACK, "savepoint": Kind.SAVEPOINT,
    "release": Kind.SAVEPOINT, "reset": Kind.SESSION, "deallocate": Kind.SESSION, "listen": Kind.SESSION,
    "unlisten": Kind.SESSION, "load": Kind.SESSION, "vacuum": Kind.OUTSIDE,
}  # fmt: skip
_OUTSIDE_PAIRS = frozenset(("create database", "drop database", "create tablespace", "drop tablespace", "alter system"))


@functools.cache
def _first_word() -> re.Pattern[str]:
    return re.compile(r"[A-Za-z_]+")


@functools.cache
def _space() -> re.Pattern[str]:
    return re.compile(r"(?:[ \t\n\r\f\v]++|--[^\n\r]*+)*")


@functools.cache
def _comment_edge() -> re.Pattern[str]:
    return re.compile(r"/\*|\*/")


_QUOTES = r"""--[^\n\r]*+|/\*|[()]|[eE]'(?:[^'\\]++|\\.|'')*'?|'[^']*+'?|"(?:[^"]++|"")*"?"""
_DOLLAR = r"\$(?:[^\x00-@\[-^`{-\x7f][^\x00-/:-@\[-^`{-\x7f]*+)?\$"


@functools.cache
def _words() -> re.Pattern[str]:
    """Return the pattern of the run of plain words that most statements begin with."""
    return re.compile(r"(?:[A-Za-z_]++[ \t\n]++)+")


@functools.cache
def _commits() -> re.Pattern[str]:
    """Return the pattern of a procedure's own COMMIT or ROLLBACK, which no transaction around it allows."""
    return re.compile(r"\b(?:commit|rollback)\s*(?:and\s+(?:no\s+)?chain\s*)?;", re.IGNORECASE)


@functools.cache
def _comment_or_quote() -> re.Pattern[str]:
    return re.compile(r"""--[^\n\r]*|/\*|'[^']*'|"[^"]*\"""")


@functools.cache
def _word() -> re.Pattern[str]:
    """Return the pattern of what matters in a statement's head; the rest is skipped by search()."""
    return re.compile(rf"{_QUOTES}|{_DOLLAR}|[^\x00-@\[-^`{{-\x7f][^\x00-#%-/:-@\[-^`{{-\x7f]*+", re.DOTALL)


@functools.cache
def _inside() -> re.Pattern[str]:
    """Return the pattern of what matters within parentheses."""
    return re.compile(f"{_QUOTES}|{_DOLLAR}", re.DOTALL)


@functools.cache
def concurrently() -> re.Pattern[str]:
    """Return the pattern of the word, or of the option that is not switched off."""
    return re.compile(r"\bconcurrently\b(?!\s*(?:=\s*)?'?(?:off|false|0|no)\b)", re.IGNORECASE | re.ASCII)


def contains_any(text: str, *names: str) -> bool:
    """Return whether a text has one of some names in it, in any case.

    A large text is looked at piece by piece, since a copy of it in lower case would take as much memory again.
    """
    if len(text) > _PIECE:
        return any(contains_any(text[at : at + _PIECE], *names) for at in range(0, len(text), _PIECE - _LONGEST_NAME))
    lower = text.lower()
    return any(name in lower for name in names)


def first_code(text: str) -> int:
    """Return the offset in ``text`` of its first token, past white space and comments."""
    at = _space().match(text).end()  # type: ignore[union-attr]  # the pattern matches the empty string
    while text.startswith("/*", at):
        at = _space().match(text, _comment_end(text, at)).end()  # type: ignore[union-attr]
    return at


def _comment_end(text: str, at: int) -> int:
    """Return where the block comment that starts at ``at`` ends; comments nest."""
    depth = 0
    while edge := _comment_edge().search(text, at):
        at = edge.end()
        depth += 1 if edge[0] == "/*" else -1
        if not depth:
            return at
    return len(text)


def without_comments(text: str) -> str:
    """Return a statement's text with a space in place of each comment; quoted names and strings stay as they are."""
    kept, at = [], 0
    while found := _comment_or_quote().search(text, at):
        if found[0][0] in "'\"":
            kept.append(text[at : found.end()])
            at = found.end()
        else:
            kept.append(f"{text[at : found.start()]} ")
            at = _comment_end(text, found.start()) if found[0] == "/*" else found.end()
    return "".join(kept) + text[at:]


def classify(text: str) -> tuple[Kind, tuple[str, ...]]:
    """Return the kind of the statement ``text`` and the bare words at its head."""
    word = _first_word().match(text) or _first_word().match(text, first_code(text))
    if word is None:
        return (Kind.EMPTY if text[first_code(text) :] in ("", ";") else Kind.PLAIN), ()
    verb = word[0].lower()
    if verb in _BULK:
        return Kind.PLAIN, ()
    if verb in _QUERY:
        return (Kind.SESSION if contains_any(text, "set_config") else Kind.PLAIN), ()
    tokens = _tokens(text, word.start())
    words = tuple(token for token in tokens if token[0] != '"')
    return _kind(tokens, text) if words and words[0].startswith(verb) else Kind.PLAIN, words


def _tokens(text: str, at: int) -> list[str]:
    """Return the first words outside parentheses: bare ones in lower case, quoted ones in their quotes."""
    run = _words().match(text, at)
    tokens = run[0].lower().split() if run else []
    at, depth = run.end() if run else at, 0
    while len(tokens) < _MAX_WORDS and (found := (_inside() if depth else _word()).search(text, at)):
        token, at = found[0], found.end()
        if token == "/*":
            at = _comment_end(text, found.start())
        elif token[0] == "$":
            closing = text.find(token, at)
            at = closing + len(token) if closing >= 0 else len(text)
        elif token in "()":
            depth = depth + 1 if token == "(" else max(0, depth - 1)
        elif token[0] not in "-'" and token[1:2] != "'" and not depth:
            tokens.append(token if token[0] == '"' else token.lower())
    return tokens[:_MAX_WORDS]


def _kind(tokens: list[str], text: str) -> Kind:
    """Return the kind of a statement that begins with a word."""
    verb, then = tokens[0], tokens[1] if len(tokens) > 1 else ""
    if verb in _BY_FIRST_WORD:
        return _BY_FIRST_WORD[verb]
    if verb in ("commit", "rollback"):
        return _kind_of_end(verb, tokens)
    if verb == "start":
        return Kind.BEGIN
    if verb == "prepare":
        return Kind.PREPARE_TRANSACTION if then == "transaction" else Kind.SESSION
    if verb == "discard":
        return Kind.OUTSIDE if then == "all" else Kind.SESSION
    if verb == "set":
        return _kind_of_set(tokens[1:])
    if verb == "do":
        return Kind.OUTSIDE if _commits().search(text) else Kind.PLAIN
    if verb == "copy":
        return Kind.COPY_IN if _has(tokens, "from", "stdin") or _has(tokens, "from", "stdout") else Kind.PLAIN
    return Kind.OUTSIDE if _runs_outside(verb, then, tokens, text) else Kind.PLAIN


def _has(tokens: list[str], first: str, second: str) -> bool:
    return (first, second) in itertools.pairwise(tokens)


def _kind_of_end(verb: str, tokens: list[str]) -> Kind:
    """Return the kind of COMMIT or ROLLBACK."""
    if tokens[1:2] == ["prepared"]:
        return Kind.OUTSIDE
    if verb == "commit":
        return Kind.COMMIT
    return Kind.SAVEPOINT if "to" in tokens[1:3] else Kind.ROLLBACK


def _kind_of_set(tokens: list[str]) -> Kind:
    """Return the kind of SET from the words after it."""
    local = tokens[:1] == ["local"]
    if local or (tokens[:1] == ["session"] and tokens[1:2] not in (["characteristics"], ["authorization"])):
        tokens = tokens[1:]
    name = tokens[0].strip('"') if tokens else ""
    if name in ("client_encoding", "names"):
        return Kind.ENCODING
    if name == "transaction":
        return Kind.SET_TRANSACTION
    return Kind.PLAIN if local or name == "constraints" else Kind.SESSION


def _runs_outside(verb: str, then: str, tokens: list[str], text: str) -> bool:
    """Return whether the server refuses the statement in a transaction block."""
    if f"{verb} {then}" in _OUTSIDE_PAIRS:
        return True
    if verb in ("create", "drop"):
        return "index" in tokens[1:3] and "concurrently" in tokens[2:4]
    if verb == "cluster":
        return tokens in (["cluster"], ["cluster", "verbose"])
    if verb == "reindex":
        return _reindexes_outside(tokens, text)
    if verb == "alter" and then == "database":
        return _has(tokens, "set", "tablespace")
    detaches = f"{verb} {then}" == "alter table" and _has(tokens, "detach", "partition")
    return detaches and "concurrently" in tokens


def _reindexes_outside(tokens: list[str], text: str) -> bool:
    if tokens[1:2] in (["schema"], ["database"], ["system"]) or "concurrently" in tokens[2:3]:
        return True
    start = first_code(text) + len("reindex")
    start += first_code(text[start:])
    return text[start] == "(" and bool(concurrently().search(text[start : text.find(")", start)]))
