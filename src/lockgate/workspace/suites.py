"""Read the suites of a registry: `suites/<name>.toml` and the cases beside it.

- Everything that is wrong is told at once, with file, line and the value.
- Nothing outside the registry's root is read, not through a link either.
- No scorer file is run to read a suite; it is only parsed.
- What a scorer cannot use (`expected` of another shape) is found here, not as a score of 0.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import json
import os
import stat
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lockgate.canonical import canonical_json, digest_bytes
from lockgate.domain.components import path_problem
from lockgate.domain.metrics import is_score, reads_like_no_score
from lockgate.domain.suite import Case, ScorerSpec, Suite
from lockgate.domain.version import system_name_problem
from lockgate.errors import UsageMistake
from lockgate.evals.scorers import expected_problem, needs_expected, pattern_problem
from lockgate.shown import fitted, shown
from lockgate.workspace.cases import Mistakes, read_cases, read_json
from lockgate.workspace.suite_tables import KeyLines, ScorerTable, scorer_table, suite_table
from lockgate.workspace.tomlfile import nearest, parse_toml, read_plain_file, suggestion

FOLDER = "suites"


@dataclass(frozen=True, slots=True)
class SuiteFile:
    """A suite as it stands in the files, with the bytes of its python scorers."""

    suite: Suite
    scorer_files: Mapping[str, bytes]
    """Path below `suites/` to bytes, for every path in `suite.files`."""


def suite_names(root: Path) -> list[str]:
    """Return the names of the suites that have a file, sorted; empty without a `suites/` folder."""
    return sorted(
        path.stem
        for path in (root / FOLDER).glob("*.toml")
        if system_name_problem(path.stem) is None
    )


def read_suite(root: Path, name: str) -> SuiteFile:
    """Return one suite of a registry, checked.

    Args:
        root: The registry's root, which holds `suites/`.
        name: The suite's name, without `.toml`.

    Raises:
        UsageMistake: There is no such suite, or something is wrong with it; every mistake is
            named.
    """
    problem = system_name_problem(name)
    if problem:
        raise UsageMistake(f"`{fitted(name, 60)}` cannot name a suite", hint=f"a name {problem}")
    return _SuiteReader(root, name).read()


class _SuiteReader:
    """Reads one suite and collects what is wrong with it."""

    def __init__(self, root: Path, name: str) -> None:
        self._root = root
        self._name = name
        self._mistakes = Mistakes()
        self._files: dict[str, bytes] = {}
        self._lines = KeyLines("", "")

    def read(self) -> SuiteFile:
        tables = self._tables()
        table = suite_table(tables.get("suite"), self._lines, self._mistakes)
        specs = self._scorers(tables.get("scorers"))
        cases_path = _cases_path(tables, self._name)
        cases = self._cases(cases_path, specs) if cases_path else []
        self._complain()
        assert table is not None
        suite = Suite(
            system=table.system,
            name=self._name,
            description=table.description,
            scorers=tuple(specs),
            repeats=table.repeats,
            seed=table.seed,
            timeout_s=table.timeout_s,
            cases=tuple(cases),
            files={path: digest_bytes(data) for path, data in self._files.items()},
        )
        return SuiteFile(suite, self._files)

    def _tables(self) -> dict[str, Any]:
        shown_name = f"{FOLDER}/{self._name}.toml"
        path = self._inside(f"{self._name}.toml")
        data = read_plain_file(path, follow_links=True) if path else None
        self._complain()
        if data is None:
            raise self._no_suite(shown_name)
        tables = parse_toml(Path(shown_name), data)
        self._lines = KeyLines(shown_name, data.decode())
        for key in tables.keys() - {"suite", "scorers"}:
            self._mistakes.add(
                f"{self._lines.place(key)}: `{fitted(key, 40)}` is not a part of a suite file",
                suggestion(key, ("suite", "scorers")),
            )
        return tables

    def _no_suite(self, shown_name: str) -> UsageMistake:
        names = suite_names(self._root)
        close = nearest(self._name, names)
        hint = f"write `{shown_name}`, or run `lockgate init` for a first suite"
        if close:
            hint = f"did you mean `{close}`?"
        elif names:
            hint = f"there are {', '.join(f'`{name}`' for name in names[:20])}"
        return UsageMistake(f"suite `{self._name}` has no file `{shown_name}`", hint=hint)

    def _scorers(self, written: Any) -> list[ScorerSpec]:
        if not isinstance(written, list) or not written:
            self._mistakes.add(
                f"{self._lines.place('scorers')} has no scorer",
                'write `[[scorers]]` with `metric = "accuracy"` and `kind = "exact"`',
            )
            return []
        self._check_metrics(written)
        specs: list[ScorerSpec] = []
        for index, one in enumerate(written):
            before = self._mistakes.count
            table = scorer_table(one, index, self._lines, self._mistakes)
            options = self._checked_options(table, index) if table else {}
            if table and self._mistakes.count == before:
                specs.append(
                    ScorerSpec(table.metric, table.kind, table.field, table.expected, options)
                )
        return specs

    def _check_metrics(self, written: list[Any]) -> None:
        first_index: dict[str, int] = {}
        for index, one in enumerate(written):
            metric = one.get("metric") if isinstance(one, dict) else None
            if not isinstance(metric, str):
                continue
            place = self._lines.place("scorers", "metric", index)
            first = first_index.setdefault(metric, index)
            if first != index:
                other = self._lines.place("scorers", "metric", first)
                self._mistakes.add(
                    f"{place}: metric `{fitted(metric, 40)}` stands in {other} already",
                    "give every scorer a metric of its own",
                )
            if is_score(metric) and reads_like_no_score(metric):
                self._mistakes.add(
                    f"{place}: metric `{fitted(metric, 40)}` reads like milliseconds or tokens, "
                    "and a scorer gives a fraction from 0 to 1",
                    "choose a name that neither ends in `_ms` nor begins with `tokens`",
                )
            if not is_score(metric):
                self._mistakes.add(
                    f"{place}: metric `{metric}` is measured in every run already",
                    "choose another name; rules can use this one without a scorer",
                )

    def _checked_options(self, table: ScorerTable, index: int) -> dict[str, Any]:
        """Return a scorer's options with its files read and its contents checked."""
        options = table.options()
        if table.kind == "regex" and "pattern" in options:
            problem = pattern_problem(options["pattern"])
            if problem:
                place = self._lines.place("scorers", "pattern", index)
                what = f"`pattern` is `{fitted(options['pattern'], 60)}`, which {problem}"
                self._mistakes.add(f"{place}: {what}", "write it in single quotes: '[0-9]+'")
        if table.kind == "json_schema":
            self._read_schema(options, index)
        if table.kind == "python":
            self._read_function(options, index)
        return options

    def _read_schema(self, options: dict[str, Any], index: int) -> None:
        place = self._lines.place("scorers", "schema", index)
        schema = options["schema"]
        if isinstance(schema, str):
            data = self._beside(schema, f"{place}: `schema`")
            schema = self._json(data, schema) if data is not None else None
            if schema is None:
                return
        for problem in _schema_problems(schema):
            self._mistakes.add(
                f"{place}: {problem}", "write a JSON Schema that needs no other document"
            )
        options["schema"] = schema

    def _json(self, data: bytes, path: str) -> Any:
        name = f"{FOLDER}/{shown(path)}"
        try:
            return read_json(data.decode())
        except json.JSONDecodeError as error:
            what = error.msg[:1].lower() + error.msg[1:]
            where = f"{name} line {error.lineno} column {error.colno}: not JSON: {what}"
        except UnicodeDecodeError as error:
            where = f"{name}: byte {error.start} is not UTF-8 text"
        except RecursionError:
            where = f"{name}: nested too deeply"
        except ValueError as error:
            where = f"{name}: {error}"
        self._mistakes.add(where, "the file is one JSON Schema")
        return None

    def _read_function(self, options: dict[str, Any], index: int) -> None:
        path, function = options["file"], options["function"]
        place = self._lines.place("scorers", "file", index)
        data = self._beside(path, f"{place}: `file`")
        if data is None:
            return
        self._files[path] = data
        name = f"{FOLDER}/{shown(path)}"
        functions = self._functions(data, name)
        if functions is not None and function not in functions:
            place = self._lines.place("scorers", "function", index)
            self._mistakes.add(
                f"{place}: {name} has no function `{function}`",
                suggestion(function, functions)
                if functions
                else f"write `def {function}(expected, output, input):` there, outside any class",
            )

    def _functions(self, data: bytes, name: str) -> list[str] | None:
        """Return the functions a Python file defines, or `None` after telling why it has none."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module = ast.parse(data)
        except SyntaxError as error:
            where = f"{name} line {error.lineno}: not Python: {error.msg}"
        except (ValueError, RecursionError, MemoryError) as error:
            where = f"{name}: not Python: {error}"
        else:
            return [node.name for node in module.body if isinstance(node, ast.FunctionDef)]
        self._mistakes.add(where, "correct that line")
        return None

    def _cases(self, path: str, specs: list[ScorerSpec]) -> list[Case]:
        name = f"{FOLDER}/{shown(path)}"
        found = self._inside(path)
        if found is None:
            return []
        try:
            descriptor = os.open(found, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            what = "does not exist" if isinstance(error, FileNotFoundError) else "cannot be read"
            where = self._lines.place("suite", "cases").removeprefix(self._lines.name)
            self._mistakes.add(
                f"{name} {what}",
                f"write one case per line there, or correct `cases` in {self._lines.name}{where}",
            )
            return []
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            self._mistakes.add(f"{name} is not an ordinary file", "put a file with cases there")
            return []
        with os.fdopen(descriptor, "rb", buffering=1 << 20) as file:
            return read_cases(file, name, partial(_unusable, specs), self._mistakes)

    def _beside(self, path: str, what: str) -> bytes | None:
        """Return the bytes of a file below `suites/`, or `None` after telling why not."""
        found = self._inside(path)
        data = read_plain_file(found, follow_links=True) if found else None
        if found and data is None:
            self._mistakes.add(
                f"{what} is `{shown(path)}`, which does not exist",
                f"write it as `{FOLDER}/{shown(path)}`; paths begin in `{FOLDER}/`",
            )
        return data

    def _inside(self, path: str) -> Path | None:
        """Return a path below `suites/`, or `None` after telling that it leads out of the root."""
        found = self._root / FOLDER / path
        with contextlib.suppress(OSError, RuntimeError):  # a link that leads to itself
            if found.resolve().is_relative_to(self._root.resolve()):
                return found
        self._mistakes.add(
            f"{FOLDER}/{shown(path)} is a link that does not stay in the registry's folder",
            "copy the file to that place instead",
        )
        return None

    def _complain(self) -> None:
        found = self._mistakes
        if found.count == 1:
            raise UsageMistake(found.told[0].what, hint=found.told[0].hint)
        if found.count:
            problems = [f"{mistake.what}; {mistake.hint}" for mistake in found.told]
            rest = found.count - len(found.told)
            raise UsageMistake(
                f"suite `{self._name}` has {found.count} mistakes",
                problems=[*problems, f"and {rest} more"] if rest else problems,
                hint="correct every line named above, then run the command again",
            )


def _cases_path(tables: Mapping[str, Any], name: str) -> str | None:
    """Return where the cases are, or `None` when the suite file says it in a way it may not."""
    table = tables.get("suite")
    written = table.get("cases") if isinstance(table, dict) else None
    if written is None:
        return f"{name}.jsonl"
    return written if isinstance(written, str) and path_problem(written) is None else None


def _unusable(specs: list[ScorerSpec], case: Case, has_expected: bool) -> list[str]:
    if not has_expected:
        needing = [f"`{spec.metric}`" for spec in specs if needs_expected(spec)]
        if needing:
            return [f"`expected` is missing, which {', '.join(needing)} needs"]
    return [problem for spec in specs if (problem := expected_problem(spec, case))]


def _schema_problems(schema: Any) -> Iterator[str]:
    jsonschema: Any = importlib.import_module("jsonschema")
    try:
        canonical_json(schema)
    except (ValueError, RecursionError) as error:
        yield f"the schema holds something that JSON does not have: {fitted(error, 100)}"
        return
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        yield f"not a JSON Schema: {fitted(error.message, 100)} at `{fitted(error.json_path, 60)}`"
        return
    except RecursionError:
        yield "not a JSON Schema: nested too deeply"
        return
    yield from _inner_problems(schema, schema)


def _inner_problems(part: Any, schema: Any) -> Iterator[str]:
    """Tell references that lead elsewhere or nowhere, and patterns that are none."""
    if isinstance(part, list):
        for inner in part:
            yield from _inner_problems(inner, schema)
    if not isinstance(part, dict):
        return
    for key, value in part.items():
        if key in ("$ref", "$dynamicRef") and isinstance(value, str):
            if not _leads_somewhere(value, schema):
                yield f"`{key}` is `{fitted(value, 60)}`, which this schema does not have"
        elif key == "pattern" and isinstance(value, str) and value:
            problem = pattern_problem(value)
            if problem:
                yield f"`pattern` is `{fitted(value, 60)}`, which {problem}"
        else:
            yield from _inner_problems(value, schema)


def _leads_somewhere(reference: str, schema: Any) -> bool:
    if reference == "#":
        return True
    if not reference.startswith("#/"):
        return False
    for part in reference[2:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(schema, dict) and key in schema:
            schema = schema[key]
        elif isinstance(schema, list) and key.isdigit() and int(key) < len(schema):
            schema = schema[int(key)]
        else:
            return False
    return True
