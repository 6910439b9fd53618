"""The policy finds what a script should not do, says what to do instead, and leaves honest code alone."""

from __future__ import annotations

import string
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from defectory.sensors.authors import ScriptTask, create_author
from defectory.sensors.policy import ALLOWED_MODULES, MAX_CHARACTERS, Violation, check_script

PEERS = Path(__file__).parents[3] / "benchmarks" / "peers"
MAIN = "\n\ndef main():\n    pass\n"

HONEST = '''
"""A boiler; see https://example.com/boiler."""
from __future__ import annotations

import argparse
import collections.abc
import json
import logging
import math
import random
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from string import Template
from typing import Any, ClassVar

import numpy as np
import numpy.random
import pandas as pd
import polars as pl
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from defectory.sensors.signals import Machine, Step

__version__ = "1.0"
__all__ = ["main"]
NAMES = {"on": "{} is on", "off": "{a} is off"}
TEMPLATE = "{name}: {value:.2f} {0[0]} {obj.attr}"
logger = logging.getLogger(__name__)


class State(Enum):
    RUN = "run"


@dataclass(frozen=True)
class Boiler:
    """Loads water."""

    PATTERN: ClassVar[str] = "{:.1f}"
    name: str = "Boiler"
    _wear: float = 0.0
    __secret: int = 3
    system: str = "steam"
    readings: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_wear", 0.1)
        self.__dict__.update(io=1)
        self.config, self.core, self.modules, self.loader, self.request = {}, 1.0, [], None, "x"

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self._wear}, {self.__secret}, {type(self).__name__}, {self.__doc__})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Boiler) and self._wear == other._wear and super().__eq__(other)


def simulate(input: float, compile: bool = False) -> Any:
    values = np.load("cache.npy") if Path("cache.npy").exists() else np.zeros(3)
    values = np.load("cache.npy", allow_pickle=False) if compile else values
    trapezoid = getattr(np, "trapezoid", None) if hasattr(np, "trapezoid") else np.trapz
    frame = pd.DataFrame({"a": values}).rename(columns={"a": "b"}).query("b > 0").eval("c = b + 1")
    frame.replace(0, 1).to_csv("data.csv", sep="/", index=False)
    setting = getattr(Boiler(), "system"), vars(argparse.Namespace()), frame.loc[0], datetime.now().replace(hour=1)
    pl.DataFrame(frame).write_csv("data.csv", datetime_format="%Y-%m-%d %H:%M:%S")
    Path("notes.txt").write_text("/a/b ~ ../c https://example.com {x}")
    with open("events.json", "w", encoding="utf-8") as events, Path("x").open("w") as other:
        json.dump({"homepage": "https://example.com", "ratio": "1/2", "{": "__init__"}, events)
    json.loads("{}"), math.exp(input), time.perf_counter(), random.seed(1)
    print(*map("{:.2f}".format, values), "{0} {name}".format(1, name="x"), "{:>{width}}".format(1, width=8))
    pl.select(pl.format("{}", pl.lit(1))), ("a {}" if compile else "b " + "{}").format(1), NAMES["on"].format(2)
    for pattern in ("{} on", "{} off"):
        print(pattern.format(1), frame.query("b > @input and c.abs() < 2").shape, "%(a)s" % {"a": 1})
    if argparse.Namespace(format="csv").format == "csv":
        print(Template("$who").substitute(who="me"), NAMES["off"].format_map({"a": 1}), Boiler.PATTERN.format(1))
    return TEMPLATE.format([1], name="x", value=1.0, obj=setting), "{:>8}".format("x"), sliding_window_view(values, 2)


def main() -> None:
    """Entry point; reads no /proc/cpuinfo and no AWS_PROFILE."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("."))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    simulate(input=1.0)
    logger.info("done %s %s", __file__, "--" * 10)
    raise SystemExit(0)


if __name__ == "__main__":
    main()
'''


def messages(source: str) -> str:
    return "\n".join(str(violation) for violation in check_script(source))


def test_honest_code_is_left_alone() -> None:
    assert messages(HONEST) == ""


@pytest.mark.parametrize("name", ["defectory_machine.py", "mixed_pandas.py", "row_loop.py", "vectorised_pandas.py"])
def test_scripts_in_the_style_of_models_are_left_alone(name: str) -> None:
    assert messages((PEERS / name).read_text()) == ""


def test_the_library_may_be_used_by_its_full_name() -> None:
    assert messages(f"import defectory.sensors.signals\nmachine = defectory.sensors.signals.Machine{MAIN}") == ""


@pytest.mark.parametrize("module", sorted(ALLOWED_MODULES - {"__future__"}))
def test_allowed_modules_may_be_imported(module: str) -> None:
    assert messages(f"import {module}\nimport {module} as alias{MAIN}") == ""


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os", "line 1: import of `os` is not allowed; use pathlib"),
        ("import sys", "raise SystemExit(code)"),
        ("import requests", "there is no network"),
        ("import subprocess as math", "`subprocess`"),
        ("import os.path", "`os.path`"),
        ("from os import system", "`os`"),
        ("from . import secrets", "relative import"),
        ("from math import *", "import the names you need"),
        ("import logging.handlers", "`logging.handlers`"),
        ("import numpy.ctypeslib", "`numpy.ctypeslib`"),
        ("import numpy._core", "`numpy._core`"),
        ("from numpy import f2py", "`f2py`"),
        ("from pathlib import os", "`os` from `pathlib`"),
        ("from random import _os", "`_os`"),
        ("import defectory.aws", "`defectory.aws`"),
        ("from defectory import aws", "`defectory`"),
        ("from defectory.sensors import sandbox", "`defectory.sensors.sandbox`"),
        ("import defectory.sensors.signals\ndefectory.run_script('x')", "`defectory.run_script`"),
        ("import defectory.sensors.signals\ndefectory.sensors.run_script('x')", "`defectory.sensors.run_script`"),
        ("import pathlib as p\np.os.getcwd()", "`os` of `p`"),
        ("import random\nrandom._os.getpid()", "`_os` of `random`"),
        ("import pandas as pd\npd.io.common", "`io` of `pd`"),
        ("import numpy as np\nnp.__dict__", "`__dict__` of `np`"),
        ("import numpy as np\ngetattr(np, 'o' + 's')", "`os` of `np`"),
        ("import numpy as np\ngetattr(np, 's'.join('o'))", "`getattr` on a module"),
        ("import numpy as np\ngetattr(np, 'ctypeslib')", "`ctypeslib` of `np`"),
        ("getattr(print, '__self__')", "`__self__` leads into the interpreter"),
        ("().__class__.__bases__[0].__subclasses__()", "`__subclasses__`"),
        ("main.__globals__", "`__globals__`"),
        ("main.__code__.co_consts", "`__code__`"),
        ("type.__mro__", "`__mro__`"),
        ("[].__reduce_ex__(2)", "`__reduce_ex__`"),
        ("eval('1')", "`eval` is not allowed"),
        ("run = exec", "`exec` is not allowed"),
        ("__import__('os')", "`__import__` is not allowed"),
        ("print(__builtins__)", "`__builtins__` is not allowed"),
        ("globals()['x'] = 1", "`globals` is not allowed"),
        ("compile('1', '', 'eval')", "`compile` is not allowed"),
        ("x = input('?')", "nobody is there to answer"),
        ("breakpoint()", "nobody is there to debug"),
        ("'{0.__class__.__init__}'.format(1)", "a format that reaches `__class__`"),
        ("import logging\nprint('{0.os.environ}'.format(logging))", "a format that reaches `os` is not allowed"),
        ("import logging\n'{x:{x.os.name}}'.format_map({'x': logging})", "a format that reaches `os`"),
        ("'{0[__builtins__]}'.format({})", "a format that reaches `__builtins__`"),
        ("import logging\nlogging.basicConfig(format='{msg.sys.path!r}', style='{')", "a format that reaches `sys`"),
        ("x = '{0.o' + 's.name}'", "a format that reaches `os`"),
        ("x = ('{0.o' + 's') + '.name}'", "a format that reaches `os`"),
        ("def show(text, x):\n    return text.format(x)", "`format` of a text that is not written out"),
        ("x = chr(123)\nx.format(1)", "`format` of a text that is not written out"),
        ("x = '{}'\nx += chr(125)\nx.format(1)", "`format` of a text that is not written out"),
        ("for x in list('{}'):\n    x.format(1)", "`format` of a text that is not written out"),
        ("''.join('{}').format(1)", "`format` of a text that is not written out"),
        ("f'{1}'.format(1)", "`format` of a text that is not written out"),
        ("{'a': str(1)}['a'].format(1)", "`format` of a text that is not written out"),
        ("import string\nstring.Formatter().format(main, 1)", "use an f-string"),
        ("import string\nstring.Formatter().vformat('{}', (1,), {})", "`vformat`"),
        ("import string\nstring.Formatter().get_field('0.a', (1,), {})", "`get_field`"),
        ("class Text(str):\n    def show(self):\n        return super().format(1)", "use an f-string"),
        ("str.format('{}', 1)", "`str.format` is not allowed; use an f-string"),
        ("list(map(str.format, ['{}']))", "`str.format` is not allowed"),
        ("import functools\nfunctools.reduce(getattr, ['a'], main)", "`getattr` handed on"),
        ("reach = vars", "`vars` handed on"),
        ("vars()['x'] = 1", "`vars` without an argument"),
        ("locals()['x'] = 1", "`locals` is not allowed"),
        ("main.__dict__['__builtins__']", "the name `__builtins__` leads into the interpreter"),
        ("getattr(main, '__glo' + 'bals__')", "`__globals__` leads into the interpreter"),
        ("import logging\nmodule = logging\nmodule.os", "`os` of `module`"),
        ("import logging\nmatch logging:\n    case object(os=x):\n        pass", "`os` of `logging`"),
        ("match main:\n    case object(__globals__=x):\n        pass", "`__globals__` leads into the interpreter"),
        ("import pandas as pd\npd.eval('@pd.io.common.os.name')", "an expression that reaches `io`"),
        ("import pandas as pd\npd.DataFrame().query(expr=f'@pd.io.x == {1}')", "an expression that reaches `io`"),
        ("import pandas as pd\npd.DataFrame().eval('a.__class__')", "an expression that reaches `__class__`"),
        ("import numpy as np\nnp.zeros(1).ctypes", "`ctypes` is not allowed"),
        ("import numpy as np\nnp.fromfile('/etc/hostname')", "outside the working directory"),
        ("import numpy as np\nnp.load('../x.npy')", "outside the working directory"),
        ("import numpy as np\nnp.memmap(filename='/dev/mem')", "outside the working directory"),
        ("import pandas as pd\npd.read_pickle('x')", "pickles run code"),
        ("import numpy as np\nnp.load('x', allow_pickle=True)", "`allow_pickle`"),
        ("import numpy as np\nnp.load('x', allow_pickle=bool(1))", "`allow_pickle`"),
        ("import pandas as pd\npd.read_csv('https://example.com/x.csv')", "there is no network"),
        ("import pandas as pd\npd.read_csv(filepath_or_buffer='s3://bucket/x')", "there is no network"),
        ("import polars as pl\npl.scan_parquet('s3://bucket/x')", "there is no network"),
        ("import numpy as np\nnp.lib.npyio.DataSource()", "`DataSource`"),
        ("open('/etc/hostname')", "outside the working directory"),
        ("open('../x', 'w')", "outside the working directory"),
        ("open('~/x', 'w')", "outside the working directory"),
        ("from pathlib import Path\nPath('a/../../b')", "outside the working directory"),
        ("from pathlib import Path\nPath.home()", "`Path.home()`"),
        ("from pathlib import Path\nPath('x').unlink()", "`unlink`"),
        ("from pathlib import Path\nPath('x').symlink_to('y')", "links are refused"),
        ("x = 'http://169.254.169.254/latest'", "credentials"),
        ("x = 'AWS_SECRET_ACCESS_KEY'", "credentials"),
        ("x = '/proc/self/environ'", "credentials"),
        ("x = '/home/me/.aws/credentials'", "credentials"),
        ("x = f'{1}/etc/shadow'", "credentials"),
    ],
)
def test_what_leads_outside_is_named(code: str, said: str) -> None:
    assert said in messages(code + MAIN)


def test_a_violation_tells_its_line() -> None:
    source = "import math\n\n\ndef main():\n    eval('1')\n    import os\n"

    assert [(violation.line, str(violation)[:8]) for violation in check_script(source)] == [
        (5, "line 5: "),
        (6, "line 6: "),
    ]


@pytest.mark.parametrize("source", ["", "x = 1", "class main: pass", "def f():\n    def main(): pass", "main = print"])
def test_a_script_needs_a_main_function(source: str) -> None:
    assert "no function `main` at the top level" in messages(source)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("def main(:", 1),
        ("\n\nreturn 1", 3),
        ("def main():\n\tif 1:\n        x", 3),
        ("nonlocal x", 1),
        ("0" * 3 + "1", 1),
    ],
)
def test_what_does_not_compile_tells_its_line(source: str, line: int) -> None:
    (violation,) = check_script(source)

    assert violation.line == line
    assert "does not compile" in violation.message


def test_a_script_has_a_largest_size() -> None:
    comment = "#" * (MAX_CHARACTERS - len(MAIN))

    assert check_script(comment + MAIN) == []
    assert str(MAX_CHARACTERS) in messages("#" + comment + MAIN)


@pytest.mark.parametrize(
    "source",
    [
        "x = 'a\0b'",
        "x = '\ud800'",
        "-" * 50_000 + "1",
        "(" * 50_000,
        "[" * 199 + "]" * 199,
        "+".join(["1"] * 40_000),
        "a" + ".b" * 45_000,
        "a" + "()" * 45_000,
        "a" + "[0]" * 30_000,
        "lambda:" * 14_000 + "1",
        "not " * 20_000 + "1",
        "1 if a else " * 8_000 + "1",
        "if a:pass\n" + "elif a:pass\n" * 8_000,
        "import " + "a." * 1000 + "a",
        "1" * 90_000,
        "x = 9**9**9**9",
        "x = 'a' * 10**12",
        "x = 1 << 10**12",
        textwrap.dedent("\ufeffx = 1"),
        "import\u00a0os",
    ],
    ids=lambda source: ascii(source[:12]),
)
def test_hostile_source_is_a_violation_not_an_accident(source: str) -> None:
    found = check_script(source)

    assert found
    assert all(len(violation.message) < 500 for violation in found)


@given(st.text(max_size=300))
def test_no_text_is_an_accident(source: str) -> None:
    assert all(isinstance(violation, Violation) for violation in check_script(source))


WORDS = st.sampled_from([
    "import ", "os", "main", "def ", "()", ":", "\n", "    ", "pass", ".", "__class__", "getattr", "open", "'/x'", ",",
    "=", "np", "eval", "*", "from ", "[", "]", "{", "}", "f'", "'", "lambda ", "0", "\\", "#", "match ", "case ", "_",
])  # fmt: skip


@given(st.lists(WORDS, max_size=40).map("".join))
def test_no_mix_of_words_is_an_accident(source: str) -> None:
    assert check_script(source) == sorted(check_script(source), key=lambda v: (v.line, v.message))


@given(st.text(string.ascii_lowercase, min_size=1, max_size=12).filter(lambda name: name not in ALLOWED_MODULES))
def test_no_other_module_may_be_imported(name: str) -> None:
    if name.isidentifier() and check_script(f"{name} = 1{MAIN}") == []:
        assert f"`{name}`" in messages(f"import {name}{MAIN}")


def test_the_catalogues_own_scripts_keep_the_policy() -> None:
    author = create_author("catalogue")
    (machine,) = author.list_machines("semiconductor", 1).names

    assert messages(author.write_script(ScriptTask("semiconductor", machine, 2025, 7)).source) == ""
