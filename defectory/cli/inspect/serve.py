"""``defectory inspect serve``: a model behind HTTP on this machine.

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
    """Serve a model by HTTP until Ctrl-C, as SageMaker's endpoints do and as Amazon Lookout for Vision did.

    POST a PNG or JPEG to /invocations (add ?format=lookout for the answer of DetectAnomalies), or to
    /2020-11-20/projects/PROJECT/models/VERSION/detect, with the header "Authorization: Bearer TOKEN". GET /ping answers
    anybody once the model is loaded. Web pages of other servers are not let in. Prints the token, if it is a new one,
    and the command that sends an image.

    Examples:

        defectory inspect serve model.tar.gz

        defectory inspect serve model.tar.gz --token-file token.txt --allow-host inspection.example.com
    """
    require_extra("serve")
    from defectory.inspection.model import load_model
    from defectory.inspection.serving import InspectionServer

    names = allow_host or []
    check_names(names)
    token = given_token(token_file)
    loaded = load_model(model)
    title = f"model {loaded.card.version}"
    serve_until_stopped(
        InspectionServer,
        loaded,
        title,
        host=host,
        port=port,
        token=token,
        token_file=token_file,
        names=names,
        example="part.png",
    )
