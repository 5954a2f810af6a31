"""The patterns of psql's scanner that the lexer jumps with; compiled on first use.

Only single characters are repeated possessively: Python before 3.11.5 mishandles possessive groups (gh-106052).
"""

from __future__ import annotations

import functools
import re

# Characters of names, all beyond ASCII among them; as complements, since those are compiled 50 times as fast.
_START, _CONT = r"[^\x00-@\[-^`{-\x7f]", r"[^\x00-/:-@\[-^`{-\x7f]"
_NAME = rf"{_START}[^\x00-#%-/:-@\[-^`{{-\x7f]*+"
MOST_TURNS = 4096  # of a group in one jump, since each costs memory until the jump is over
_BOUND = f"{{0,{MOST_TURNS}}}"
_OTHER = r"[\x00- !#%&*+,<=>?@\[\]^`{|}~\x7f]"  # neither part of a word nor the beginning of anything


@functools.cache
def jump(standard: bool) -> re.Pattern[str]:
    """Return the pattern of what cannot end a statement: plain text, simple strings, balanced parentheses.

    A string is taken here only where a backslash is sure to mean nothing. Each look-ahead wants a character
    to be there, so that nothing is decided at the edge of the window.
    """
    string = r"|(?<![eE])'[^']*+(?:''[^']*+)*'(?=[^'])" if standard else ""
    flat = rf"""[^'"$;()\\/-]++|-(?=[^-])|/(?=[^*])|"[^"]*+"(?=[^"]){string}"""
    group = rf"\((?:{flat}|\((?:{flat}){_BOUND}\)){_BOUND}\)"
    return re.compile(rf"(?:{flat}|{group}){_BOUND}")


@functools.cache
def pattern(name: str) -> re.Pattern[str]:
    """Return a pattern by name, compiled on first use: a run with nothing to do needs none of them."""
    return re.compile(_PATTERNS[name], re.DOTALL)


_PATTERNS = {
    "gap": r"(?:[ \t\n\r\f\v]++|--[^\n\r]*+[\n\r])*",
    "comment": r"--[^\n\r]*+|-",
    "slash": r"/\*?",
    "comment edge": r"/\*|\*/",
    "no function": r"(?i:(?!create)[a-z]++(?=[ \t\n])"
    r"|create[ \t\n]++(?!or|function|procedure)[a-z]++(?=[ \t\n]))",
    "no word": rf"{_OTHER}*+",
    "no block": rf"(?:{_OTHER}++|(?!(?i:begin|case|end|[ebxn]'|u&)){_NAME}(?=.)){_BOUND}",
    "token": rf"{_NAME}|(?:[0-9][0-9_]*+(?:\.(?!\.)[0-9_]*+)?|\.[0-9][0-9_]*+)(?:[eE][+-][0-9]++)?"
    rf"(?:{_NAME})?|\$[0-9]++(?:{_NAME})?|::|:=|:{_CONT}++|\.\.|.",
    "dollar": rf"\$[0-9]++(?:{_NAME})?|\$(?:{_START}{_CONT}*+)?\$?+",
    "escape": r"['\\]",
    # A string goes on after white space with a newline in it. psql sees one line at a time, so only a lone CR
    # is such a newline, unless the line ended right after the quote: then it still waits on the next line.
    "waiting": r"(?:[ \t\n\r\f\v]++|--[^\n\r]*+)*-?",
    "goes on": r"\n*+(?:[ \t\f\v]++|--[^\n\r]*+)*\r(?:[ \t\r\f\v]++|--[^\n\r]*+\r)*'",
    "line": r"[^\n]*+",
    "command": r"\\([^\s\\]*)\s*(\S*)",
}
