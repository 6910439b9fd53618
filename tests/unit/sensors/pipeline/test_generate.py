"""Generation without any cloud: complete folders, partial results told as partial, nothing foreign touched."""

import pytest

from defectory.claims import MARKER
from defectory.errors import AuthorError, InputError, UnwritableError
from defectory.progress import Progress
from defectory.sensors import generate
from defectory.sensors.authors import MachineListing, ScriptTask
from defectory.sensors.authors.catalogue import CatalogueAuthor
from defectory.sensors.dataset import read_manifest
from defectory.sensors.generate import generate_datasets
from defectory.sensors.pipeline.artifacts import seed_of
from defectory.sensors.pipeline.finishing import DELIVERED_FILES
from defectory.sensors.pipeline.simulation import Simulated

SILENT = "def main():\n    pass\n\n\nmain()\n"


@pytest.fixture
def listing_author(fake_author):
    """A fake author who also lists the machines that it has replies for."""

    def make(replies, note=""):
        author = fake_author(replies)
        author.list_machines = lambda industry, number: MachineListing(tuple(replies)[:number], note)
        return author

    return make


@pytest.fixture
def quick(monkeypatch):
    """Simulate at once and without running anything: scripts that say "good" give a dataset."""

    def produce(function, jobs, *, seconds):
        for job in jobs:
            folder = job.simulation.folder
            folder.mkdir(exist_ok=True)
            if "good" not in job.simulation.source:
                yield job, Simulated(("half a year",))
                continue
            for name in DELIVERED_FILES:
                (folder / name).write_text(f"{name} of {job.origin.machine}, attempt {job.origin.attempts}")
            yield job, Simulated(())

    monkeypatch.setattr(generate, "run_isolated", produce)
    monkeypatch.setattr(
        generate, "write_index", lambda folder, failures: (folder / "index.html").write_text(f"failed: {failures}")
    )


def script(word):
    return f"def main():\n    print({word!r})\n\n\nmain()\n"


def contents(folder):
    return {path.name for path in folder.iterdir()} - {MARKER}


def test_datasets_of_the_catalogue(tmp_path):
    seen = []

    generation = generate_datasets(
        "semiconductor",
        2,
        "ann",
        tmp_path / "out",
        author=CatalogueAuthor(),
        year=2023,
        seed=5,
        on_progress=seen.append,
    )

    assert generation.failed == ()
    assert len(generation.machines) == 2
    assert contents(tmp_path / "out") == {"index.html", *(machine.slug for machine in generation.machines)}
    for machine in generation.machines:
        assert contents(machine.folder) == set(DELIVERED_FILES)
        manifest = read_manifest(machine.folder)
        assert (manifest.machine, manifest.year, manifest.user_id) == (machine.name, 2023, "ann")
        assert manifest.seed == seed_of(5, machine.slug)
        assert manifest.rows == 365 * 1440
        assert manifest.provenance.sandbox_layers
    assert seen[-1] == Progress("simulating", 2, 2, seen[-1].item)


def test_a_failed_machine_is_repaired_once(quick, listing_author, tmp_path):
    author = listing_author({"Etcher": [script("bad"), script("good")], "Prober": [script("good")]})

    generation = generate_datasets("semiconductor", 2, "ann", tmp_path, author=author)

    assert generation.failed == ()
    assert [machine.attempts for machine in generation.machines] == [2, 1]
    assert author.asked[-1] == ("Etcher", script("bad"), ("half a year",))
    assert (tmp_path / "etcher" / "data.csv").read_text() == "data.csv of Etcher, attempt 2"


def test_a_partial_result_is_told_as_partial(quick, listing_author, tmp_path):
    author = listing_author(
        {
            "Etcher": [script("bad"), script("bad")],
            "Prober": [AuthorError("throttled")] * 2,
            "Furnace": [script("good")],
        },
        note="3 machines, 5 asked",
    )

    generation = generate_datasets("semiconductor", 5, "ann", tmp_path, author=author)

    assert {machine.name: machine.reasons for machine in generation.failed} == {
        "Etcher": ("half a year",),
        "Prober": ("throttled",),
    }
    assert generation.note == "3 machines, 5 asked"
    assert contents(tmp_path) == {"index.html", "furnace"}
    assert (tmp_path / "index.html").read_text() == "failed: {'Etcher': 'half a year', 'Prober': 'throttled'}"


def test_names_that_mean_harm_stay_in_the_folder(quick, listing_author, tmp_path):
    names = ["../../escape", "..", "$(reboot)", "<script>alert(1)</script>", "CON", "Mill", "mill", "mill "]
    author = listing_author({name: [script("good")] for name in names})

    generation = generate_datasets("semiconductor", len(names), "ann", tmp_path / "out", author=author)

    assert contents(tmp_path) == {"out"}
    assert contents(tmp_path / "out") == {"index.html", *(machine.slug for machine in generation.machines)}
    assert len({machine.slug for machine in generation.machines}) == len(names)


def test_seeds_differ_from_machine_to_machine_and_stay_from_call_to_call(quick, listing_author, tmp_path):
    def tasks(seed, where):
        author = listing_author({"Etcher": [script("good")], "Prober": [script("good")]})
        return [
            machine.task
            for machine in generate_datasets(
                "steel", 2, "ann", tmp_path / where, author=author, year=2024, seed=seed
            ).machines
        ]

    assert tasks(1, "a") == tasks(1, "b")
    assert tasks(1, "a") == [
        ScriptTask("steel", "Etcher", 2024, seed_of(1, "etcher")),
        ScriptTask("steel", "Prober", 2024, seed_of(1, "prober")),
    ]
    assert not {task.seed for task in tasks(1, "a")} & {task.seed for task in tasks(2, "c")}


def test_an_earlier_result_is_replaced(quick, listing_author, tmp_path):
    generate_datasets("steel", 1, "ann", tmp_path, author=listing_author({"Mill": [script("good")]}))
    (tmp_path / "mill" / "data.csv").write_text("old")
    (tmp_path / ".generating-cut-short").mkdir()

    generate_datasets("steel", 1, "ann", tmp_path, author=listing_author({"Mill": [script("good")]}))

    assert (tmp_path / "mill" / "data.csv").read_text() == "data.csv of Mill, attempt 1"


@pytest.mark.parametrize("name", ["thesis.txt", "mill/notes.txt", "mill/data.csv/notes.txt", "index.html/notes.txt"])
def test_what_a_user_put_into_an_earlier_result_is_not_touched(quick, listing_author, tmp_path, name):
    author = listing_author({"Mill": [script("good")]})
    generate_datasets("steel", 1, "ann", tmp_path, author=author)
    for place in (tmp_path / "mill/data.csv", tmp_path / "index.html"):
        if name.startswith(str(place.relative_to(tmp_path)) + "/"):
            place.unlink()
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("precious")

    with pytest.raises(InputError, match="which this command did not write"):
        generate_datasets("steel", 1, "ann", tmp_path, author=author)

    assert (tmp_path / name).read_text() == "precious"


@pytest.mark.parametrize("name", ["index.html", "mill/dataset.json"])
def test_names_of_ours_do_not_make_a_folder_ours(quick, listing_author, tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text('{"images": []}')

    with pytest.raises(InputError, match="which this command did not write"):
        generate_datasets("steel", 1, "ann", tmp_path, author=listing_author({"Mill": [script("good")]}))

    assert (tmp_path / name).read_text() == '{"images": []}'


@pytest.mark.parametrize("foreign", ["thesis.txt", ".git", "mill"])
def test_a_foreign_folder_is_not_touched(quick, listing_author, tmp_path, foreign):
    (tmp_path / foreign).mkdir()
    author = listing_author({"Mill": [script("good")]})

    with pytest.raises(InputError, match=f"holds {foreign}"):
        generate_datasets("steel", 1, "ann", tmp_path, author=author)

    assert contents(tmp_path) == {foreign}
    assert author.asked == []


def test_a_file_is_no_folder(listing_author, tmp_path):
    (tmp_path / "out").write_text("")

    with pytest.raises(InputError, match="out: must be a folder, got"):
        generate_datasets("steel", 1, "ann", tmp_path / "out", author=listing_author({}))


def test_a_place_that_takes_no_folder_is_told(listing_author, tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(InputError, match=r"out: must be a folder that can be written to \(Not a directory\)"):
        generate_datasets("steel", 1, "ann", tmp_path / "file" / "out", author=listing_author({"Mill": []}))


def test_a_full_disk_ends_the_work_in_one_line_without_a_second_simulation(
    quick, listing_author, tmp_path, monkeypatch
):
    simulated = []

    def full(function, jobs, *, seconds):
        for job in jobs:
            simulated.append(job.origin.slug)
            yield job, Simulated(("unexpected OSError",), disk="No space left on device")

    monkeypatch.setattr(generate, "run_isolated", full)
    author = listing_author({"Mill": [script("good")], "Oven": [script("good")]})

    with pytest.raises(UnwritableError, match=r"out: .*\(No space left on device\)"):
        generate_datasets("steel", 2, "ann", tmp_path / "out", author=author)

    assert simulated == ["mill"]
    assert not contents(tmp_path / "out")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("industry", ""),
        ("industry", "a;b"),
        ("number", 0),
        ("number", 51),
        ("user_id", "../x"),
        ("year", 1500),
        ("seed", -1),
    ],
)
def test_arguments_have_the_rules_of_a_request(listing_author, tmp_path, field, value):
    arguments = {"industry": "steel", "number": 1, "user_id": "ann", "year": 2024, "seed": 0, field: value}

    with pytest.raises(InputError, match=f"^{field}: must be"):
        generate_datasets(out=tmp_path / "out", author=listing_author({}), **arguments)
    assert not (tmp_path / "out").exists()
