"""Run the benchmarks and keep their tables in ``benchmarks/README.md``.

python -m benchmarks [name ...]
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import os
import platform
import re

from benchmarks.measure import ROOT

NAMES = (
    "sensor_data", "contract", "sandbox_overhead", "application",
    "inspection", "backbones", "serving", "inspection_line", "defect_images", "synthetic_lift",
    "layouts", "scenes", "detection", "curation",
)  # fmt: skip
# These measure on photos that are not part of the repository; DEFECTORY_PHOTOS names their folder.
ON_PHOTOS = ("inspection", "backbones", "synthetic_lift")
PAGE = ROOT / "benchmarks" / "README.md"


def machine() -> str:
    return f"{datetime.date.today()}, {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], metavar="name", help=", ".join(NAMES))
    for name in parser.parse_args().names or _possible():
        module = importlib.import_module(f"benchmarks.{name}")
        text = module.report()
        print(f"{name}\n\n{text}\n", flush=True)
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        page = PAGE.read_text(encoding="utf-8")
        section = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        if not section.search(page):
            raise SystemExit(f"{PAGE} lacks the section {begin.strip()} ... {end.strip()}; add it")
        section_text = f"{begin}{text}\n\n{machine()}\n{end}"
        PAGE.write_text(section.sub(lambda _: section_text, page), encoding="utf-8")  # noqa: B023


def _possible() -> list[str]:
    """All that can be measured here; says what cannot."""
    left_out = () if os.environ.get("DEFECTORY_PHOTOS") else ON_PHOTOS
    if left_out:
        print(f"Left out, because DEFECTORY_PHOTOS is not set: {', '.join(left_out)}\n")
    return [name for name in NAMES if name not in left_out]


if __name__ == "__main__":
    main()
