"""``defectory inspect serve``: a model behind HTTP on this machine.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from defectory.cli.options import ModelArgument
from defectory.door import TOKEN_VARIABLE, Authority, new_secret
from defectory.errors import InputError, require_extra

# As long as a person may choose; one that is made has 43 characters.
_TOKEN = re.compile(r"[!-~]{16,512}")


def serve(
    model: ModelArgument,
    host: Annotated[str, typer.Option(help="Address to listen on; any other than the default opens it to others.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8080,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=f"File with the token that callers have to send (16 characters or more), for a service; without it "
            f"the variable {TOKEN_VARIABLE}, without that a new one at each start.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Host name by which callers may reach the server beside localhost and addresses, such as that of a "
            "proxy in front; may be repeated.",
        ),
    ] = None,
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
    from defectory.inspection.serving import serve as serve_model

    _check_names(allow_host or ())
    token = _given_token(token_file)
    loaded = load_model(model)
    new_token = new_secret()

    def ready(url: str) -> None:
        typer.echo(f"Serving model {loaded.card.version} at {url} (Ctrl-C stops it)")
        if token is None:
            typer.echo(f"export {TOKEN_VARIABLE}={new_token}")
        _show_call(url, token_file)

    try:
        serve_model(loaded, host, port, token=token or new_token, names=allow_host or (), ready=ready)
    except KeyboardInterrupt:
        typer.echo("Stopped.")


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if (authority := Authority.parse(name)) is None or authority.port is not None:
            raise InputError("--allow-host", "a host name without a port", name)


def _show_call(url: str, token_file: Path | None) -> None:
    """The command that sends an image."""
    # Not among curl's arguments, which every user of the machine can read.
    token = f"$(cat {shlex.quote(str(token_file))})" if token_file else f"${TOKEN_VARIABLE}"
    command = f'curl -H @- -H "Content-Type: image/png" --data-binary @part.png {url}/invocations'
    typer.echo(f'echo "Authorization: Bearer {token}" | {command}')


def _given_token(file: Path | None) -> str | None:
    """The token of the file or of the environment; None if there is none."""
    try:
        token = file.read_text().strip() if file else os.environ.get(TOKEN_VARIABLE)
    except (OSError, ValueError) as error:
        raise InputError("--token-file", "a file with a token", str(file)) from error
    if token is not None and not _TOKEN.fullmatch(token):
        place = "--token-file" if file else TOKEN_VARIABLE
        # The token itself is not shown.
        raise InputError(place, "a token of 16 to 512 printable characters without spaces", f"{len(token)} characters")
    return token
