"""The site that `make docs` builds into build/site: guides, decision records, and the reference made of docstrings."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import defectory

project = "Defectory"
copyright = "the authors of Defectory, MIT-0"
version = release = defectory.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinxcontrib.mermaid"]
html_theme = "furo"
html_title = f"Defectory {version}"
html_copy_source = False
exclude_patterns = ["images"]

# Links to headings of other pages are checked as links to pages are.
myst_heading_anchors = 3
myst_fence_as_directive = ["mermaid"]

# Docstrings name things in single back quotes, as in Markdown.
default_role = "code"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
python_maximum_signature_line_length = 88

ROOMS = (
    "defectory",
    "defectory.sensors.signals",
    "defectory.sensors",
    "defectory.datasets",
    "defectory.images",
    "defectory.inspection",
    "defectory.vision",
    "defectory.metrics",
    "defectory.errors",
)


def write_reference(folder: Path) -> None:
    """One page a room: the names that it offers, or, where it offers none by itself, those of its modules.

    What several rooms offer is described once, in the room it is from; the front door's page leads there.
    """
    folder.mkdir(exist_ok=True)
    described: set[str] = set()
    for room in ROOMS:
        package = import_module(room)
        title = f"``{room}``"
        lines = [title, "=" * len(title), "", (package.__doc__ or "").strip(), ""]
        for name in sorted(getattr(package, "__all__", ())):
            member = getattr(package, name)
            place = f"{getattr(member, '__module__', '')}.{name}"
            if not place.startswith("defectory"):
                continue
            if room == "defectory" or place in described:
                summary = (member.__doc__ or "").strip().partition("\n")[0]
                lines += [f"* :py:obj:`{name} <{place}>`: {summary}"]
                continue
            described.add(place)
            kind = "autofunction" if not isinstance(member, type) else "autoclass"
            if isinstance(member, type) and issubclass(member, Exception):
                kind = "autoexception"
            lines += ["", f".. {kind}:: {place}", *([] if kind == "autofunction" else ["   :members:"]), ""]
        for module in modules(room):
            lines += [f".. automodule:: {module}", "   :members:", ""]
        write(folder / f"{room.replace('.', '-')}.rst", "\n".join(lines) + "\n")
    pages = "\n".join(f"   {room.replace('.', '-')}" for room in ROOMS)
    write(folder / "index.rst", f"Reference\n=========\n\n.. toctree::\n\n{pages}\n")


def modules(room: str) -> list[str]:
    """The modules of a package that offers nothing by itself."""
    package = import_module(room)
    if hasattr(package, "__all__"):
        return []
    if not hasattr(package, "__path__"):
        return [room]
    (folder,) = package.__path__
    return [f"{room}.{file.stem}" for file in sorted(Path(folder).glob("*.py")) if file.stem != "__init__"]


def write(page: Path, content: str) -> None:
    """Leave pages alone that have not changed, so that they are not built again."""
    if not page.is_file() or page.read_text(encoding="utf-8") != content:
        page.write_text(content, encoding="utf-8")


write_reference(Path(__file__).parent / "reference")
