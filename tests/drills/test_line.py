"""The inspection line under load and under attack: nothing is lost, nothing twice, and people hear of what is owed."""

from __future__ import annotations

from tests.local_cloud import drills


def test_burst_of_a_thousand_uploads(line, report):
    report |= drills.burst(line, uploads=1000, repeated=60)


def test_sixty_uploads_while_the_endpoints_container_is_killed(line, report):
    report |= drills.kill_endpoint(line, uploads=60, kills=25)


def test_sixty_uploads_while_functions_are_killed(line, report):
    report |= drills.kill_functions(line, uploads=60, kills=25)


def test_poisoned_messages(line):
    drills.poison(line)


def test_an_endpoint_that_answers_nonsense(line, report):
    report |= drills.answer_nonsense(line)


def test_throttled_table_and_topic(line, report):
    report |= drills.throttle(line, uploads=60, share=0.3)
