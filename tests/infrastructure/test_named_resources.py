"""The doctor looks for every name that the templates give, and for no other."""

import pytest

from defectory.config import load_config
from defectory.doctor import named_resources

NAMES = {
    "AWS::Lambda::Function": "FunctionName",
    "AWS::StepFunctions::StateMachine": "StateMachineName",
    "AWS::CloudWatch::Alarm": "AlarmName",
}


@pytest.mark.parametrize("settings", [{}, {"inspection_endpoint": "lambda"}])
def test_names_are_those_of_the_templates(synthesise, settings):
    config = load_config({"region": "us-east-1", **settings}, {})
    for stack, named in named_resources(config).items():
        template = synthesise(stack.removeprefix("defectory-"), **settings)
        names = {
            (kind, properties[field])
            for kind, field in NAMES.items()
            for properties in template.of_type(kind).values()
            if isinstance(properties.get(field), str)
        }
        assert names == set(named), stack
