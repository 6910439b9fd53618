"""Patterns of AWS's models, which are Java's, in Python."""

import re
import warnings

import pytest

from defectory.local.clients import service_model
from defectory.local.server.limits.constraints import SERVICES, check
from defectory.local.server.limits.fault import LimitExceeded
from defectory.local.server.limits.patterns import compile_pattern

TAG = r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$"


@pytest.mark.parametrize(
    ("pattern", "fits", "not_so"),
    [
        (TAG, ["", "Größe 12/日本:x_=+-@", "\u3000Ⅻ", "𝒳"], ["a!", "a\n", "a<b", "\ud800", "e\u0301", "😀"]),
        (r"[\p{L}\p{M}\p{S}]+", ["e\u0301€", "😀+"], ["", "1", "a b", "!"]),
        (r"\p{ASCII}*", ["", "a\x7f"], ["ü"]),
        (r"arn:[\p{Alnum}\-]+", ["arn:aws-cn", "arn:9"], ["arn:ä", "arn:_"]),
        (r"[\w-_]*", ["a-Z_9"], ["ü", "a b", "٣"]),
        (r"\d{2}\w-x", ["12_-x"], ["٣٣a-x"]),
        (r"([a-z]*)${1,128}", ["", "ab"], ["a1"]),
        # Halves of a character beyond the first plane are that character.
        (r"[\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\t]*", ["\t😀\U0010ffff\ufffd"], ["\ufffe", "a"]),
        (r"[\]\\p]+[^[]", ["]\\pa"], ["q", "][", "]"]),
    ],
)
def test_a_pattern_means_what_it_means_in_java(pattern: str, fits: list[str], not_so: list[str]) -> None:
    compiled = compile_pattern(pattern)
    assert [text for text in (*fits, *not_so) if compiled.fullmatch(text)] == fits


def test_every_pattern_of_the_services_that_are_checked_is_understood() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for service in SERVICES:
            model = service_model(service)
            for pattern in {model.shape_for(name).metadata.get("pattern") for name in model.shape_names} - {None}:
                assert isinstance(compile_pattern(pattern), re.Pattern)


@pytest.mark.parametrize(
    ("action", "members"),
    [
        ("codebuild:CreateProject", {"tags": [{"key": "team", "value": "Prüfung!"}]}),
        ("events:PutRule", {"EventBusName": "default!"}),
        ("logs:CreateLogGroup", {"tags": {"team!": "x"}}),
        ("sagemaker:CreateModel", {"Tags": [{"Key": "team", "Value": "a<b"}]}),
        ("ssm:PutParameter", {"Tags": [{"Key": "team", "Value": "a;b"}]}),
        # A letter elsewhere, none in Java's \w.
        ("lambda:CreateFunction", {"FunctionName": "prüfung"}),
    ],
)
def test_a_tag_or_a_name_of_other_characters_is_refused(action: str, members: dict[str, object]) -> None:
    with pytest.raises(LimitExceeded, match="satisfy regular expression pattern"):
        check(action, members)
