"""Reading the documents of the state machines: what is put in, what is left out, and what does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from stacks import state_machines
from stacks.state_machines import DefinitionError, read_definition

DOCUMENT = """
StartAt: Ask
Shared:
  retry: &retry {ErrorEquals: [States.ALL], MaxAttempts: 2}
States:
  Ask:
    Type: Task
    Resource: arn:${Partition}:states:::lambda:invoke
    Arguments: {FunctionName: "${Function}", Payload: "{% $states.input %}"}
    Retry: [*retry]
    Next: Optional
  Optional:
    Type: Choice
    Choices:
      - {Condition: "{% $states.input.ok %}", Next: Register}
    Default: Register
  Register:
    Type: Task
    Resource: ${Function}
    Retry: [*retry]
    Next: Done
  Done:
    Type: Succeed
    Output: >-
      {% {
        "names": [
          'a  b'
        ]
      } %}
"""
VALUES = {"Partition": "aws-cn", "Function": {"Fn::GetAtt": ["Function", "Arn"]}}


@pytest.fixture(autouse=True)
def _document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "small.asl.yaml").write_text(DOCUMENT)
    monkeypatch.setattr(state_machines, "FOLDER", tmp_path)


def test_values_take_the_place_of_placeholders_alone_or_within_a_text():
    ask = read_definition("small", VALUES)["States"]["Ask"]

    assert ask["Resource"] == "arn:aws-cn:states:::lambda:invoke"
    assert ask["Arguments"] == {"FunctionName": VALUES["Function"], "Payload": "{% $states.input %}"}


def test_shared_parts_are_where_states_refer_to_them_and_nowhere_else():
    definition = read_definition("small", VALUES)

    assert definition.keys() == {"StartAt", "States"}
    assert definition["States"]["Ask"]["Retry"] == [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 2}]


def test_an_expression_over_several_lines_is_one_line_with_its_texts_unchanged():
    assert read_definition("small", VALUES)["States"]["Done"]["Output"] == "{% { \"names\": [ 'a  b' ] } %}"


def test_a_state_that_is_left_out_is_passed_over():
    states = read_definition("small", VALUES, without=["Register"])["States"]

    assert states.keys() == {"Ask", "Optional", "Done"}
    assert states["Optional"]["Choices"][0]["Next"] == states["Optional"]["Default"] == "Done"


@pytest.mark.parametrize("state", ["Registr", "Done"])
def test_a_state_that_cannot_be_left_out_is_named(state):
    with pytest.raises(DefinitionError, match=rf"small\.asl\.yaml: {state} "):
        read_definition("small", VALUES, without=[state])


def test_a_placeholder_without_a_value_is_named():
    with pytest.raises(DefinitionError, match=r"small\.asl\.yaml: \$\{Function\} has no value"):
        read_definition("small", {"Partition": "aws"})


def test_a_value_that_is_used_nowhere_is_named():
    with pytest.raises(DefinitionError, match=r"Functoin is given, and \$\{Functoin\} is nowhere"):
        read_definition("small", {**VALUES, "Functoin": "x"})
