"""Imports go down only: each part of the package knows what lies below it and nothing else."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeGuard

import lockgate

PACKAGE = Path(lockgate.__file__).parent

FLOORS = {
    "__init__": 0,
    "errors": 0,
    "canonical": 0,
    "shown": 0,
    "domain": 1,
    "ports": 2,
    "evals": 3,
    "storage": 4,
    "workspace": 4,
    "runners": 4,
    "signing": 4,
    "deploy": 4,
    "loop": 4,
    "upkeep": 5,
    "look": 5,
    "wiring": 6,
    "story": 6.5,
    "cli": 7,
    "tui": 7,
    "__main__": 8,
}
"""Part to its floor. Parts on the same floor are strangers to each other."""

STEPS = {
    "register": {"change", "contents"},
    "evaluate": {"contents"},
    "gate": {"standing"},
    "approve": {"standing"},
    "apply": {"approve", "standing"},
    "deployment": {"unrecorded", "way_back"},
    "promote": {"deployment", "standing", "unrecorded", "way_back"},
    "ship": {"change", "register", "evaluate", "gate", "promote", "deployment"},
}
"""Which files of `loop/` may import which other ones; all others may import none."""

THIRD_PARTY = {
    "rfc8785": {"canonical"},
    "pydantic": {"workspace"},
    "pydantic_core": {"workspace"},
    "tomli_w": {"workspace"},
    "jsonschema": {"workspace", "evals"},
    "referencing": {"workspace", "evals"},
    "sqlite_utils": {"storage"},
    "httpx": {"runners"},
    "click": {"cli"},
    "rich": {"cli", "tui"},
    "textual": {"tui"},
}
"""Package from outside to the parts that may import it."""

OUTSIDE_WORLD = {"sqlite3", "subprocess", "socket", "asyncio", "threading", "tempfile", "shutil"}
"""Modules of the standard library that values and rules have no business with."""

OFFERED = {("lockgate", "lockgate.deploy.resolve")}
"""What the package itself offers to programs, imported when it is asked for."""

STANDALONE = ("runners/worker.py", "evals/scorer_worker.py", "deploy/hook_runner.py")
"""Files that are run by path, where the package cannot be imported."""

LOADED_BY_NAME = {
    "lockgate.cli.main": 'import_module(f"lockgate.cli.{',
    "lockgate.runners.worker": "import_module(module_name)",
}
"""Module to the one import in it whose name is computed: a command, and a version's own code."""


@cache
def modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(path: Path) -> tuple[tuple[str, int, bool], ...]:
    """Return what a file imports, wherever it stands: module, line, and whether at import time."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    late = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        or (isinstance(outer, ast.If) and "TYPE_CHECKING" in ast.dump(outer.test))
        for inner in ast.walk(outer)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno, id(node) not in late) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            known = [name for name in names if name in modules()]
            found += [(name, node.lineno, id(node) not in late) for name in known]
            if len(known) < len(names):
                found.append((str(node.module), node.lineno, id(node) not in late))
        elif _is_call_of_import(node) and isinstance(node.args[0], ast.Constant):
            found.append((str(node.args[0].value), node.lineno, id(node) not in late))
    return tuple(found)


def _is_call_of_import(node: ast.AST) -> TypeGuard[ast.Call]:
    names = ("importlib.import_module", "import_module", "__import__")
    return isinstance(node, ast.Call) and ast.unparse(node.func) in names


def part_of(module: str) -> str:
    """Return the part of the package that a module is in."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def crossings() -> Iterator[tuple[str, str, str]]:
    """Give importer, imported and place for every import inside the package."""
    for name, path in modules().items():
        for imported, line, _ in imports(path):
            if imported.split(".")[0] == "lockgate":
                yield name, imported, f"{path.relative_to(PACKAGE)}:{line}"


def test_every_part_has_a_floor() -> None:
    """A new part of the package is given its floor before it is used."""
    assert {part_of(name) for name in modules()} - FLOORS.keys() == set()


def test_imports_go_down_only() -> None:
    """A part imports from lower floors and from itself, never from its neighbours or from above."""
    wrong = [
        f"{place}: {part_of(importer)} imports {imported}"
        for importer, imported, place in crossings()
        if part_of(importer) != part_of(imported)
        and (importer, imported) not in OFFERED
        and FLOORS[part_of(importer)] <= FLOORS[part_of(imported)]
    ]
    assert wrong == []


def test_steps_do_not_import_each_other() -> None:
    """A step of the loop stands alone, but for what the table allows."""
    wrong = [
        f"{place}: {imported}"
        for importer, imported, place in crossings()
        if part_of(importer) == part_of(imported) == "loop"
        and importer.split(".")[-1] != "loop"
        and imported.split(".")[-1] not in STEPS.get(importer.split(".")[-1], set())
    ]
    assert wrong == []


def test_change_gives_register_its_parent_and_no_more() -> None:
    """Of the step before it, register uses nothing but what tells a folder's parent."""
    tree = ast.parse((PACKAGE / "loop" / "register.py").read_text(encoding="utf-8"))
    used = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "lockgate.loop.change"
        for alias in node.names
    ]
    assert used == ["parent_of"]


def test_only_storage_knows_sqlite() -> None:
    """SQL is spoken in one place, so that another engine can join as one module."""
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for name, path in modules().items()
        for imported, line, _ in imports(path)
        if imported.split(".")[0] in ("sqlite3", "sqlite_utils") and part_of(name) != "storage"
    ]
    assert wrong == []


def test_what_comes_from_outside_stays_where_it_is_used() -> None:
    """Each package from outside is imported by the parts that are made of it, and no others."""
    wrong = []
    for name, path in modules().items():
        for imported, line, _ in imports(path):
            top = imported.split(".")[0]
            if top == "lockgate" or top in sys.stdlib_module_names:
                continue
            if part_of(name) not in THIRD_PARTY.get(top, set()):
                wrong.append(f"{path.relative_to(PACKAGE)}:{line} imports {imported}")
    assert wrong == []


def test_values_and_rules_touch_nothing_outside() -> None:
    """The domain is values: no process, file, thread, database or package from outside."""
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line} imports {imported}"
        for name, path in modules().items()
        if part_of(name) == "domain"
        for imported, line, _ in imports(path)
        if imported.split(".")[0] in OUTSIDE_WORLD
        or imported.split(".")[0] not in {"lockgate", *sys.stdlib_module_names}
    ]
    assert wrong == []


def test_files_that_are_run_by_path_need_only_the_standard_library() -> None:
    """A worker runs in an interpreter that may not even have Lockgate."""
    wrong = [
        f"{name}:{line} imports {imported}"
        for name in STANDALONE
        for imported, line, is_early in imports(PACKAGE / name)
        if imported.split(".")[0] == "lockgate"
        or (is_early and imported.split(".")[0] not in sys.stdlib_module_names)
    ]
    assert wrong == []


def test_no_module_needs_itself_to_be_imported() -> None:
    """Imports at the top of the files form no circle."""
    needs = {
        name: {
            imported
            for imported, _, is_early in imports(path)
            if is_early and imported in modules() and imported != name
        }
        for name, path in modules().items()
    }
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " imports ".join((*way[way.index(name) :], name))
        if name not in done:
            for other in sorted(needs[name]):
                visit(other, (*way, name))
            done.add(name)

    for name in needs:
        visit(name, ())
    assert done == needs.keys()


def test_computed_imports_are_known() -> None:
    """An import by a computed name, which no table of floors can see, stands in a list."""
    found = {
        name: path.read_text(encoding="utf-8")
        for name, path in modules().items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if _is_call_of_import(node) and not isinstance(node.args[0], ast.Constant)
    }
    assert found.keys() == LOADED_BY_NAME.keys()
    for name, text in found.items():
        assert LOADED_BY_NAME[name] in text
