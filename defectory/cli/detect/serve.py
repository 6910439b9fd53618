"""``defectory detect serve``: a detector behind HTTP on this machine.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

from defectory.cli.options import ModelArgument
from defectory.cli.serving import (
    AllowHostOption,
    HostOption,
    PortOption,
    TokenFileOption,
    check_names,
    given_token,
    serve_until_stopped,
)
from defectory.errors import require_extra


def serve(
    model: ModelArgument,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8080,
    token_file: TokenFileOption = None,
    allow_host: AllowHostOption = None,
) -> None:
    """Serve a detector by HTTP until Ctrl-C, as SageMaker's endpoints do.

    POST a PNG or JPEG to /invocations with the header "Authorization: Bearer TOKEN": the answer has the image's width
    and height and its detections (label, score, and box: left, top, width, height in pixels), from each class's
    threshold on, or from the score of ?min_score=0.3. GET /ping answers anybody. Web pages of other servers are not
    let in. Prints the token, if it is a new one, and the command that sends an image.

    Examples:

        defectory detect serve detector.tar.gz

        defectory detect serve detector.tar.gz --token-file token.txt --allow-host detection.example.com
    """
    require_extra("serve")
    from defectory.detection.detectors.detector import load_detector
    from defectory.detection.serving import DetectionServer

    names = allow_host or []
    check_names(names)
    token = given_token(token_file)
    loaded = load_detector(model)
    title = f"detector {loaded.card.version}"
    serve_until_stopped(
        DetectionServer,
        loaded,
        title,
        host=host,
        port=port,
        token=token,
        token_file=token_file,
        names=names,
        example="aisle.png",
    )
