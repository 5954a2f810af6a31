"""Which tests are run on a mutant: those that run its line, of each test the quickest case first, its package's sooner."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path

from tests.mutants.measured import Measured
from tests.mutants.tree import MIGRATOR, PROJECT, files

_SOONER = 3  # times as long as another's test may one of the package take, and be run before it
_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


class Selection:
    """Tests by what they have been seen to run."""

    def __init__(self, measured: Measured, project: Path = PROJECT) -> None:
        self._measured = measured
        self._project = project

    def tests(self, path: str, line: int) -> dict[str, float]:
        """Return the tests for a line in the order in which they are to be run, with the seconds that they took."""
        own = f"tests/{path.removeprefix(f'{MIGRATOR}/').partition('/')[0]}/"
        found = set().union(*(self._measured.ran.get(each, {}).get(at, ()) for each, at in self._lines(path, line)))
        ordered: list[tuple[int, float, str]] = []
        cases: Counter[str] = Counter()
        for seconds, name in sorted((self._measured.tests[name].seconds, name) for name in found):
            function = name.partition("[")[0]
            ordered.append((cases[function], seconds / (_SOONER if name.startswith(own) else 1), name))
            cases[function] += 1
        return {name: self._measured.tests[name].seconds for *_, name in sorted(ordered)}

    def _lines(self, path: str, line: int) -> set[tuple[str, int]]:
        """Return the lines that run where the line counts: its statement's, or those that use what it defines."""
        statement, within_function = _statement(self._tree(path), line)
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):  # its default arguments
            return {(path, at) for part in statement.body for at in _own_lines(part)}
        if within_function:
            return {(path, at) for at in _own_lines(statement)}
        lines: set[tuple[str, int]] = set()
        waiting, known = [*_defined(statement)], set(_defined(statement))
        while waiting:
            for user, user_path, runs in self._users.get(waiting.pop(), ()):
                if runs:
                    lines |= {(user_path, at) for at in _own_lines(user)}
                else:
                    more = set(_defined(user)) - known
                    known |= more
                    waiting += more
        return lines

    def _tree(self, path: str) -> ast.Module:
        return _parsed((self._project / path).read_text(encoding="utf-8"))

    @cached_property
    def _users(self) -> Mapping[str, list[tuple[ast.stmt, str, bool]]]:
        """The statements that use a name, with their file, and whether they stand in a function."""
        found: dict[str, list[tuple[ast.stmt, str, bool]]] = defaultdict(list)
        for path in files(self._project):
            if path.startswith(MIGRATOR) and path.endswith(".py"):
                for statement, within_function in _statements(self._tree(path), within_function=False):
                    for name in _used(statement):
                        found[name].append((statement, path, within_function))
        return found


@cache
def _parsed(source: str) -> ast.Module:
    return ast.parse(source)


def _statements(node: ast.AST, *, within_function: bool) -> Iterator[tuple[ast.stmt, bool]]:
    """Yield all statements below a node, and whether they run when a function is called."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child, within_function
        yield from _statements(child, within_function=within_function or isinstance(child, _Function))


def _own_lines(statement: ast.stmt) -> range:
    """Return the lines of a statement without those of the statements in it."""
    begin = statement.lineno
    end = statement.end_lineno or begin
    inner = [each.lineno for each in ast.walk(statement) if isinstance(each, ast.stmt | ast.excepthandler)]
    return range(begin, min([end + 1, *(at for at in inner if at > begin)]))


def _statement(tree: ast.Module, line: int) -> tuple[ast.stmt, bool]:
    """Return the innermost statement of a line, and whether it stands in a function."""
    best: tuple[ast.stmt, bool] | None = None
    for statement, within in _statements(tree, within_function=False):
        if statement.lineno <= line <= (statement.end_lineno or 0):
            best = statement, within
    assert best is not None
    return best


def _defined(statement: ast.stmt) -> list[str]:
    """Return the names that a statement outside functions gives to what it makes."""
    if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return [statement.name]
    return [node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]


def _used(statement: ast.stmt) -> set[str]:
    """Return the names that a statement itself reads, with those of attributes."""
    names: set[str] = set()
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        waiting += [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.stmt)]
    return names
