"""The table of regions, whole: every region has a default that can be called, or a sentence that says what can."""

from __future__ import annotations

import datetime
import re

import pytest

from defectory.aws.inference_profiles import (
    InferenceProfile,
    answering_regions,
    check_callable,
    check_not_ended,
    default_model,
    leaves_area,
    provider_of,
)
from defectory.aws.regions import container, region, regions, table
from defectory.config import load_config
from defectory.errors import ConfigError, InputError

TODAY = datetime.date(2026, 11, 28)
ROUTED_ANYWHERE = {"sa-east-1"}
WITHOUT_MODEL = {
    *("mx-central-1", "af-south-1", "ap-east-1", "ap-southeast-6", "me-west-1", "ap-south-2", "me-south-1"),
    *("cn-north-1", "cn-northwest-1", "eusc-de-east-1", "eu-isoe-west-1", "us-iso-east-1", "us-isob-east-1"),
    *("us-isof-east-1", "us-isof-south-1"),
}


@pytest.mark.parametrize("name", regions())
def test_every_regions_model_can_be_called_there_stays_near_and_lives(name):
    model = default_model(name)

    assert (model is None) == (name in WITHOUT_MODEL)
    if model:
        check_callable(model, name)
        check_not_ended(model, TODAY)
        routed = answering_regions(model, name)
        assert (routed == ("",)) == (name in ROUTED_ANYWHERE)
        if name not in ROUTED_ANYWHERE:
            assert name in routed
            areas = {region(other).area for other in routed}
            # Israel and the Emirates have no other profile than their neighbours'.
            assert areas <= {region(name).area, "eu" if name == "il-central-1" else "ap"}


@pytest.mark.parametrize("name", sorted(WITHOUT_MODEL))
def test_a_region_without_a_model_says_what_would_run(name):
    with pytest.raises(ConfigError) as caught:
        load_config({"region": name}, {})

    assert caught.value.field == "model_id"
    assert "author=catalogue" in caught.value.fix
    assert load_config({"region": name, "author": "catalogue"}, {}).region == name
    if worldwide := region(name).worldwide_model:
        check_callable(worldwide, name)
        assert leaves_area(worldwide, name, home=name)


# What the public pages say of single regions, by hand.
CALLABLE = {
    ("us.amazon.nova-pro-v1:0", "us-west-1"): True,
    ("us.amazon.nova-pro-v1:0", "ca-central-1"): False,
    ("us.amazon.nova-micro-v1:0", "us-west-1"): False,
    ("us.amazon.nova-2-lite-v1:0", "ca-central-1"): True,
    ("eu.amazon.nova-pro-v1:0", "eu-west-2"): False,
    ("eu.amazon.nova-2-lite-v1:0", "eu-central-2"): False,
    ("eu.anthropic.claude-haiku-4-5-20251001-v1:0", "eu-west-2"): True,
    ("eu.amazon.nova-pro-v1:0", "il-central-1"): True,
    ("apac.amazon.nova-pro-v1:0", "ap-northeast-3"): False,
    ("apac.amazon.nova-pro-v1:0", "ap-east-1"): False,
    ("apac.amazon.nova-pro-v1:0", "me-central-1"): True,
    ("jp.amazon.nova-2-lite-v1:0", "ap-northeast-3"): False,
    ("us-gov.amazon.nova-pro-v1:0", "us-gov-west-1"): False,
    ("amazon.nova-pro-v1:0", "us-gov-west-1"): True,
    ("amazon.nova-pro-v1:0", "us-west-2"): False,
    ("global.amazon.nova-2-lite-v1:0", "sa-east-1"): False,
    ("global.amazon.nova-2-lite-v1:0", "eu-west-2"): True,
    ("global.anthropic.claude-haiku-4-5-20251001-v1:0", "sa-east-1"): True,
    ("global.anthropic.claude-haiku-4-5-20251001-v1:0", "us-gov-west-1"): False,
    ("stability.sd3-5-large-v1:0", "us-west-2"): True,
    ("stability.sd3-5-large-v1:0", "us-east-1"): False,
    ("us.stability.stable-image-inpaint-v1:0", "us-west-1"): False,
    # Newer than the table: by the geography.
    ("eu.anthropic.claude-sonnet-9", "eu-west-2"): True,
    ("eu.anthropic.claude-sonnet-9", "us-east-1"): False,
    ("global.anthropic.claude-sonnet-9", "af-south-1"): True,
}


@pytest.mark.parametrize(("model", "name"), CALLABLE)
def test_a_model_is_callable_where_aws_says_so(model, name):
    if CALLABLE[model, name]:
        check_callable(model, name)
        return
    with pytest.raises(InputError) as caught:
        check_callable(model, name, "model_id")
    assert (caught.value.field, caught.value.rule) == ("model_id", f"a model that can be called from {name}")
    # The sentence names what would run; every id in it does.
    for suggested in re.findall(r"[a-z-]+\.[a-z0-9.:-]+[0-9]", caught.value.fix.partition(f"From {name}, use ")[2]):
        check_callable(suggested, name)


def test_every_entry_says_where_it_was_read_and_when():
    sources = table()["sources"]
    read = {source["read"] for source in sources.values()}

    assert all(source["in"] for source in sources.values())
    assert max(read) <= table()["as_of"]
    for kind in ("profiles", "on_demand"):
        assert {entry["source"] for entry in table()[kind]} <= sources.keys()
    fields = {field for facts in table()["regions"].values() for field in facts} - {"missing"}
    assert fields <= sources.keys()
    assert {"partitions", "missing", "serverless", "containers", "lifecycle"} <= sources.keys()


@pytest.mark.parametrize("name", regions())
def test_every_entry_is_well_formed(name):
    facts = region(name)

    accounts = filter(None, (facts.deep_learning_containers, facts.scikit_learn_containers))
    assert all(re.fullmatch("[0-9]{12}", account) for account in accounts)
    assert facts.missing <= {"bedrock", "codebuild", "codepipeline"}
    if facts.text_model:
        assert "bedrock" not in facts.missing


def test_profiles_name_regions_that_there_are():
    for entry in (*table()["profiles"], *table()["geographies"].values()):
        named = {*entry.get("from", ()), *entry.get("except", ()), *entry["to"]}
        assert named - {"*"} <= set(regions())
    for entry in table()["profiles"]:
        for profile_id in entry["ids"]:
            assert InferenceProfile.parse(profile_id).profile_id == profile_id


@pytest.mark.parametrize(
    ("name", "account"),
    [
        ("us-gov-east-1", "446045086412"),
        ("us-gov-west-1", "442386744353"),
        ("il-central-1", "780543022126"),
        ("us-east-1", "763104351884"),
        ("cn-north-1", "727897471807"),
    ],
)
def test_registries_are_the_regions_own(name, account):
    assert region(name).deep_learning_containers == account


def test_a_region_that_aws_made_later_is_known_by_its_name():
    new = region("us-gov-north-1")

    assert (new.partition, new.suffix, new.serverless, new.text_model) == ("aws-us-gov", "amazonaws.com", False, None)
    assert region("eu-west-9").area == "eu"
    assert region("us-gov-west-1").area != region("us-east-1").area


@pytest.mark.parametrize("use", ["training", "serving"])
def test_containers_are_patched_and_have_the_python_that_libraries_are_built_for(use):
    from stacks.model_source import CONTAINER_PYTHON

    assert container(use).python == CONTAINER_PYTHON
    assert container(use).patched_until > table()["as_of"]


def test_providers_are_those_of_models_and_of_profiles():
    assert provider_of("us-gov.anthropic.claude-haiku-5-5") == "anthropic"
    assert provider_of("amazon.nova-pro-v1:0") == "amazon"


def test_an_ended_model_is_refused_from_its_day_on():
    model = "us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0"

    check_not_ended(model, datetime.date(2027, 4, 7))
    with pytest.raises(InputError, match="ended it on 2027-04-08"):
        check_not_ended(model, datetime.date(2027, 4, 8))
