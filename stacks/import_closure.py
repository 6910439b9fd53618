"""What a program imports of a library, found in the source without running it.

Imports within functions count, because a function that is deployed may call them; those under ``if TYPE_CHECKING:`` do
not, because nothing runs them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import defectory
from defectory.errors import DefectoryError

LIBRARY = Path(defectory.__file__).parent


class MissingImportError(DefectoryError):
    """A program, or a module that it needs, imports what is not there."""

    code = "MissingImport"


@dataclass(frozen=True, slots=True)
class ImportClosure:
    """The modules of a library that some programs need, and what is loaded from elsewhere as soon as they are."""

    files: tuple[Path, ...]
    """Modules, the packages around them, and those packages' data files, in a fixed order."""

    others: dict[str, str]
    """Top-level names of other packages that are imported on loading, and where (``file, line``)."""


def import_closure(programs: Iterable[Path], *, packages: Iterable[str] = (), library: Path = LIBRARY) -> ImportClosure:
    """What ``programs`` need of the package in the folder ``library``, and all of ``packages`` (``defectory.sensors``).

    Data files (``*.yaml``, templates, ``py.typed``) go with their package: a module reads those that lie beside it.

    Raises:
        MissingImportError: an import names a module of the library, or a name in one, that does not exist.
    """
    search = _Search(library)
    for program in programs:
        search.follow(program, "", on_loading=True)
    for package in packages:
        for file in sorted(library.parent.joinpath(*package.split(".")).rglob("*.py")):
            name = file.relative_to(library.parent).with_suffix("").as_posix().replace("/", ".")
            search.reach(name.removesuffix(".__init__"), f"the package {package}", on_loading=True)
    files = {file for name in search.modules for file in _with_data(search.found(name, ""))}
    return ImportClosure(tuple(sorted(files)), search.others)


@dataclass(frozen=True, slots=True)
class _Import:
    """One import: of ``module``, and of ``names`` from it if any."""

    module: str
    names: tuple[str, ...]
    line: int
    on_loading: bool


@dataclass(slots=True)
class _Search:
    library: Path
    # Modules by whether they are loaded as soon as the programs are.
    modules: dict[str, bool] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)
    # Where modules are; None for what is no module.
    _places: dict[str, Path | None] = field(default_factory=dict)

    def follow(self, file: Path, module: str, *, on_loading: bool) -> None:
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        for imported in _imports(file, package):
            where = f"{file}, line {imported.line}"
            now = on_loading and imported.on_loading
            root = imported.module.partition(".")[0]
            if root == self.library.name:
                self._add(imported, where, now)
            elif now:
                self.others.setdefault(root, where)

    def _add(self, imported: _Import, where: str, on_loading: bool) -> None:
        self.reach(imported.module, where, on_loading=on_loading)
        for name in imported.names:
            inner = f"{imported.module}.{name}"
            if self._place(inner):
                self.reach(inner, where, on_loading=on_loading)
            elif name != "*" and name not in _bound_names(self.found(imported.module, where)):
                raise MissingImportError(
                    f"{where}: {imported.module} has no {name}. Correct the import, or import the name from the module "
                    "that defines it: what a package offers on demand alone is not seen here."
                )

    def reach(self, module: str, where: str, *, on_loading: bool) -> None:
        parts = module.split(".")
        for name in (".".join(parts[: end + 1]) for end in range(len(parts))):
            if self.modules.get(name, False) or (name in self.modules and not on_loading):
                continue
            file = self.found(name, where)
            self.modules[name] = on_loading
            self.follow(file, name, on_loading=on_loading)

    def found(self, module: str, where: str) -> Path:
        file = self._place(module)
        if file is None:
            raise MissingImportError(f"{where}: there is no module {module}. Correct the import, or add the module.")
        return file

    def _place(self, module: str) -> Path | None:
        if module not in self._places:
            path = self.library.parent.joinpath(*module.split("."))
            candidates = (path / "__init__.py", path.with_name(f"{path.name}.py"))
            self._places[module] = next((file for file in candidates if file.is_file()), None)
        return self._places[module]


def _with_data(file: Path) -> Iterator[Path]:
    yield file
    if file.name == "__init__.py":
        yield from _data(file.parent)


def _data(package: Path) -> Iterator[Path]:
    """The data files of a package: those beside its modules, and those in folders that hold no modules at all."""
    for path in package.iterdir():
        if path.name.startswith((".", "__pycache__")):
            continue
        if path.is_dir():
            if not any(path.rglob("*.py")):
                yield from (file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
        elif path.suffix not in (".py", ".pyc"):
            yield path


@cache
def _tree(file: Path, modified: int) -> ast.Module:
    return ast.parse(file.read_bytes(), str(file))


def _imports(file: Path, package: str) -> tuple[_Import, ...]:
    """The imports of a module that lies in ``package``; many functions need the same modules."""
    return _parsed_imports(file, file.stat().st_mtime_ns, package)


@cache
def _parsed_imports(file: Path, modified: int, package: str) -> tuple[_Import, ...]:
    # Only a call imports from within an expression; where there is none, three quarters of the tree need no look.
    calls = b"import_module" in file.read_bytes()
    return tuple(_walk_imports(_tree(file, modified), package, expressions=calls))


def _walk_imports(tree: ast.Module, package: str, *, expressions: bool) -> Iterator[_Import]:
    # Statements, and whether they run when the module is loaded and have to succeed.
    waiting: list[tuple[ast.AST, bool]] = [(tree, True)]
    while waiting:
        node, on_loading = waiting.pop()
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                waiting += ((inner, on_loading) for inner in node.orelse)
                continue
            case ast.Import():
                yield from (_Import(alias.name, (), node.lineno, on_loading) for alias in node.names)
            case ast.ImportFrom():
                around = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
                module = ".".join([*around, *([node.module] if node.module else [])])
                yield _Import(module, tuple(alias.name for alias in node.names), node.lineno, on_loading)
            case ast.Call(
                func=ast.Name(id="import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                yield _Import(module, (), node.lineno, on_loading)
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.Try)
        waiting += (
            (inner, on_loading and not later)
            for inner in ast.iter_child_nodes(node)
            if expressions or not isinstance(inner, ast.expr)
        )


def _bound_names(file: Path) -> frozenset[str]:
    """The names that a module has once it is loaded."""
    return _parsed_names(file, file.stat().st_mtime_ns)


@cache
def _parsed_names(file: Path, modified: int) -> frozenset[str]:
    names: set[str] = {"__name__", "__file__", "__doc__"}
    waiting: list[ast.AST] = [_tree(file, modified)]
    while waiting:
        node = waiting.pop()
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                waiting += node.orelse
                continue
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
                continue
            case ast.Import() | ast.ImportFrom():
                names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
            case ast.Name(ctx=ast.Store()):
                names.add(node.id)
        waiting += ast.iter_child_nodes(node)
    return frozenset(names)
