"""The mutants of a module: mutmut's operators on its syntax tree, and ours on SQL, on patterns and on statements.

Left out is what no test should hold: texts for people and the errors' arguments that are such texts, docstrings,
annotations, imports, what is there for mypy alone, and what no test can reach (``pragma: no cover``).
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import libcst as cst
from libcst.metadata import ByteSpanPositionProvider, MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators, operator_arg_removal, operator_string

from tests.mutants import patterns, sql_texts

_FOR_PEOPLE = {"what", "fix", "message", "applied"}
_PROSE = re.compile(r"[a-z]{2,}[,:;]? [a-z]+[,:;]? [a-z]{2,}")
_IN_CAPITALS = re.compile(r"[A-Z_]{2,}(?: [A-Z_]+)*")
_AS_THEY_ARE = {"len", "isinstance", "cast", "TypeVar", "NewType"}


class Mutant(NamedTuple):
    """One fault: in a file from one line to another, the bytes that it replaces, and what it puts there."""

    path: str
    line: int
    last: int
    start: int
    end: int
    code: str

    def apply(self, source: str) -> str:
        """Return the source with the fault."""
        content = source.encode()
        return (content[: self.start] + self.code.encode() + content[self.end :]).decode()

    def diff(self, source: str) -> str:
        """Return the changed lines as a diff."""
        lines = difflib.unified_diff(source.splitlines(), self.apply(source).splitlines(), lineterm="", n=0)
        return "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))


def is_fault(mutant: Mutant, source: str) -> bool:
    """Return whether the source with it is a program, and another one."""
    try:
        return ast.dump(ast.parse(mutant.apply(source))) != ast.dump(ast.parse(source))
    except SyntaxError:
        return False


@cache
def mutants(path: str, source: str) -> list[Mutant]:
    """Return the mutants of a module in the order of its text, each once."""
    wrapper = MetadataWrapper(cst.parse_module(source))
    spans, places = wrapper.resolve(ByteSpanPositionProvider), wrapper.resolve(PositionProvider)
    found: dict[Mutant, None] = {}
    for node, changed in _changes(wrapper.module, people=False):
        if node in spans:
            span, place = spans[node], places[node]
            code = wrapper.module.code_for_node(changed)
            start, end = span.start, span.start + span.length
            found[Mutant(path, place.start.line, place.end.line, start, end, code)] = None
    return sorted(found)


def _changes(node: cst.CSTNode, *, people: bool) -> Iterator[tuple[cst.CSTNode, cst.CSTNode]]:
    """Yield each node below one with what is put in its place; ``people``: its texts are for people."""
    if _is_left_alone(node):
        return
    people = people or isinstance(node, cst.Raise) or (isinstance(node, cst.Arg) and _names_text(node))
    if isinstance(node, cst.SimpleString | cst.FormattedString):
        if (not people and not _PROSE.search(_content(node))) or (not people and sql_texts.is_sql(_content(node))):
            yield from ((node, changed) for changed in _text_faults(node))
    else:
        yield from ((node, changed) for changed in _faults(node))
    for child in node.children:
        yield from _changes(child, people=people)


def _is_left_alone(node: cst.CSTNode) -> bool:
    if isinstance(node, cst.Annotation | cst.Import | cst.ImportFrom | cst.Assert | cst.Decorator):
        return True
    if isinstance(node, cst.Expr) and isinstance(node.value, cst.SimpleString | cst.ConcatenatedString):
        return True  # a docstring
    if isinstance(node, cst.If) and isinstance(node.test, cst.Name) and node.test.value == "TYPE_CHECKING":
        return True
    if isinstance(node, cst.If) and isinstance(node.body, cst.IndentedBlock) and node.body.header.comment:
        return "pragma: no cover" in node.body.header.comment.value
    if isinstance(node, cst.Assign) and isinstance(node.value, cst.Subscript) and isinstance(node.value.value, cst.Name):
        return bool(node.value.value.value[:1].isupper())  # the name of a type
    if isinstance(node, cst.Assign) and isinstance(node.targets[0].target, cst.Name):
        return bool(node.targets[0].target.value == "__all__")
    return isinstance(node, cst.Call) and isinstance(node.func, cst.Name) and node.func.value in _AS_THEY_ARE


def _names_text(argument: cst.Arg) -> bool:
    return argument.keyword is not None and argument.keyword.value in _FOR_PEOPLE


def _content(node: cst.SimpleString | cst.FormattedString) -> str:
    return _parts(node)[1]


def _parts(node: cst.SimpleString | cst.FormattedString) -> tuple[str, str, str]:
    """Return prefix and opening quotes, the text as it stands in the source, and the closing quotes."""
    code = cst.Module([]).code_for_node(node.with_changes(lpar=[], rpar=[]))
    opening = re.match(r"[a-zA-Z]*(?:'''|\"\"\"|'|\")", code)
    assert opening
    quotes = opening[0].lstrip("rRbBuUfF")
    return opening[0], code[opening.end() : len(code) - len(quotes)], quotes


def _text_faults(node: cst.SimpleString | cst.FormattedString) -> Iterator[cst.CSTNode]:
    opening, text, closing = _parts(node)
    if sql_texts.is_sql(text):
        changed = list(sql_texts.faults(text))
    elif "r" in opening.lower():
        changed = list(patterns.faults(text))
    else:
        if isinstance(node, cst.SimpleString):  # words in capitals are SQL, which means the same in small letters
            yield from (each for each in map(_simple, operator_string(node)) if not _IN_CAPITALS.fullmatch(text) or _parts(each)[1].startswith("XX"))
        return
    for each in dict.fromkeys(changed):
        try:
            yield cst.parse_expression(f"{opening}{each}{closing}")
        except cst.ParserSyntaxError:
            continue  # the fault is in the Python between braces


def _simple(node: cst.BaseString) -> cst.SimpleString:
    assert isinstance(node, cst.SimpleString)
    return node


def _faults(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    for kind, operator in mutation_operators:
        if isinstance(node, kind):
            for changed in operator(node):
                if operator is not operator_arg_removal or not _loses_text(node, changed):
                    yield changed
    # mutmut leaves no statement out; a call or a refusal that is missing is the fault that matters most.
    if isinstance(node, cst.Raise) or (isinstance(node, cst.Expr) and isinstance(node.value, cst.Call)):
        yield cst.Pass()


def _loses_text(call: cst.CSTNode, changed: cst.CSTNode) -> bool:
    """Return whether an argument that a call has lost is a text for people."""
    assert isinstance(call, cst.Call)
    assert isinstance(changed, cst.Call)
    lost = [argument for argument in call.args if all(argument is not kept for kept in changed.args)]
    return any(_names_text(each) or _is_prose(each.value) for each in lost)


def _is_prose(value: cst.BaseExpression) -> bool:
    if isinstance(value, cst.ConcatenatedString):
        return _is_prose(value.left) or _is_prose(value.right)
    if not isinstance(value, cst.SimpleString | cst.FormattedString):
        return False
    return bool(_PROSE.search(_content(value))) and not sql_texts.is_sql(_content(value))
