"""The configuration: where values come from, what is refused, and what the messages say."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from defectory.aws.inference_profiles import InferenceProfile
from defectory.config import Config, load_config
from defectory.errors import ConfigError


def refused(context, environ=None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_config(context, environ or {})
    return caught.value


def test_cdk_json_holds_a_valid_configuration_with_the_defaults():
    context = json.loads(Path("cdk.json").read_text())["context"]

    assert load_config(context, {}) == load_config({}, {})


def test_nothing_set_gives_bedrock_in_us_east_1():
    config = load_config({}, {})

    assert (config.region, config.author, config.prompt_style) == ("us-east-1", "bedrock", "library")
    assert config.model_id == "us.amazon.nova-2-lite-v1:0"


@pytest.mark.parametrize(
    ("context", "environ", "region"),
    [
        ({}, {"AWS_REGION": "eu-west-1", "CDK_DEFAULT_REGION": "us-west-2"}, "eu-west-1"),
        ({}, {"CDK_DEFAULT_REGION": "us-west-2", "AWS_DEFAULT_REGION": "eu-west-1"}, "us-west-2"),
        ({}, {"AWS_REGION": "", "AWS_DEFAULT_REGION": "eu-west-1"}, "eu-west-1"),
        ({"region": "ap-south-1"}, {"AWS_REGION": "eu-west-1"}, "ap-south-1"),
    ],
)
def test_the_region_is_the_configured_one_or_the_environments(context, environ, region):
    assert load_config(context, environ).region == region


@pytest.mark.parametrize("key", ["author", "defectory:author"])
def test_the_command_line_wins_over_cdk_json(key):
    assert load_config({"defectory": {"author": "bedrock"}, key: "catalogue"}, {}).author == "catalogue"


def test_the_command_line_gives_text_for_numbers():
    config = load_config({"retention_days": "30", "defectory": {"log_retention_days": 7}}, {})

    assert (config.retention_days, config.log_retention_days) == (30, 7)


def test_the_cdks_own_keys_are_left_alone():
    context = {"@aws-cdk/core:x": True, "aws:cdk:bundling-stacks": [], "cli-telemetry": False, "hosted-zone:a=b": "c"}

    assert load_config(context, {}) == load_config({}, {})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("region", "moon"),
        ("region", 5),
        ("image_region", "everywhere"),
        ("image_concurrency", 0),
        ("image_concurrency", 1001),
        ("author", "claude"),
        ("prompt_style", "haiku"),
        ("service_tier", "reserved"),
        ("alert_email", "ann"),
        ("alert_email", "ann@x.org, bob@x.org"),
        ("defect_email", "ann"),
        ("alert_limit_per_hour", -1),
        ("alert_limit_per_hour", "few"),
        ("inspection_endpoint", "batch"),
        ("inspection_instance", "c6i.large"),
        ("inspection_registry", "7631"),
        ("photos_may_leave", "perhaps"),
        ("check_region", "perhaps"),
        ("retention_days", 0),
        ("retention_days", "soon"),
        ("log_retention_days", 8),
        ("pipeline_source", "github"),
        ("removal_policy", "snapshot"),
        ("run_compute", "huge"),
        ("lambda_platform", "arm"),
        ("lambda_python", "2.7"),
        ("lambda_python", 3.13),
        ("name", "Defectory!"),
        ("kms_key_arn", "alias/ours"),
        ("vpc_id", "ours"),
        ("subnet_ids", "subnet-0a1b2c3d,ours"),
        ("security_group_ids", ["ours"]),
        ("permissions_boundary", "two words"),
        ("tags", "team"),
        ("tags", "aws:team=quality"),
        ("tags", {"team": "a;b"}),
        ("tags", {f"key{n}": "" for n in range(41)}),
        ("log_level", "TRACE"),
        ("dashboards", "many"),
        ("budget_usd_per_month", 0),
        ("budget_usd_per_month", "little"),
    ],
)
@pytest.mark.parametrize("grouped", [True, False])
def test_a_wrong_value_is_refused_by_key_rule_and_fix(key, value, grouped):
    error = refused({"defectory": {key: value}} if grouped else {key: value})

    assert error.field == key
    assert error.exit_code == 2
    assert f"-c {key}=" in error.fix
    assert error.rule == Config.model_fields[key].description


@pytest.mark.parametrize("context", [{"autor": "x"}, {"defectory:autor": "x"}, {"defectory": {"autor": "x"}}])
def test_an_unknown_setting_is_named_with_the_nearest_known_one(context):
    error = refused(context)

    assert error.field == "autor"
    assert "author" in error.fix


def test_a_setting_given_twice_has_to_agree():
    assert refused({"author": "bedrock", "defectory:author": "catalogue"}).field == "author"
    assert load_config({"author": "catalogue", "defectory:author": "catalogue"}, {}).author == "catalogue"


def test_the_group_has_to_be_an_object():
    assert refused({"defectory": "author=catalogue"}).field == "defectory"


def test_a_bare_model_id_that_is_not_served_on_demand_is_refused_with_the_profile_that_is():
    error = refused({"model_id": "amazon.nova-2-lite-v1:0"})

    assert error.field == "model_id"
    assert "bare model ids" in error.fix
    assert "us.amazon.nova-2-lite-v1:0" in error.fix


def test_a_profile_of_another_geography_is_refused_with_one_that_fits():
    error = refused({"model_id": "us.amazon.nova-pro-v1:0"}, {"AWS_REGION": "eu-west-1"})

    assert error.field == "model_id"
    assert "eu.amazon.nova-pro-v1:0" in error.fix


PROFILE = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/a1b2c3d4e5f6"
MADE_FROM = "eu.amazon.nova-pro-v1:0"


@pytest.mark.parametrize("tier", ["default", "flex"])
def test_an_applications_own_profile_goes_by_what_it_was_made_from(tier):
    settings = {"region": "eu-west-1", "model_id": PROFILE, "base_model_id": MADE_FROM, "service_tier": tier}
    config = load_config(settings, {})

    assert (config.model_id, config.routed_model_id) == (PROFILE, MADE_FROM)
    assert load_config({"region": "eu-west-1"}, {}).routed_model_id == "eu.amazon.nova-2-lite-v1:0"


@pytest.mark.parametrize(
    ("settings", "field", "said"),
    [
        ({}, "base_model_id", "get-inference-profile"),
        ({"base_model_id": "us.amazon.nova-pro-v1:0"}, "base_model_id", "eu.amazon.nova-pro-v1:0"),
        ({"base_model_id": "nova"}, "base_model_id", "Known prefixes"),
        ({"base_model_id": "eu.anthropic.claude-3-7-sonnet-20250219-v1:0"}, "base_model_id", "2026-04-28"),
        ({"base_model_id": MADE_FROM, "region": "eu-north-1"}, "model_id", "eu-west-1"),
    ],
)
def test_an_applications_own_profile_that_cannot_be_granted_is_refused(settings, field, said):
    error = refused({"region": "eu-west-1", "model_id": PROFILE, **settings})

    assert error.field == field
    assert said in f"{error.rule} {error.fix}"


def test_flex_is_for_models_that_have_it():
    nova, claude, new = (f"us.{name}" for name in ("amazon.nova-pro-v1:0", "anthropic.claude-opus-5", "amazon.nova-9"))
    # Models that the table of regions does not know.
    tier = {"service_tier": "flex", "check_region": "false"}

    assert load_config({"model_id": nova, **tier}, {}).service_tier == "flex"
    for model_id in (claude, new):
        error = refused({"model_id": model_id, **tier})
        assert error.field == "service_tier"
        assert f"{model_id} is not known to have flex; amazon.nova-pro, amazon.nova-2-lite have it." in str(error)
    assert load_config({"model_id": new, "base_model_id": "amazon.nova-pro-v1:0", **tier}, {}).service_tier == "flex"
    assert load_config({"author": "catalogue", "model_id": claude, **tier}, {}).service_tier == "flex"


def test_a_profile_that_the_table_does_not_know_there_is_let_through_on_request():
    model = {"region": "ca-central-1", "model_id": "us.amazon.nova-pro-v1:0"}

    assert "ca.amazon.nova-lite-v1:0" in refused(model).fix
    assert load_config({**model, "check_region": "false"}, {}).model_id == model["model_id"]


@pytest.mark.parametrize(
    ("settings", "field", "day"),
    [
        ({"model_id": "us.anthropic.claude-3-7-sonnet-20250219-v1:0"}, "model_id", "2026-04-28"),
        ({"model_id": "us.anthropic.claude-sonnet-4-20250514-v1:0"}, "model_id", "2026-10-14"),
        ({"image_model_id": "amazon.nova-canvas-v1:0", "image_region": "us-east-1"}, "image_model_id", "2026-09-30"),
        ({"inpaint_model_id": "amazon.titan-image-generator-v2:0"}, "inpaint_model_id", "2026-06-30"),
    ],
)
@pytest.mark.parametrize("check_region", ["true", "false"])
def test_a_model_that_bedrock_has_ended_is_refused_by_name_and_date(settings, field, day, check_region):
    error = refused({**settings, "check_region": check_region})

    assert (error.field, error.got) == (field, settings[field])
    assert f"Bedrock ended it on {day}." in error.fix


def test_china_has_no_bedrock_but_the_catalogue():
    assert "catalogue" in refused({}, {"AWS_REGION": "cn-north-1"}).fix
    named = refused({"model_id": "us.amazon.nova-pro-v1:0"}, {"AWS_REGION": "cn-north-1"})
    assert "no Amazon Bedrock" in named.rule

    config = load_config({"author": "catalogue"}, {"AWS_REGION": "cn-north-1"})

    assert (config.model_id, config.inspection_endpoint) == ("", "realtime")


@pytest.mark.parametrize("region", ["ap-south-2", "me-south-1"])
def test_asia_sends_no_prompt_to_the_usa_unless_a_setting_names_the_model_that_does(region):
    error = refused({}, {"AWS_REGION": region})

    named = f"model_id={load_config({'region': region, 'author': 'catalogue'}, {}).model_id}"
    assert named == "model_id="
    assert "model_id=global.anthropic.claude-haiku-4-5-20251001-v1:0 allows it" in error.fix
    assert "any region of the world" in error.fix
    model = "global.anthropic.claude-haiku-4-5-20251001-v1:0"
    assert load_config({"region": region, "model_id": model}, {}).model_id == model


class TestPhotos:
    """Where photos may go: image models are in the USA alone."""

    @pytest.mark.parametrize("region", ["us-east-1", "us-west-1"])
    def test_stay_in_the_country_without_being_asked(self, region):
        config = load_config({"region": region}, {})

        assert config.image_region == "us-west-2"
        assert config.image_model_id and config.inpaint_model_id

    @pytest.mark.parametrize("region", ["eu-west-1", "ap-northeast-1", "ca-central-1", "sa-east-1", "us-gov-west-1"])
    def test_leave_no_other_region_by_default(self, region):
        config = load_config({"region": region}, {})

        assert (config.image_model_id, config.inpaint_model_id) == ("", "")

    @pytest.mark.parametrize("key", ["image_model_id", "inpaint_model_id"])
    def test_leave_if_a_setting_says_so_and_naming_a_model_does_not(self, key):
        model = {"region": "eu-west-1", key: getattr(load_config({}, {}), key)}
        error = refused(model)

        assert error.field == key
        assert "photos may leave eu-west-1 for us-west-2" in error.rule
        assert "photos_may_leave=true" in error.fix
        assert getattr(load_config({**model, "photos_may_leave": "true"}, {}), key) == model[key]

    def test_leave_with_the_models_of_everybody_else(self):
        config = load_config({"region": "eu-west-1", "photos_may_leave": True}, {})

        assert (config.image_model_id, config.inpaint_model_id) == (
            load_config({}, {}).image_model_id,
            load_config({}, {}).inpaint_model_id,
        )

    def test_a_profile_that_may_answer_from_anywhere_lets_them_leave(self):
        anywhere = {"image_model_id": "global.stability.next-v1:0"}
        assert "photos may leave us-east-1" in refused(anywhere).rule
        assert load_config({**anywhere, "photos_may_leave": "true"}, {}).image_model_id == anywhere["image_model_id"]

    def test_nothing_reaches_from_one_partition_into_another(self):
        error = refused({"region": "us-gov-west-1", "photos_may_leave": "true"})

        assert "nothing reaches us-west-2" in error.rule


@pytest.mark.parametrize("key", ["image_model_id", "inpaint_model_id"])
def test_an_image_model_is_a_model_or_a_profile_or_none(key):
    for model_id in ("stability.stable-image-ultra-v1:1", "us.stability.stable-outpaint-v1:0", ""):
        assert getattr(load_config({key: model_id}, {}), key) == model_id

    assert refused({key: "the best one"}).field == key


@pytest.mark.parametrize(
    ("image_region", "field", "said"),
    [
        ("us-east-1", "image_model_id", "in us-west-2 only"),
        ("us-west-1", "image_model_id", "in us-west-2 only"),
        ("eu-west-1", "image_model_id", "in us-west-2 only"),
    ],
)
def test_an_image_model_that_image_region_cannot_call_is_refused_with_the_fix(image_region, field, said):
    error = refused({"image_region": image_region, "photos_may_leave": "true"})

    assert error.field == field
    assert said in error.fix
    assert f"{field}= for none" in error.fix
    without = load_config({"image_region": "us-east-1", "image_model_id": ""}, {})
    assert without.inpaint_model_id.startswith("us.")


class TestEndpoint:
    """What the inspection line asks, by region."""

    @pytest.mark.parametrize(
        ("region", "kind"),
        [
            ("eu-west-1", "serverless"),
            ("us-gov-west-1", "realtime"),
            ("cn-north-1", "realtime"),
            # No account is known whose registry has the container that serves.
            ("ap-southeast-5", "lambda"),
            ("eusc-de-east-1", "lambda"),
        ],
    )
    def test_is_what_the_region_has(self, region, kind):
        assert load_config({"region": region, "author": "catalogue"}, {}).inspection_endpoint == kind

    @pytest.mark.parametrize("region", ["us-gov-west-1", "cn-north-1", "us-iso-east-1", "eusc-de-east-1"])
    def test_is_not_serverless_where_there_is_none(self, region):
        error = refused({"region": region, "author": "catalogue", "inspection_endpoint": "serverless"})

        assert error.field == "inspection_endpoint"
        assert "inspection_endpoint=lambda" in error.fix


def test_functions_are_for_a_python_that_can_load_the_libraries():
    error = refused({"lambda_python": "3.11"})

    assert error.field == "lambda_python"
    assert "glibc" in error.fix
    assert [load_config({"lambda_python": version}, {}).lambda_python for version in ("3.12", "3.13", "3.14")]
    assert refused({"lambda_python": "3.15"}).field == "lambda_python"
    # This machine's own libraries are built for itself.
    assert load_config({"lambda_python": "3.11", "lambda_platform": "host"}, {}).lambda_python == "3.11"


def test_functions_that_run_on_this_machine_are_for_its_python():
    host = f"{sys.version_info.major}.{sys.version_info.minor}"

    assert load_config({"lambda_platform": "host"}, {}).lambda_python == host
    assert load_config({}, {}).lambda_python == "3.13"


@pytest.mark.parametrize("key", ["alert_email", "defect_email"])
def test_an_empty_e_mail_address_means_none(key):
    assert getattr(load_config({key: ""}, {}), key) is None


@given(st.text())
def test_any_text_is_a_profile_or_refused(text):
    try:
        profile = InferenceProfile.parse(text)
    except Exception as error:
        assert getattr(error, "field", None) == "model_id"
    else:
        assert profile.profile_id == f"{profile.geography}.{profile.model}" == text


NETWORK = {
    "vpc_id": "vpc-0a1b2c3d",
    "subnet_ids": "subnet-0a1b2c3d, subnet-0a1b2c3e",
    "security_group_ids": "sg-0a1b2c3d",
}
BUDGET = {"budget_usd_per_month": 9, "alert_email": "ops@example.com"}


def test_lists_and_tags_are_texts_on_the_command_line_and_more_in_cdk_json():
    texts = {**NETWORK, "inspection_endpoint": "realtime", "tags": "team=quality, cost centre=a=b, empty="}
    values = {
        **texts,
        "subnet_ids": ["subnet-0a1b2c3d", "subnet-0a1b2c3e"],
        "security_group_ids": ["sg-0a1b2c3d"],
        "tags": {"team": "quality", "cost centre": "a=b", "empty": ""},
    }

    assert load_config(texts, {}) == load_config({"defectory": values}, {})
    assert load_config(texts, {}).tags == {"team": "quality", "cost centre": "a=b", "empty": ""}


def test_what_is_empty_on_the_command_line_is_left_out():
    empty = dict.fromkeys(("kms_key_arn", "vpc_id", "subnet_ids", "permissions_boundary", "tags"), "")

    assert load_config({**empty, "budget_usd_per_month": ""}, {}) == load_config({}, {})


@pytest.mark.parametrize("missing", NETWORK)
def test_a_network_is_whole_or_none(missing):
    error = refused({**NETWORK, "inspection_endpoint": "realtime", missing: ""})

    assert error.field == missing
    assert "belong together" in error.fix


@pytest.mark.parametrize(
    ("settings", "field", "fix"),
    [
        (NETWORK, "vpc_id", "inspection_endpoint=realtime"),
        ({"kms_key_arn": "arn:aws:kms:eu-west-1:123456789012:key/abc"}, "kms_key_arn", "key of us-east-1"),
        ({"budget_usd_per_month": 9}, "budget_usd_per_month", "alert_email"),
        ({**BUDGET, "region": "us-gov-west-1"}, "budget_usd_per_month", "paid"),
        ({**BUDGET, "region": "cn-north-1", "author": "catalogue"}, "budget_usd_per_month", "paid"),
    ],
)
def test_what_does_not_go_together_is_refused_with_the_fix(settings, field, fix):
    error = refused(settings)

    assert error.field == field
    assert fix in error.fix
