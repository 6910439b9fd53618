"""MiniStack with every extension installed."""

from __future__ import annotations

from typing import Any

from ministack import app

from defectory.local.server.budgets import add_budgets
from defectory.local.server.codebuild.service import Builds
from defectory.local.server.codepipeline.service import Pipelines
from defectory.local.server.events import Events
from defectory.local.server.functions import Functions
from defectory.local.server.hooks import check_release, require
from defectory.local.server.integrations import Integrations
from defectory.local.server.notifications import Notifications
from defectory.local.server.objects import Objects
from defectory.local.server.sagemaker.resources import add_resources
from defectory.local.server.sagemaker.service import SageMaker
from defectory.local.server.services import Extension
from defectory.local.server.settings import Settings


class Extensions(Extension):
    """All extensions as one."""

    def __init__(self, settings: Settings) -> None:
        objects = Objects(settings.work / "incoming")
        builds = Builds(settings, objects)
        events = Events()
        sagemaker = SageMaker(settings, objects, events)
        add_resources(sagemaker)
        add_budgets()
        # Pipelines first when stopping: they shall not take the end of their builds for a result.
        self._extensions: tuple[Extension, ...] = (
            Pipelines(settings, objects, builds, events),
            builds,
            sagemaker,
            Integrations(settings, sagemaker),
            Functions(settings),
            Notifications(settings.outbox),
            objects,
        )

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
