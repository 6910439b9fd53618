"""Tests that share a local cloud or a synthesis have to run on one worker, or each worker makes its own."""

from __future__ import annotations

import pytest


@pytest.mark.xdist_group("groups")
def test_workers_keep_groups_together(request: pytest.FixtureRequest) -> None:
    # xdist goes by the node id's end; with a release of pytest that it does not know, it parts groups in silence.
    parted = hasattr(request.config, "workerinput") and not request.node.nodeid.endswith("@groups")

    assert not parted, "pytest-xdist ignores xdist_group: pin releases of both that fit each other"
