"""What is kept between one start and the next."""

from __future__ import annotations

from defectory.local.server.settings import Settings

ENDPOINT = "endpoint"


def follow_endpoint(settings: Settings) -> None:
    """Let kept state name the endpoint of today: queues' URLs hold it, and what was made of them."""
    note = settings.state / ENDPOINT
    before = note.read_text().strip() if note.exists() else settings.endpoint
    if before != settings.endpoint:
        for file in settings.state.glob("*.json"):
            text = file.read_text()
            if f"{before}/" in text:
                changed = file.with_suffix(".tmp")
                changed.write_text(text.replace(f"{before}/", f"{settings.endpoint}/"))
                changed.replace(file)
    note.write_text(f"{settings.endpoint}\n")
