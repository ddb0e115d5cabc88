"""`volumehealth completion`: scripts for shells, as Click makes them; no library beside it is needed."""

import click
from click.shell_completion import get_completion_class

_PROGRAM = "volumehealth"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that lets a shell complete this command.

    \b
    bash: volumehealth completion bash > ~/.local/share/bash-completion/completions/volumehealth
    zsh:  volumehealth completion zsh > "${fpath[1]}/_volumehealth"
    fish: volumehealth completion fish > ~/.config/fish/completions/volumehealth.fish
    """  # noqa: D301 - click wants the control character
    from volumehealth.cli.main import cli  # it has this command, too

    made = get_completion_class(shell)
    if made is None:  # the choices above are Click's own
        raise click.ClickException(f"{shell} is not known")
    click.echo(made(cli, {}, _PROGRAM, f"_{_PROGRAM.upper()}_COMPLETE").source())
