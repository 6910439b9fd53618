"""``defectory inspect serve``: a model behind HTTP on this machine.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model's file.")],
    host: Annotated[str, typer.Option(help="Address to listen on; any other than the default opens it to others.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8080,
) -> None:
    """Serve a model by HTTP until Ctrl-C, as SageMaker's endpoints do and as Amazon Lookout for Vision did.

    POST a PNG or JPEG to /invocations (add ?format=lookout for the answer of DetectAnomalies), or to
    /2020-11-20/projects/PROJECT/models/VERSION/detect. GET /ping answers once the model is loaded.

    Examples:

        defectory inspect serve model.tar.gz

        curl -H "Content-Type: image/png" --data-binary @part.png http://127.0.0.1:8080/invocations
    """
    from defectory.inspection.model import load_model
    from defectory.inspection.serving import serve as serve_model

    loaded = load_model(model)

    def ready(url: str) -> None:
        typer.echo(f"Serving model {loaded.card.version} at {url} (Ctrl-C stops it)")

    try:
        serve_model(loaded, host, port, ready=ready)
    except KeyboardInterrupt:
        typer.echo("Stopped.")
