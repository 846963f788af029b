"""Threads may run without a GIL: what a module remembers changes under a lock, and compiled code remembers nothing."""

import ast
import re
from pathlib import Path

import pytest

import skbce

SOURCE = Path(skbce.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))
KERNELS = sorted(path for path in (SOURCE / "kernels").iterdir() if path.suffix in (".pxd", ".pyx"))

# Called with the lock held, and in a forked child, which has one thread.
HOLD_THE_LOCK = {"_hold_blas", "_release_blas", "_forget"}
NAMED = (ast.FunctionDef, ast.ClassDef)
IN_PLACE = {"append", "clear", "extend", "insert", "pop", "popitem", "remove", "setdefault", "update", "add", "discard"}


class Changes(ast.NodeVisitor):
    """Collects (function, name) of every change to a module's own names outside `with _lock`."""

    def __init__(self, source):
        tree = ast.parse(source)
        self.module = {name for node in tree.body if not isinstance(node, NAMED) for name in stored(node)}
        self.function, self.here, self.locked = None, set(), False
        self.found = set()
        self.visit(tree)

    def visit_FunctionDef(self, node):
        before = self.function, self.here, self.locked
        declared = {name for inner in ast.walk(node) if isinstance(inner, ast.Global) for name in inner.names}
        self.function, self.locked = node.name, node.name in HOLD_THE_LOCK
        own = stored(node) | {inner.arg for inner in ast.walk(node) if isinstance(inner, ast.arg)}
        self.here = (self.module - own) | declared
        self.generic_visit(node)
        self.function, self.here, self.locked = before

    def visit_With(self, node):
        before = self.locked
        self.locked = self.locked or ast.unparse(node.items[0]) == "_lock"
        self.generic_visit(node)
        self.locked = before

    def visit_Name(self, node):
        if isinstance(node.ctx, (ast.Store, ast.Del)):
            self.note(node)

    def visit_Subscript(self, node):
        if isinstance(node.ctx, (ast.Store, ast.Del)):
            self.note(node.value)
        self.generic_visit(node)

    def visit_Call(self, node):
        if isinstance(node.func, ast.Attribute) and node.func.attr in IN_PLACE:
            self.note(node.func.value)
        self.generic_visit(node)

    def note(self, target):
        if self.function and not self.locked and isinstance(target, ast.Name) and target.id in self.here:
            self.found.add((self.function, target.id))


def stored(node):
    """Names that are assigned anywhere in it."""
    return {name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_what_a_module_remembers_changes_under_its_lock(path):
    assert Changes(path.read_text(encoding="utf-8")).found == set()


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("global count\n    count += 1", {("f", "count")}),
        ("global count\n    count = 2", {("f", "count")}),
        ("kept[1] = 2", {("f", "kept")}),
        ("kept.update(a=1)", {("f", "kept")}),
        ("global count\n    with _lock:\n        count += 1", set()),
        ("kept = {}\n    kept.update(a=1)", set()),
        ("print(count)", set()),
    ],
)
def test_a_change_without_the_lock_is_noticed(statement, found):
    assert Changes(f"count = 0\nkept = {{}}\ndef f():\n    {statement}\n").found == found


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.name)
def test_compiled_code_has_no_variables_of_its_own(path):
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"^cdef (?!class|enum|struct|extern|inline|packed)[\w* ]+(?: = .*)?$", text, re.MULTILINE) == []
    assert re.findall(r"^ *static (?!inline)[^(\n]*;", text, re.MULTILINE) == []
