"""``defectory sensors``: what people and what machines read, and the exit codes."""

import json
import os
from pathlib import Path

import pytest

from defectory.cli import main
from defectory.progress import Progress
from defectory.sensors import authors
from defectory.sensors import generate as generation_module
from defectory.sensors.authors import ScriptTask
from defectory.sensors.authors.catalogue import CatalogueAuthor
from defectory.sensors.catalogue import industries, machines
from defectory.sensors.generate import Generated, Generation
from defectory.sensors.pipeline.simulation import Simulation, simulate

TASK = ScriptTask("semiconductor", "Plasma Etcher", 2024, seed=3)


@pytest.fixture
def run(capsys):
    def run_(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return run_


# ------------------------------------------------------------------ catalogue


def test_the_catalogue_lists_its_industries(run):
    code, out, _ = run("sensors", "catalogue")

    assert code == 0
    assert all(industry.key in out for industry in industries())


def test_the_catalogue_lists_them_for_machines_too(run):
    listed = json.loads(run("sensors", "catalogue", "--json")[1])

    assert [row["industry"] for row in listed] == [industry.key for industry in industries()]
    assert listed[0]["machines"] == len(machines(industries()[0].key))


def test_an_industry_shows_its_machines_signals_and_units(run):
    _, out, _ = run("sensors", "catalogue", "semiconductor")

    assert "Plasma Etcher" in out
    assert "Chamber_Pressure [mTorr]" in out


def test_an_industry_for_machines(run):
    shown = json.loads(run("sensors", "catalogue", "Semiconductor Fabrication", "--json")[1])

    assert shown["industry"] == "semiconductor"
    signal = shown["machines"][0]["signals"][0]
    assert set(signal) == {"name", "unit", "kind", "low", "high", "description"}


def test_an_unknown_industry_is_bad_input_and_what_there_is_is_listed(run):
    code, out, err = run("sensors", "catalogue", "cheese rolling")

    assert (code, out) == (2, "")
    assert "semiconductor" in err
    assert "bedrock" in err


# ------------------------------------------------------------------ generate


@pytest.fixture
def generating(monkeypatch, tmp_path):
    """Stands in for the generation, remembering what it was asked and giving back what the test says."""
    asked = {}

    def prepare(*results, note=""):
        def generate(industry, number, user_id, out, *, author, on_progress, **options):
            asked.update(industry=industry, number=number, user_id=user_id, out=out, author=author, **options)
            on_progress(Progress("simulating", 0, 1))
            on_progress(Progress("simulating", 1, 1, "Mill"))
            return Generation(results, note)

        monkeypatch.setattr(generation_module, "generate_datasets", generate)
        return asked

    return prepare


def result(tmp_path, name, *reasons):
    folder = None if reasons else tmp_path / name.lower()
    task = ScriptTask("steel", name, 2024, 1)
    return Generated(name, name.lower(), task, folder=folder, reasons=reasons, attempts=1)


ARGUMENTS = ("sensors", "generate", "--industry", "steel", "--number", "2", "--user-id", "ann", "--out")


def test_generate_tells_where_the_datasets_are(run, generating, tmp_path):
    asked = generating(result(tmp_path, "Mill"), result(tmp_path, "Furnace"))

    code, out, _ = run(*ARGUMENTS, tmp_path, "--year", 2024, "--seed", 5)

    assert code == 0
    assert "2 of 2 datasets are ready" in out
    assert (asked["industry"], asked["number"], asked["user_id"]) == ("steel", 2, "ann")
    assert (asked["year"], asked["seed"], asked["out"]) == (2024, 5, tmp_path)
    assert asked["author"].name == "catalogue"


def test_a_partial_result_is_a_failure_that_names_the_machine(run, generating, tmp_path):
    generating(result(tmp_path, "Mill"), result(tmp_path, "Furnace", "half a year"), note="2 machines, 3 asked")

    code, out, err = run(*ARGUMENTS, tmp_path)

    assert code == 1
    assert "1 of 2 datasets are ready" in out
    assert "half a year" in out
    assert "2 machines, 3 asked" in err


def test_generate_for_machines_prints_json_only(run, generating, tmp_path):
    generating(result(tmp_path, "Mill"), result(tmp_path, "Furnace", "half a year"))

    code, out, _ = run(*ARGUMENTS, tmp_path, "--json")

    assert code == 1
    generation = json.loads(out)
    assert [(machine["name"], machine["ok"]) for machine in generation["machines"]] == [
        ("Mill", True),
        ("Furnace", False),
    ]
    assert generation["machines"][0]["folder"] == str(tmp_path / "mill")
    assert generation["machines"][1]["reasons"] == ["half a year"]


def test_generate_makes_the_author_it_is_told_to(run, generating, tmp_path, monkeypatch):
    generating(result(tmp_path, "Mill"))
    author = {}
    monkeypatch.setattr(authors, "create_author", lambda name, **options: author.update(name=name, **options))

    run(
        *(*ARGUMENTS, tmp_path, "--author", "bedrock", "--model-id", "us.some-model"),
        *("--prompt-style", "freeform", "--region", "eu-west-1"),
    )

    assert author == {
        "name": "bedrock",
        "model_id": "us.some-model",
        "base_model_id": None,
        "prompt_style": "freeform",
        "service_tier": "default",
        "region": "eu-west-1",
    }


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--industry", "cheese rolling", "semiconductor"),
        ("--industry", "a;b", "industry"),
        ("--number", "0", "number"),
        ("--number", "many", "number"),
        ("--user-id", "../x", "user_id"),
        ("--author", "shakespeare", "author"),
        ("--year", "1500", "year"),
    ],
)
def test_bad_input_is_told_with_its_rule(run, tmp_path, option, value, said):
    code, out, err = run(*ARGUMENTS, tmp_path / "out", option, value)

    assert (code, out) == (2, "")
    assert said in err
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------ check


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("datasets") / "plasma-etcher"
    simulated = simulate(Simulation("plasma-etcher", TASK, CatalogueAuthor().write_script(TASK).source, folder))
    assert simulated.ok, simulated.reasons
    return folder


@pytest.fixture
def halved(dataset, tmp_path):
    """The dataset without its second half."""
    folder = tmp_path / "halved"
    folder.mkdir()
    for path in dataset.iterdir():
        os.link(path, folder / path.name)
    data = (folder / "data.csv").read_text()
    (folder / "data.csv").unlink()
    (folder / "data.csv").write_text(data[: data.index("2024-07-01")])
    return folder


def test_a_dataset_in_order(run, dataset):
    code, out, _ = run("sensors", "check", dataset)

    assert code == 0
    assert f"{dataset}: in order" in out


def test_a_folder_of_datasets_is_checked_one_by_one_and_failures_are_explained(run, dataset, halved):
    (halved.parent / "plasma-etcher").symlink_to(dataset)

    code, out, _ = run("sensors", "check", halved.parent, "--json")

    assert code == 1
    verdicts = {verdict["folder"]: verdict for verdict in json.loads(out)}
    assert verdicts[str(halved.parent / "plasma-etcher")]["ok"]
    bad = verdicts[str(halved)]
    assert not bad["ok"]
    assert any(check["detail"] for check in bad["checks"] if not check["ok"])


def test_failed_checks_are_explained_to_people_too(run, halved):
    code, out, _ = run("sensors", "check", halved)

    assert code == 1
    assert f"{halved}: FAILED" in out
    assert len(out.splitlines()) > 1


def test_a_folder_that_cannot_be_read_is_bad_input(run, tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)

    code, _, err = run("sensors", "check", tmp_path)

    assert code == 2
    assert "Permission denied" in err


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_text("x")])
def test_what_is_no_dataset_is_bad_input(run, tmp_path, make):
    make(tmp_path / "thing")

    code, out, err = run("sensors", "check", tmp_path / "thing", "--json")

    assert (code, out) == (2, "")
    assert "a dataset, or a folder of datasets" in err
