"""What the commands that serve a model share: their options, the token, and what they print.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from defectory.door import TOKEN_VARIABLE, Authority, new_secret
from defectory.errors import InputError

if TYPE_CHECKING:
    from defectory.door.models import ModelServer

Model = TypeVar("Model")

HostOption = Annotated[str, typer.Option(help="Address to listen on; any other than the default opens it to others.")]
PortOption = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]
TokenFileOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help=f"File with the token that callers have to send (16 characters or more), for a service; without it "
        f"the variable {TOKEN_VARIABLE}, without that a new one at each start.",
        exists=True,
        dir_okay=False,
    ),
]
AllowHostOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Host name by which callers may reach the server beside localhost and addresses, such as that of a "
        "proxy in front; may be repeated.",
    ),
]

# As long as a person may choose; one that is made has 43 characters.
_TOKEN = re.compile(r"[!-~]{16,512}")


def check_names(names: Sequence[str]) -> None:
    """Refuse what ``--allow-host`` cannot take.

    Raises:
        InputError: one is no host name, or has a port.
    """
    for name in names:
        if (authority := Authority.parse(name)) is None or authority.port is not None:
            raise InputError("--allow-host", "a host name without a port", name)


def given_token(file: Path | None) -> str | None:
    """The token of the file or of the environment; None if there is none.

    Raises:
        InputError: the file cannot be read, or it is no token.
    """
    try:
        token = file.read_text().strip() if file else os.environ.get(TOKEN_VARIABLE)
    except (OSError, ValueError) as error:
        raise InputError("--token-file", "a file with a token", str(file)) from error
    if token is not None and not _TOKEN.fullmatch(token):
        place = "--token-file" if file else TOKEN_VARIABLE
        # The token itself is not shown.
        raise InputError(place, "a token of 16 to 512 printable characters without spaces", f"{len(token)} characters")
    return token


def serve_until_stopped(
    server: type[ModelServer[Model]],
    model: Model,
    title: str,
    *,
    host: str,
    port: int,
    token: str | None,
    token_file: Path | None,
    names: Sequence[str],
    example: str,
) -> None:
    """Serve ``model`` until Ctrl-C; prints the address, the token if it is a new one, and how to send ``example``."""
    new_token = new_secret()

    def ready(url: str) -> None:
        typer.echo(f"Serving {title} at {url} (Ctrl-C stops it)")
        if token is None:
            typer.echo(f"export {TOKEN_VARIABLE}={new_token}")
        _show_call(url, token_file, example)

    try:
        server.serve(model, host, port, token=token or new_token, names=names, ready=ready)
    except KeyboardInterrupt:
        typer.echo("Stopped.")


def _show_call(url: str, token_file: Path | None, example: str) -> None:
    """The command that sends an image."""
    # Not among curl's arguments, which every user of the machine can read.
    token = f"$(cat {shlex.quote(str(token_file))})" if token_file else f"${TOKEN_VARIABLE}"
    command = f'curl -H @- -H "Content-Type: image/png" --data-binary @{example} {url}/invocations'
    typer.echo(f'echo "Authorization: Bearer {token}" | {command}')
