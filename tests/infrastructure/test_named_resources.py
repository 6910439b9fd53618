"""The doctor looks for every name that the templates give, and for no other."""

from defectory.config import load_config
from defectory.doctor import named_resources

NAMES = {
    "AWS::Lambda::Function": "FunctionName",
    "AWS::StepFunctions::StateMachine": "StateMachineName",
    "AWS::CloudWatch::Alarm": "AlarmName",
}


def test_names_are_those_of_the_templates(synthesise):
    config = load_config({"region": "us-east-1"}, {})
    for stack, named in named_resources(config).items():
        template = synthesise(
            stack.removeprefix("defectory-"), alert_email="ops@example.com", defect_email="line@example.com"
        )
        names = {
            (kind, properties[field])
            for kind, field in NAMES.items()
            for properties in template.of_type(kind).values()
            if isinstance(properties.get(field), str)
        }
        assert names == set(named), stack
