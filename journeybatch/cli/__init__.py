"""The command line: one file per family of verbs. Exit codes are the contract's."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

import click

from journeybatch import __version__
from journeybatch.cli.memory import be_frugal
from journeybatch.errors import JourneybatchError, OutOfMemory, starved

VERBS = {
    "run": "running",
    "plan": "running",
    "eval": "evaluating:evaluate",
    "status": "looking",
    "runs": "watching",
    "tune": "steering",
    "show": "looking",
    "export": "looking",
    "verify": "looking",
    "report": "reporting",
    "batch": "batch",
    "models": "asking",
    "account": "asking",
    "chat": "asking",
    "emulate": "starting",
    "init": "starting",
    "schema": "starting",
    "doctor": "doctor",
    "explain": "explaining",
}
"""Each verb and the module it lives in (and its name there, if that is another), imported when it is called: start-up
time is a promise."""


class Verbs(click.Group):
    """The verbs, loaded when they are wanted."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        from importlib import import_module

        home, _, name = VERBS.get(cmd_name, "").partition(":")
        command = getattr(import_module(f"journeybatch.cli.{home}"), name or cmd_name) if home else None
        return command if isinstance(command, click.Command) else None


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="journeybatch")
def journeybatch() -> None:
    """One prompt over every row of a table, through JourneyAPI: exact about credits, safe against crashes."""
    be_frugal()


def main() -> None:
    """Run the command line and exit with the contract's code."""
    try:
        code = journeybatch.main(standalone_mode=False, prog_name="journeybatch")
    except click.exceptions.Exit as end:
        code = end.exit_code
    except click.ClickException as error:
        _say(error.format_message() + _usage(error))
        code = 2
    except (click.Abort, KeyboardInterrupt):
        _say("interrupted; nothing is lost, run again to carry on")
        code = 128 + signal.SIGINT
    except BrokenPipeError:
        code = 0
    except Exception as error:  # noqa: BLE001  the last border: whatever it is, it is told and has an exit code
        code = _explained(error)
    _leave(code if isinstance(code, int) else 0)


def _explained(error: Exception) -> int:
    """Say what went wrong, as to a user. Returns the exit code. Raises a bug again where somebody looks for it."""
    if starved(error):
        error = OutOfMemory()
    if isinstance(error, JourneybatchError):
        _say(f"{error}\n{more(error.code)}")
        return error.exit_code
    if os.environ.get("JOURNEYBATCH_DEBUG"):
        raise error
    _say(
        f"this is a bug in journeybatch: {type(error).__name__}: {error}\n"
        "what was paid for is safe in the journal; set JOURNEYBATCH_DEBUG=1 to see where it happened"
    )
    return 70


def more(code: str) -> str:
    """Where more is said of an error, as a line to follow it."""
    return f"more: journeybatch explain {code}"


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"\ntry: {context.command_path} --help" if context else ""


def _say(text: str) -> None:
    with suppress(OSError, ValueError, AttributeError):
        encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        print(f"journeybatch: {text}".encode(encoding, "replace").decode(encoding), file=sys.stderr)  # noqa: T201


def _leave(code: int) -> None:
    """Exit, also where a standard stream is closed or full: the code is what scripts rely on."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)
