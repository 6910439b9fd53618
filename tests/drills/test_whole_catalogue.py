"""A year of every machine of the catalogue passes the contract; the ordinary tests take every eighth."""

import pytest

from tests.unit.sensors.test_catalogue import ENTRIES, assert_a_year_passes


@pytest.mark.parametrize(("industry", "entry"), ENTRIES)
def test_a_year_of_it_passes_the_contract(industry, entry, tmp_path, monkeypatch):
    assert_a_year_passes(industry, entry, tmp_path, monkeypatch)
