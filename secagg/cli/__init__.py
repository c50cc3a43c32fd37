"""The command line: one module per command, each imported when its command is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from secagg.cli import logs
from secagg.cli.output import encodable

COMMANDS = (
    *("demo", "plan", "simulate", "serve", "join"),
    *("keys", "identity", "roster", "task", "collect"),
    *("bench", "protocols", "inspect", "budget"),
    *("frontier", "audit"),
    *("verify-transcript", "verify-evidence"),
    *("service", "enrol", "results", "login", "top"),
)
"""In the order of --help. A command is the function named like its module, - being written as _."""


_UsageError: type[Any] = typer.BadParameter.__mro__[1]
"""Of whichever click typer was built on."""
_WORDS = "secagg.words"


@contextmanager
def _told(words: tuple[str, ...]) -> Iterator[None]:
    """A script that asked for JSON reads of wrong usage there as well."""
    try:
        yield
    except _UsageError as error:
        if "--json" in words:
            typer.echo(json.dumps({"error": "UsageError", "message": error.format_message()}))
        if "--log-json" in words:
            logs.configure(as_json=True)
            logs.say(logs.Level.ERROR, error.format_message(), error="UsageError")
            raise typer.Exit(error.exit_code) from None
        raise


class _Commands(TyperGroup):
    """Imports no command but the one that runs: `secagg plan` need not wait for the compiler."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[_WORDS] = words = tuple(args)
        with _told(words):
            if any("\0" in word for word in words):  # which older click takes to the file system
                raise _UsageError("an argument has a null byte, and no name of anything has one")
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        with _told(ctx.meta[_WORDS]):
            return super().invoke(ctx)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return _command(cmd_name) if cmd_name in COMMANDS else None


def function_of(command: str) -> Any:
    """What runs it; its module is imported."""
    name = command.replace("-", "_")
    return getattr(import_module(f"secagg.cli.{name}"), name)


@cache
def _command(name: str) -> Any:
    """Made once: typer reads every annotation of a command again each time it makes it."""
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name)(function_of(name))
    return typer.main.get_command(single)


def _show_version(wanted: bool) -> None:
    if wanted:
        from secagg import __version__

        typer.echo(f"secagg {__version__}")
        raise typer.Exit


# Tracebacks stay plain: rich's may print local variables, and here some of them are secrets.
app = typer.Typer(
    name="secagg",
    cls=_Commands,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def _secagg(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Secure aggregation: a server learns the sum of many clients' vectors and nothing else.

    Every command takes --json and then prints exactly one JSON object on standard output.
    """
    logs.configure()  # commands that run for long have options of it


def main() -> None:
    """The console script: never returns, but exits with the code of the command."""
    encodable()
    app()
