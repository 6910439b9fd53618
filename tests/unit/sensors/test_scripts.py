"""The program out of what models really write: never a draft where a correction follows, never a truncated one."""

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from defectory.errors import ReplyError
from defectory.sensors.scripts import extract_script

CODE = '''"""Plasma etcher data."""

import numpy as np


class Etcher:
    """One chamber."""

    def run(self, minutes):
        """Return pressures."""
        return np.full(minutes, 12.5)


def main():
    """Write the data."""
    print(Etcher().run(3))


if __name__ == "__main__":
    main()
'''
DRAFT = CODE.replace("12.5", "99.0")
LIBRARY_ONLY = 'class Etcher:\n    """One chamber."""\n'
FENCED_DOCSTRING = CODE.replace(
    '"""Plasma etcher data."""',
    '"""Plasma etcher data.\n\nUsage:\n\n```python\nmain()\n```\n\n~~~\n$ python etcher.py\n~~~\n"""',
)
FENCED_STRING = CODE.replace("print(", 'readme = """\n```\ndata.csv\n```\n"""\n    print(readme, ')


def fence(code, tag="python", mark="```"):
    return f"{mark}{tag}\n{code}{mark}"


def indented(text, by="   "):
    return textwrap.indent(text, by)


REPLIES = {
    "as asked": f"{fence(CODE)}\n<error>CHECKED: NO ERRORS</error>",
    "as asked, without tag": f"{fence(CODE)}\nCHECKED: NO ERRORS",
    "no language": fence(CODE, ""),
    "py": fence(CODE, "py"),
    "Python3": fence(CODE, "Python3"),
    "space before the language": fence(CODE, " python"),
    "file name after the language": fence(CODE, "python title=etcher.py"),
    "tildes": fence(CODE, "python", "~~~"),
    "four backticks": fence(CODE, "python", "````"),
    "CRLF": fence(CODE).replace("\n", "\r\n"),
    "old Mac line ends": fence(CODE).replace("\n", "\r"),
    "byte order mark": "\ufeff" + fence(CODE),
    "preamble and farewell": f"Sure, here it is:\n\n{fence(CODE)}\n\nRun it with `python etcher.py`. Enjoy!",
    "fence on the line of the preamble": f"Here is the script: {fence(CODE)}",
    "fence on the last line of the code": f"```python\n{CODE.rstrip()}```",
    "usage after it": f"{fence(CODE)}\nRun it:\n```bash\npip install numpy\npython etcher.py\n```\n",
    "output after it": f"{fence(CODE)}\nIt prints:\n```\n[12.5 12.5 12.5]\n```",
    "data after it": f"{fence(CODE)}\n```csv\nTimestamp,Pressure\n```\n```json\n{{}}\n```",
    "snippet after it": f"{fence(CODE)}\nTo change the pressure:\n```python\nx = Etcher().run(3)\n```",
    "partial class after it": f"{fence(CODE)}\nYou might extend it:\n{fence(LIBRARY_ONLY)}",
    "corrected after error": f"{fence(DRAFT)}\n<error>\n1. Pressure too high\n</error>\n{fence(CODE)}",
    "corrected and checked": (
        f"{fence(DRAFT)}\n<error>1. wrong</error>\n{fence(CODE)}\n<error>CHECKED: NO ERRORS</error>"
    ),
    "corrected inside the error tag": f"{fence(DRAFT)}\n<error>wrong, so:\n{fence(CODE)}\n</error>",
    "corrected without a tag": f"{fence(DRAFT)}\nThat has a bug. Fixed:\n{fence(CODE)}",
    "errors quote code": f"{fence(CODE)}\n<error>\n```python\nreturn np.full(minutes, 12.5)\n```\nis fine.\n</error>",
    "draft that does not compile": f"{fence(DRAFT[:-40])}\n<error>cut</error>\n{fence(CODE)}",
    "correction cut off": f"{fence(CODE)}\n<error>better names</error>\n```python\n{DRAFT[:200]}",
    "correction does not compile": f"{fence(CODE)}\n<error>typo</error>\n{fence(DRAFT.replace('def run(', 'def run'))}",
    "draft never closed": f"```python\n{DRAFT}\n<error>wrong</error>\n{fence(CODE)}",
    "unclosed fence": f"```python\n{CODE}",
    "unclosed fence after text": f"Here is the code:\n\n```python\n{CODE}",
    "no fence": CODE,
    "no fence, heading": f"# Plasma Etcher\n\nHere is the script.\n\n{CODE}",
    "no fence, preamble": f"Here is the script.\n\n{CODE}",
    "no fence, check": f"{CODE}\n<error>CHECKED: NO ERRORS</error>",
    "no fence, farewell": f"{CODE}\nThis script simulates a plasma etcher.",
    "no fence, corrected": f"{DRAFT}\n<error>wrong</error>\n{CODE}",
    "thinking": f"<thinking>\nFirst a draft:\n{fence(DRAFT)}\n</thinking>\n{fence(CODE)}",
    "only a draft in thinking after it": f"{fence(CODE)}\n<scratchpad>\n{fence(DRAFT)}\n</scratchpad>",
    "end of thinking only": f"A draft:\n{fence(DRAFT)}\n</think>\n{fence(CODE)}",
    "thinking never closed": f"<think>\nLet me write it.\n{fence(CODE)}",
    "indented under a list": f"1. Save this:\n\n{indented(fence(CODE))}\n\n2. Run it.",
    "indented under a list, unclosed": f"1. Save this:\n\n{indented('```python' + chr(10) + CODE)}",
    "indented by tabs": f"1. Save this:\n\n{indented(fence(CODE), chr(9))}\n",
    "code indented, fence not": fence(indented(CODE, "    ")),
    "blank lines around": fence(f"\n\n\n{CODE}\n\n\n"),
    "two files, the last one whole": f"{fence(LIBRARY_ONLY, 'python etcher.py')}\n{fence(CODE, 'python main.py')}",
}


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_reads_what_models_write(reply):
    assert extract_script(reply) == CODE


@pytest.mark.parametrize("code", [FENCED_DOCSTRING, FENCED_STRING], ids=["docstring", "string"])
@pytest.mark.parametrize(
    "reply",
    ["```python\n{code}```", "```python\n{code}", "{code}", "```\n{draft}```\n<error>x</error>\n```\n{code}```\nDone."],
    ids=["closed", "unclosed", "bare", "corrected"],
)
def test_fences_inside_the_code_belong_to_it(code, reply):
    assert extract_script(reply.format(code=code, draft=DRAFT)) == code


def test_tabs_and_odd_line_separators_of_the_code_stay():
    code = 'def main():\n\tprint("a\u2028b\x0c")\n\n\nmain()\n'
    assert extract_script(fence(code)) == code


def test_an_example_call_in_a_comment_is_no_fence():
    code = CODE.replace("class Etcher", "# ```\n# Etcher().run(3)\n# ```\nclass Etcher")
    assert extract_script(fence(code)) == code


UNUSABLE = {
    "empty": ("", "(empty)"),
    "refusal": ("I'm sorry, but I can't help with that.", "it begins with: I'm sorry"),
    "explanation only": ("You could simulate it with NumPy and a random walk.", "it begins with: You could"),
    "cut off inside a line": (f"```python\n{CODE[: CODE.index('12.5') + 2]}", "does not compile: line"),
    "cut off between lines of main": (f"```python\n{CODE[: CODE.index('if __name__')]}", "cut off"),
    "cut off in the guard": (f"```python\n{CODE[: CODE.rindex('    main()')]}", "does not compile"),
    "closed but does not compile": (fence(CODE.replace("class Etcher:", "class Etcher")), "line 6: expected ':'"),
    "bare and does not compile": (CODE.replace("class Etcher:", "class Etcher"), "it begins with"),
    "no main": (fence(LIBRARY_ONLY), "no main function"),
    "main is a method": (fence("class App:\n    def main(self):\n        pass\n"), "no main function"),
    "other language": (fence("function main() { return 1; }", "javascript"), "does not compile"),
    "shell": (fence("pip install numpy", "bash"), "does not compile"),
    "null byte": (fence(CODE.replace("12.5", "12\x005")), "does not compile"),
    "mixed tabs": (fence("def main():\n        x = 1\n\tprint(x)\n"), "does not compile"),
    "only in thinking": (f"<think>\n{fence(CODE)}\n</think>\n", "expected one complete Python program"),
    "too deep": (fence("def main():\n    return " + "(" * 5000 + ")" * 5000 + "\n"), "does not compile"),
}


@pytest.mark.parametrize(("reply", "wrong"), UNUSABLE.values(), ids=UNUSABLE)
def test_reports_a_reply_without_a_whole_script(reply, wrong):
    with pytest.raises(ReplyError) as caught:
        extract_script(reply)
    assert "expected one complete Python program with a main function" in str(caught.value)
    assert wrong in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_cut_at_any_place_gives_all_or_nothing():
    """Given a reply cut off anywhere, then what is returned is the whole program or an error."""
    for reply in (fence(CODE), fence(FENCED_DOCSTRING), CODE, FENCED_STRING):
        whole = extract_script(reply)
        for length in range(len(reply)):
            try:
                script = extract_script(reply[:length])
            except ReplyError:
                continue
            assert script == whole or script.rstrip() == whole.rstrip()


def test_a_corrected_version_cut_at_any_place_leaves_a_whole_one():
    reply = f"{fence(DRAFT)}\n<error>Pressure</error>\n{fence(CODE)}"
    first = len(fence(DRAFT))
    for length in range(first, len(reply)):
        assert extract_script(reply[:length]) in (DRAFT, CODE)


marks = [
    "```",
    "```python",
    "~~~",
    "def main():",
    "    pass",
    "main()",
    "'''",
    "<error>",
    "</error>",
    "<think>",
    "</think>",
]
parts = st.sampled_from([*marks, "import os", "# x"])


@given(st.lists(st.one_of(parts, st.text(max_size=30)), max_size=25).map("\n".join))
def test_any_reply_gives_code_that_compiles_or_a_reply_error(reply):
    try:
        script = extract_script(reply)
    except ReplyError:
        return
    compile(script, "script", "exec")
    assert "def main" in script
    assert script.endswith("\n")


prose = st.text(alphabet=st.characters(exclude_characters="`~<>", exclude_categories=["Cs"]), max_size=80).map(
    lambda text: "Note: " + " ".join(text.split())
)


@given(prose, prose, st.sampled_from(["", "python", "py"]), st.integers(0, 3), st.sampled_from(["\n", "\r\n"]))
def test_the_last_whole_version_counts_whatever_surrounds_it(before, after, tag, drafts, line_end):
    versions = [fence(DRAFT.replace("99.0", str(n)), tag) for n in range(drafts)] + [fence(CODE, tag)]
    reply = f"{before}\n" + "\n<error>wrong</error>\n".join(versions) + f"\n{after}"
    assert extract_script(reply.replace("\n", line_end)) == CODE
