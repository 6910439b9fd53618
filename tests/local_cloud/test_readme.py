"""The README's examples, copied and pasted: its blocks run, in order, in one folder, beside the application."""

import os
import re

import pytest

from tests.documents.blocks import ROOT, run_document


@pytest.mark.xdist_group("application")
def test_the_examples_run_as_they_stand(applications, tmp_path):
    app = applications["catalogue"]
    folder = tmp_path / "folder"
    folder.mkdir()

    printed = run_document(ROOT / "README.md", folder, app.cloud.process_environment(os.environ))

    assert re.search(r"\(525600, \d+\)", "".join(printed))
    request = re.search(r"^(\S+) REQUESTED ", "".join(printed), re.MULTILINE)
    assert request, printed
    assert any("'outcome': 'made'" in text for text in printed), printed
    assert app.wait("jane", request.group(1))["status"] == "PUBLISHED"
    assert (folder / "labels.csv").is_file()
