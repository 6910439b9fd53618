"""Machine names out of what models really write, and slugs that are safe wherever they go."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from defectory.errors import ReplyError
from defectory.sensors.machines import MAX_NAME, machine_slug, parse_machine_list, read_machine_names, unique_slugs

THREE = "1. Plasma Etcher\n2. Wire Bonder\n3. Reflow Oven"
PLAIN = ["Plasma Etcher", "Wire Bonder", "Reflow Oven"]

REPLIES = {
    "as asked": (f"```\n{THREE}\n```", PLAIN),
    "preamble and farewell": (
        f"Certainly! Here is a numbered list of 3 machines:\n\n```\n{THREE}\n```\n\n"
        "Let me know if you need more details about any of these machines:\n- cost\n- vendors",
        PLAIN,
    ),
    "no fence": (f"Here you go:\n\n{THREE}\n\nI hope this helps!", PLAIN),
    "language tag": (f"```text\n{THREE}\n```", PLAIN),
    "list starts on the fence's line": (f"```{THREE}```", PLAIN),
    "unclosed fence": (f"```\n{THREE}", PLAIN),
    "tildes": (f"~~~\n{THREE}\n~~~", PLAIN),
    "CRLF": ("```\r\n1. Plasma Etcher\r\n2. Wire Bonder\r\n3. Reflow Oven\r\n```\r\n", PLAIN),
    "parentheses": ("1) Plasma Etcher\n2) Wire Bonder\n3) Reflow Oven", PLAIN),
    "both parentheses": ("(1) Plasma Etcher\n(2) Wire Bonder\n(3) Reflow Oven", PLAIN),
    "full-width digits": ("１．Plasma Etcher\n２．Wire Bonder\n３．Reflow Oven", PLAIN),
    "circled digits": ("① Plasma Etcher\n② Wire Bonder\n③ Reflow Oven", PLAIN),
    "escaped markdown": ("1\\. Plasma Etcher\n2\\. Wire Bonder\n3\\. Reflow Oven", PLAIN),
    "number and dash": ("1 - Plasma Etcher\n2 - Wire Bonder\n3 – Reflow Oven", PLAIN),
    "number and colon": ("1: Plasma Etcher\n2: Wire Bonder\n3: Reflow Oven", PLAIN),
    "machine and number": ("Machine 1: Plasma Etcher\nMachine 2: Wire Bonder\nMachine 3: Reflow Oven", PLAIN),
    "right-aligned numbers": (
        "```\n" + "\n".join(f"{n:>2}. Machine Type {chr(64 + n)}{chr(64 + n)}" for n in range(1, 13)) + "\n```",
        [f"Machine Type {chr(64 + n)}{chr(64 + n)}" for n in range(1, 13)],
    ),
    "dashes": ("- Plasma Etcher\n- Wire Bonder\n- Reflow Oven", PLAIN),
    "asterisks": ("* Plasma Etcher\n* Wire Bonder\n* Reflow Oven", PLAIN),
    "dots": ("• Plasma Etcher\n•Wire Bonder\n•\tReflow Oven", PLAIN),
    "dash without a space": ("-Plasma Etcher\n-Wire Bonder\n-Reflow Oven", PLAIN),
    "task list": ("- [ ] Plasma Etcher\n- [x] Wire Bonder\n- [ ] Reflow Oven", PLAIN),
    "bulleted numbers": ("- 1. Plasma Etcher\n- 2. Wire Bonder\n- 3. Reflow Oven", PLAIN),
    "headings": (
        "## Machines\n\n### 1. Plasma Etcher\nRemoves material.\n\n### 2. Wire Bonder\nBonds.\n\n### 3. Reflow Oven",
        PLAIN,
    ),
    "bold": ("1. **Plasma Etcher**\n2. **Wire Bonder**\n3. **Reflow Oven**", PLAIN),
    "bold with the number": ("**1. Plasma Etcher**\n**2. Wire Bonder**\n**3.** Reflow Oven", PLAIN),
    "bold and explained": (
        "1. **Plasma Etcher:** removes thin films\n2. **Wire Bonder** - connects dies\n"
        "3. **Reflow Oven** melts the solder paste of a board",
        PLAIN,
    ),
    "bold part of a name": ("1. **Plasma** Etcher\n2. **Wire** Bonder\n3. Reflow **Oven**", PLAIN),
    "italics, code, quotes": ('1. *Plasma Etcher*\n2. `Wire Bonder`\n3. "Reflow Oven"', PLAIN),
    "underscores": ("1. __Plasma Etcher__\n2. _Wire Bonder_\n3. Reflow Oven", PLAIN),
    "links": ("1. [Plasma Etcher](https://example.com/a_b)\n2. [Wire Bonder](#wb)\n3. Reflow Oven", PLAIN),
    "explained": (
        "1. Plasma Etcher - removes thin films\n2. Wire Bonder: connects dies\n3. Reflow Oven—melts solder",
        PLAIN,
    ),
    "explained otherwise": (
        "1. Plasma Etcher → films\n2. Wire Bonder, used for dies\n3. Reflow Oven (used to melt the solder)",
        PLAIN,
    ),
    "dash glued to one side": ("1. Plasma Etcher- removes films\n2. Wire Bonder -bonds\n3. Reflow Oven – melts", PLAIN),
    "nested bullets": (
        "1. Plasma Etcher\n   - vacuum\n   - RF\n2. Wire Bonder\n   * gold wire\n3. Reflow Oven\n     • ten zones",
        PLAIN,
    ),
    "bullets under numbers, not indented": (
        "1. Plasma Etcher\n- removes films\n2. Wire Bonder\n- gold wire\n3. Reflow Oven\n- ten zones",
        PLAIN,
    ),
    "bullets under bullets": (
        "- Plasma Etcher\n    - vacuum\n- Wire Bonder\n    - gold wire\n- Reflow Oven\n    1. preheat\n    2. soak",
        PLAIN,
    ),
    "tabs": ("1.\tPlasma Etcher\n\t- removes films\n2.\tWire Bonder\n3.\tReflow Oven\tmelts solder", PLAIN),
    "numbered notes after a bulleted list": (
        "- Plasma Etcher\n- Wire Bonder\n- Reflow Oven\n\nNotes:\n1. These are common.\n2. Please verify them.",
        PLAIN,
    ),
    "categories": (
        "**Front end**\n```\n1. Plasma Etcher\n```\n**Back end**\n```\n2. Wire Bonder\n3. Reflow Oven\n```",
        PLAIN,
    ),
    "categories counted anew": (
        "Front end:\n1. Plasma Etcher\n\nBack end:\n1. Wire Bonder\n2. Reflow Oven\n",
        PLAIN,
    ),
    "the list twice": (
        f"```\n{THREE}\n```\nIn short:\n```\n{THREE}\n```",
        PLAIN,
    ),
    "only a few named again": (
        f"{THREE}\n\nThe most important:\n1. Wire Bonder\n",
        PLAIN,
    ),
    "corrected after error": (
        "```\n1. Toaster\n2. Wire Bonder\n```\n<error>Line 1 is a household machine:\n1. Toaster\n</error>\n"
        f"```\n{THREE}\n```\n<error>CHECKED: NO ERRORS</error>",
        PLAIN,
    ),
    "corrected list without a tag": (
        f"```\n1. Toaster\n2. Kettle\n```\nThat was wrong. Here is the corrected list:\n```\n{THREE}\n```",
        PLAIN,
    ),
    "corrected version cut off": (
        f"```\n{THREE}\n```\n<error>Use better names</error>\n```\n1. Dry Etcher",
        PLAIN,
    ),
    "a patch is no version": (
        f"```\n{THREE}\n```\n<error>maybe</error>\n```\n3. Toaster\n```",
        PLAIN,
    ),
    "error tag never closed": (
        f"```\n1. Toaster\n```\n<error>\nToaster is wrong.\n```\n{THREE}\n```",
        PLAIN,
    ),
    "thinking": (
        f"<thinking>\nCandidates:\n1. Toaster\n2. Kettle\n</thinking>\n{THREE}",
        PLAIN,
    ),
    "thinking with a fence": (
        f"<scratchpad>```\n1. Toaster\n```</scratchpad>\n```\n{THREE}\n```",
        PLAIN,
    ),
    "end of thinking only": (
        f"1. Toaster, maybe\n2. Kettle\n</think>\n\n{THREE}",
        PLAIN,
    ),
    "table": (
        "| No. | Machine | Purpose |\n|----:|:--------|---------|\n"
        "| 1 | Plasma Etcher | films |\n| 2 | **Wire Bonder** | dies |\n"
        "| 3 | Reflow Oven | solder |",
        PLAIN,
    ),
    "table in another language": (
        "| Nr | Anlage |\n|---|---|\n| 1 | Plasma Etcher |\n| 2 | Wire Bonder |\n| 3 | Reflow Oven |",
        PLAIN,
    ),
    "JSON": ('```json\n["Plasma Etcher", "Wire Bonder", "Reflow Oven"]\n```', PLAIN),
    "JSON records": (
        '```json\n{"machines": [{"id": 1, "name": "Plasma Etcher"}, {"id": 2, "name": "Wire Bonder"},'
        ' {"id": 3, "name": "Reflow Oven"}]}\n```',
        PLAIN,
    ),
    "Python list": ("```python\nmachines = ['Plasma Etcher', 'Wire Bonder', 'Reflow Oven']\n```", PLAIN),
    "YAML": ("```yaml\n- name: Plasma Etcher\n  use: films\n- name: Wire Bonder\n- name: Reflow Oven\n```", PLAIN),
    "HTML list": ("<ol><li>Plasma Etcher</li><li>Wire Bonder</li><li>Reflow Oven</li></ol>", PLAIN),
    "XML": (
        "<machines>\n<machine>Plasma Etcher</machine>\n<machine>Wire Bonder</machine>\n<machine>Reflow Oven</machine>",
        PLAIN,
    ),
    "HTML entities": (
        "1. Test &amp; Burn-in Oven\n2. Labeler &quot;L2&quot; Unit\n3. D&eacute;canteur",
        ["Test & Burn-in Oven", 'Labeler "L2" Unit', "Décanteur"],
    ),
    "on one line": ("1. Plasma Etcher 2. Wire Bonder 3. Reflow Oven", PLAIN),
    "no marks in a fence": ("```\nPlasma Etcher\nWire Bonder\nReflow Oven\n```", PLAIN),
    "no marks in a fence, explained": (
        "```\nMachines:\nPlasma Etcher - films\n  vacuum\nWire Bonder - dies\nReflow Oven\n```",
        PLAIN,
    ),
    "no marks at all": ("Here they are:\nPlasma Etcher\nWire Bonder\nReflow Oven", PLAIN),
    "letters": ("a) Plasma Etcher\nb) Wire Bonder\nc) Reflow Oven", PLAIN),
    "duplicates": ("1. Plasma Etcher\n2. plasma  etcher\n3. PLASMA ETCHER.\n4. Wire Bonder\n5. Reflow Oven", PLAIN),
    "emoji": (
        "1. 🔬 Plasma Etcher\n2. ⚙️ Wire Bonder\n3. Reflow Oven 🔥",
        ["Plasma Etcher", "Wire Bonder", "Reflow Oven"],
    ),
    "ellipsis at the end": (f"{THREE}\n4. ...", PLAIN),
    "names ending in a colon": (
        "1. Plasma Etcher:\n   - removes films\n2. Wire Bonder:\n"
        "   - connects dies\n3. **Reflow Oven:**\n   - ten zones",
        PLAIN,
    ),
    "description on the next line": (
        "1. **Plasma Etcher**\n\n   Removes thin films.\n\n2. **Wire Bonder**\n"
        "\n   Connects dies.\n\n3. **Reflow Oven**\n",
        PLAIN,
    ),
    "example format before the list": (
        f"The format is `1. Machine Name`.\n\n{THREE}",
        PLAIN,
    ),
    "confusion before the list": (f"I'm sorry for the confusion! Here is the list:\n{THREE}", PLAIN),
    "final words": (f"```\n{THREE}\n```\n\nLet me know if you would like an updated list!", PLAIN),
    "reasoning of another model": (f"<reasoning>\n1. Toaster\n</reasoning>\n{THREE}", PLAIN),
    "a quotation": ("> 1. Plasma Etcher\n> 2. Wire Bonder\n> 3. Reflow Oven", PLAIN),
    "one machine": ("```\n1. Plasma Etcher\n```", ["Plasma Etcher"]),
    "numbers and hyphens inside names": (
        "1. 5-Axis CNC Mill\n2. Pick-and-Place Machine\n3. X-ray Inspection System\n"
        "4. Model 3000 Etcher\n5. CO2 Laser\n"
        "6. No. 2 Paper Machine\n7. 3D Printer\n8. 1,000-Ton Press\n"
        "9. 2.5D Metrology Tool\n10. In-line Roll-to-Roll Coater",
        [
            "5-Axis CNC Mill",
            "Pick-and-Place Machine",
            "X-ray Inspection System",
            "Model 3000 Etcher",
            "CO2 Laser",
            "No. 2 Paper Machine",
            "3D Printer",
            "1,000-Ton Press",
            "2.5D Metrology Tool",
            "In-line Roll-to-Roll Coater",
        ],
    ),
    "numbers and hyphens without marks": (
        "```\n5-Axis CNC Mill\n3D Printer\nNo. 2 Paper Machine\n1.5T Forklift\n```",
        ["5-Axis CNC Mill", "3D Printer", "No. 2 Paper Machine", "1.5T Forklift"],
    ),
    "abbreviations in brackets": (
        "1. CVD Reactor (Chemical Vapor Deposition)\n2. CMP (Chemical Mechanical Planarization) Tool - polishes",
        ["CVD Reactor (Chemical Vapor Deposition)", "CMP (Chemical Mechanical Planarization) Tool"],
    ),
    "subscripts": (
        "1. CO$_2$ Laser\n2. CO₂ Incubator\n3. NO_x Scrubber",
        ["CO2 Laser", "CO₂ Incubator", "NO_x Scrubber"],
    ),
    "German": (
        "1. Dreh- und Fräsmaschine: spanend\n2. Spritzgießmaschine – formt\n3. Käserei-Abfüller",
        ["Dreh- und Fräsmaschine", "Spritzgießmaschine", "Käserei-Abfüller"],
    ),
    "French": (
        "1. Presse à injecter : moule\n2. Tour à commande numérique",
        ["Presse à injecter", "Tour à commande numérique"],
    ),
    "Japanese": (
        "以下がリストです：\n```\n１．射出成形機：樹脂を成形する\n２．プレス機\n３．レーザー加工機\n```",
        ["射出成形機", "プレス機", "レーザー加工機"],
    ),
    "Japanese bullets": ("・射出成形機\n・プレス機\n・炉", ["射出成形機", "プレス機", "炉"]),
    "Chinese": ("1、数控机床，用于加工\n2、注塑机——成型\n3、回流焊炉（用于焊接）", ["数控机床", "注塑机", "回流焊炉"]),
    "Chinese numerals": ("一、数控机床\n二、注塑机\n十一、回流焊炉", ["数控机床", "注塑机", "回流焊炉"]),
    "Arabic": ("١. آلة الحفر بالبلازما: تزيل\n٢. فرن اللحام\n", ["آلة الحفر بالبلازما", "فرن اللحام"]),
    "Cyrillic": (
        "1. Токарный станок — точение\n2. Фрезерный станок с ЧПУ",
        ["Токарный станок", "Фрезерный станок с ЧПУ"],
    ),
    "Hindi": ("1. खराद मशीन\n2. प्रेस मशीन", ["खराद मशीन", "प्रेस मशीन"]),
}


@pytest.mark.parametrize(("reply", "names"), REPLIES.values(), ids=REPLIES)
def test_reads_what_models_write(reply, names):
    assert parse_machine_list(reply) == names


UNUSABLE = {
    "empty": "",
    "blank": " \n\t\r\n",
    "refusal": "I'm sorry, but I can't help with that request.",
    "refusal with advice": "I cannot provide such a list. You could:\n- contact a vendor\n- search the web",
    "refusal in a list": "1. I cannot list machines of this industry.",
    "refusal in another language": "Lo siento, pero no puedo ayudar con esa solicitud.",
    "prose": "Semiconductor fabs use many machines. Etchers remove films, and bonders connect dies.",
    "prose in lines": "A fab has etchers\nand it has bonders that connect the dies to the frame.\nIt also has ovens",
    "empty fence": "```\n```",
    "only errors": "<error>\n1. I found nothing\n2. Really nothing\n</error>",
    "only thinking": "<think>\n1. Plasma Etcher\n</think>",
    "only punctuation": "1. ...\n2. ---\n3. ***",
    "a script": "```bash\nsudo rm -rf /\necho done\n```",
    "numbers": "1. 100\n2. 200",
}


@pytest.mark.parametrize("reply", UNUSABLE.values(), ids=UNUSABLE)
def test_reports_a_reply_without_a_list(reply):
    with pytest.raises(ReplyError) as caught:
        parse_machine_list(reply)
    message = str(caught.value)
    assert "expected one machine name a line" in message
    assert (" ".join(reply.split())[:20] or "(empty)") in message


CALLS = {
    "as asked": (PLAIN, PLAIN),
    "numbered and explained": (["1. Plasma Etcher - removes material", "2) Wire Bonder: bonds", "Reflow Oven"], PLAIN),
    "objects": ([{"name": "Plasma Etcher"}, {"machine": "Wire Bonder"}, {"id": 3}, "Reflow Oven"], PLAIN),
    "twice, and with invisibles": (["Plasma Etcher", "plasma\u200b  etcher", "Wire\nBonder", "Reflow Oven"], PLAIN),
    "what is no name": (["Plasma Etcher", None, 7, "", "Here are more:", ["x"], "Wire Bonder", "Reflow Oven"], PLAIN),
    "a list as text": ('["Plasma Etcher", "Wire Bonder", "Reflow Oven"]', PLAIN),
    "numbered text": (THREE, PLAIN),
    "very many": ([f"Machine {chr(65 + n % 26)}{chr(65 + n // 26)}" for n in range(600)], None),
    "very long": (["Plasma Etcher", "x" * 10**6, "Wire Bonder", "Reflow Oven"], PLAIN),
}


@pytest.mark.parametrize(("values", "names"), CALLS.values(), ids=CALLS)
def test_reads_what_models_call_the_tool_with(values, names):
    read = read_machine_names(values)

    assert read == names if names else len(read) == 200


@pytest.mark.parametrize("values", [None, 7, {}, [], [""], [None], [{"id": 1}], "", "I cannot.", ["I'm sorry."]])
def test_reports_a_call_without_machines(values):
    with pytest.raises(ReplyError):
        read_machine_names(values)


def test_an_error_message_cannot_carry_a_long_or_disturbing_reply():
    with pytest.raises(ReplyError) as caught:
        parse_machine_list("\x1b[31mred\u202e " + "word " * 10_000)
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


def test_a_name_of_any_length_becomes_a_bounded_one():
    name = "Fully Automated High-Speed Multi-Station Rotary Assembly and Testing Machine for Injectors"
    assert parse_machine_list(f"1. {name}") == [
        "Fully Automated High-Speed Multi-Station Rotary Assembly and Testing Machine for"
    ]


HOSTILE = ["../../etc/passwd", "%2e%2e%2f", "$(rm -rf /)", "`reboot`",
           "<script>alert(1)</script>", "a\x00b", "..", "\u202egnp.exe",
           "'; DROP TABLE requests; --", "C:\\con", "nul", "~root", "-rf", "|cat", "a\nb", "🔥", "${AWS_SECRET}",
           "\ud800", "CON", "x" * 5000, "-" * 200, "", " "]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_hostile_name_gives_a_harmless_slug(name):
    slug = machine_slug(name)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", slug)
    assert slug not in {"con", "nul"}


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("5-Axis CNC Mill", "5-axis-cnc-mill"),
        ("Model 3000 Etcher", "model-3000-etcher"),
        ("Crème Brûlée Mixer", "creme-brulee-mixer"),
        ("Spritzgießmaschine", "spritzgiessmaschine"),
        ("Møller Press", "moller-press"),
        ("CO₂ Laser", "co2-laser"),
        ("  Wire   Bonder ", "wire-bonder"),
        ("CON", "machine-con"),
    ],
)
def test_a_slug_reads_like_the_name(name, slug):
    assert machine_slug(name) == slug


def test_names_in_other_scripts_keep_apart():
    assert len({machine_slug(n) for n in ("射出成形機", "プレス機", "射出成形機 3", "プレス機 3", "Пресс")}) == 5
    assert machine_slug("射出成形機").startswith("machine-")


def test_long_names_that_differ_at_the_end_keep_apart():
    assert machine_slug("Station " * 20 + "A") != machine_slug("Station " * 20 + "B")


def test_second_slug_never_takes_the_place_of_a_name_that_has_it_by_right():
    assert unique_slugs(["CNC", "cnc", "CNC 2", "CNC!"]) == ["cnc", "cnc-3", "cnc-2", "cnc-4"]


anything = st.text(max_size=120)
marks = [
    "```",
    "~~~",
    "1. ",
    "- ",
    "<error>",
    "</error>",
    "<think>",
    "</think>",
    "|--|--|",
    "**",
    "[",
    "Corrected list:",
]
replies = st.builds(
    str.join, st.sampled_from(["", "\n", " "]), st.lists(anything | st.sampled_from(marks), max_size=30)
)


@given(replies)
@example("|" * 50 + "\n|-|\n|")
def test_any_reply_gives_clean_distinct_names_or_a_reply_error(reply):
    try:
        names = parse_machine_list(reply)
    except ReplyError:
        return
    assert names
    assert len({name.casefold() for name in names}) == len(names)
    for name in names:
        assert 0 < len(name) <= MAX_NAME
        assert name == name.strip()
        assert not re.search(r"[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069`]", name)


REMARKS = re.compile("Notes?|Below|Please|Sorry|Sure|Checked|Unfortunately|Certainly")
names = st.from_regex(r"[A-Z][a-z]{2,9}( [A-Z0-9][a-z0-9]{1,9}|-[A-Z][a-z]{1,5}){0,3}", fullmatch=True).filter(
    lambda name: not REMARKS.match(name)
)
lines = ["{n}. {name}", "{n}) {name}", "- {name}", "* **{name}**", "{n}. **{name}**: does things", "{n}. {name} - does"]
frames = ["```\n{it}\n```", "{it}", "Here is the list:\n\n{it}\n", "```text\n{it}", "<think>1. No</think>\n{it}"]


@given(
    st.lists(names, min_size=1, max_size=50, unique_by=str.casefold),
    st.sampled_from(lines),
    st.sampled_from(frames),
    st.sampled_from(["\n", "\r\n"]),
)
def test_names_survive_every_way_of_writing_a_list(names, line, frame, line_end):
    reply = frame.format(it="\n".join(line.format(n=n, name=name) for n, name in enumerate(names, 1)))
    assert parse_machine_list(reply.replace("\n", line_end)) == names


@given(anything)
def test_any_name_gives_a_safe_stable_slug(name):
    slug = machine_slug(name)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", slug)
    assert machine_slug(name) == slug == machine_slug(slug)
    assert machine_slug(f" {name} ") == slug


@given(st.lists(st.one_of(anything, st.sampled_from(["A", "a", "A 2", "a-2", "A-3"])), max_size=40))
def test_slugs_of_a_list_are_unique_and_keep_its_order(names):
    slugs = unique_slugs(names)
    assert len(set(slugs)) == len(slugs) == len(names)
    assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", slug) for slug in slugs)
    for name, slug in zip(names, slugs, strict=True):
        stem = machine_slug(name)
        assert slug == stem or slug.startswith(stem[:50].rstrip("-"))
