"""MiniStack with every extension installed."""

from __future__ import annotations

from typing import Any

from ministack import app

from defectory.local.server.authorization.authority import Authority
from defectory.local.server.authorization.deliveries import Deliveries
from defectory.local.server.authorization.evaluation import mend_evaluator
from defectory.local.server.authorization.gate import Gate
from defectory.local.server.authorization.keys import keep_keys
from defectory.local.server.authorization.machines import Machines
from defectory.local.server.authorization.permissions import Permissions
from defectory.local.server.authorization.sessions import Sessions
from defectory.local.server.budgets import add_budgets
from defectory.local.server.codebuild.service import Builds
from defectory.local.server.codepipeline.service import Pipelines
from defectory.local.server.deadlines import Deadlines
from defectory.local.server.events import Events
from defectory.local.server.executions import Executions
from defectory.local.server.functions import Functions
from defectory.local.server.hooks import check_release, require
from defectory.local.server.integrations import Integrations
from defectory.local.server.invocations import Invocations
from defectory.local.server.limits.deliveries import measure_deliveries
from defectory.local.server.limits.enforcement import hold_limits
from defectory.local.server.names import name_anew
from defectory.local.server.notifications import Notifications
from defectory.local.server.objects import Objects
from defectory.local.server.queues import Queues
from defectory.local.server.quotas import Quotas
from defectory.local.server.sagemaker.resources import add_resources
from defectory.local.server.sagemaker.service import SageMaker
from defectory.local.server.services import Extension
from defectory.local.server.settings import Settings
from defectory.local.server.tagging import find_by_tags


class Extensions(Extension):
    """All extensions as one."""

    def __init__(self, settings: Settings) -> None:
        mend_evaluator()
        self.queues = Queues()
        Executions()
        Deadlines()
        invocations = Invocations()
        permissions = Permissions(Authority(settings.permissions), Sessions())
        objects = Objects(settings.work / "incoming")
        builds = Builds(settings, objects, permissions)
        events = Events()
        sagemaker = SageMaker(settings, objects, events, permissions)
        add_resources(sagemaker)
        add_budgets()
        name_anew()
        find_by_tags(sagemaker.registry)
        # Pipelines first when stopping: they shall not take the end of their builds for a result.
        self._extensions: tuple[Extension, ...] = (
            Pipelines(objects, builds, events, permissions),
            builds,
            sagemaker,
            Integrations(settings, sagemaker, permissions),
            invocations,
            Functions(settings, permissions),
            self.queues,
            Notifications(settings.outbox),
            Quotas(),
            objects,
        )
        # Before who may deliver at all is asked, which is said first.
        measure_deliveries()
        Deliveries(permissions)
        Machines(permissions)
        keep_keys()
        # Last, when every service is there: what may not be asked is told before what is too much.
        hold_limits()
        Gate(permissions.authority)

    def start(self) -> None:
        for extension in self._extensions:
            extension.start()

    def stop(self) -> None:
        for extension in self._extensions:
            extension.stop()


def install(settings: Settings) -> tuple[Any, Extensions]:
    """The ASGI application and what was added to it.

    Raises:
        LocalCloudError: MiniStack is not the release that the extensions were written for.
    """
    check_release()
    return require(app, "app"), Extensions(settings)
