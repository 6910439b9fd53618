"""What is kept between one start and the next."""

from __future__ import annotations

import json

from defectory.errors import LocalCloudError
from defectory.local.server.settings import Settings

ENDPOINT = "endpoint"


def prepare(settings: Settings) -> None:
    """Make kept state fit for this start: let it name the endpoint of today, which queues' URLs hold, among others.

    Raises:
        LocalCloudError: a file is damaged; MiniStack would start without it, and overwrite it when it ends.
    """
    note = settings.state / ENDPOINT
    before = note.read_text().strip() if note.exists() else settings.endpoint
    for file in sorted(settings.state.glob("*.json")):
        text = file.read_text()
        try:
            json.loads(text)
        except ValueError as error:
            raise LocalCloudError(
                f"The kept state in {file} is damaged: {error}. Mend it, or remove it to start without it."
            ) from error
        if before != settings.endpoint and f"{before}/" in text:
            changed = file.with_suffix(".tmp")
            changed.write_text(text.replace(f"{before}/", f"{settings.endpoint}/"))
            changed.replace(file)
    note.write_text(f"{settings.endpoint}\n")
