"""The commands by name; each is imported only when it is called.

The short help stands here as well as in the command, so that `lockgate --help` imports none of
them; a test holds the two together.
"""

from __future__ import annotations

import importlib
from typing import Any

import click
from click.types import StringParamType

from lockgate import __version__
from lockgate.errors import UsageMistake

SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Begin": {
        "init": ("setup", "Make a registry with a small system that runs."),
        "demo": ("demo", "Copy the sample and replay its story with real evals."),
    },
    "The loop": {
        "change": ("change", "Show how a folder differs from the version it came from."),
        "register": ("register", "Give a change an identity that never changes again."),
        "evaluate": ("evaluate", "Run the suites against a version, live."),
        "gate": ("gate", "Decide whether a version may go to an environment."),
        "promote": ("promote", "Make a version that passed the gate live."),
        "ship": ("promote", "Walk the whole loop in order, as far as it goes."),
    },
    "People": {
        "approve": ("approve", "Say yes to a decision, signed; alone: what waits for me."),
        "reject": ("approve", "Say no to a decision, signed."),
    },
    "Look": {
        "status": ("status", "Tell what is live, what changed last and what is next."),
        "log": ("history", "List releases, newest first; --all lists every track."),
        "tree": ("history", "Draw how versions descend from each other."),
        "search": ("history", "Find versions by label, owner, reason or prompt."),
        "show": ("show", "Show one version: components, runs, decisions, where it is live."),
        "diff": ("show", "Show what differs between two versions and what it did."),
        "checkout": ("show", "Write a version's files into a folder."),
        "report": ("report", "Tell what happened since a time, and what is open now."),
        "why": ("status", "Say what is or was live in an environment, and by which decision."),
    },
    "The way back": {
        "ready": ("ready", "Start of a shift: would the way back work right now."),
        "rollback": ("rollback", "Make the version before live again, verified."),
        "close": ("break_glass", "End a break-glass promotion, as a second person."),
        "settle": ("rollback", "Find out how an attempt that was cut off ended."),
        "hold": ("hold", "Stop promotions to an environment."),
        "lift": ("hold", "End a quarantine or a hold, with a reason."),
        "note": ("note", "Add a word to a deployment, afterwards."),
    },
    "Hand-off": {
        "handoff": ("handoff", "Write the page that hands a system off."),
        "definition": ("handoff", "Write the page that says what a version is."),
        "evidence": ("evidence", "Write what is known about a version, checkable offline."),
    },
    "Upkeep": {
        "rehearse": ("rehearse", "See whether the gate notices a version made worse on purpose."),
        "recheck": ("recheck", "Evaluate what is live again and hold it against its approval."),
        "review": ("review", "Ask whether gate, definition and way back still hold."),
        "expire": ("expire", "Remove the contents of old experiments; records stay."),
    },
    "For machines": {
        "deploy-check": ("deploy_check", "Let a pipeline deploy only what the gate let through."),
        "resolve": ("resolve", "Print the folder of what is live, verified; for machines."),
    },
    "What is asked": {
        "policy": ("applied", "Show the applied policy; `policy apply` makes the file count."),
        "suite": ("applied", "Show the suites; `suite apply` makes the files count."),
    },
}
"""Section to command name to (file below `lockgate.cli`, short help)."""

COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}

_PATHS = ("DIR", "FILE")
"""What a file system names may be any bytes."""
_MEANT = {
    **dict.fromkeys(("V", "A", "B", "V|ENV"), "version"),
    "ENV": "environment",
    "XN": "experiment",
}


class Words(StringParamType):
    """Text that names something in the registry or is kept there: valid UTF-8, or refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text as it is.

        Raises:
            UsageMistake: Some of its bytes are no UTF-8.
        """
        try:
            str(value).encode()
        except UnicodeEncodeError as error:
            metavar = _bare(param)
            what = _MEANT.get(metavar, metavar.lower())
            raise UsageMistake(f"the {what} is not valid UTF-8", hint="type it again") from error
        return str(value)


def _bare(param: click.Parameter | None) -> str:
    return ((param.metavar if param else None) or "text").strip("[].").partition("[")[0]


def _check_words(command: click.Command) -> click.Command:
    """Have every text a command takes checked where it comes in, paths excepted."""
    for param in command.params:
        if param.type is click.STRING and _bare(param) not in _PATHS:
            param.type = Words()
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        _check_words(inner)
    return command


class LazyGroup(click.Group):
    """A group that imports a command's file only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return every command's name, in the order of the sections."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"lockgate.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        return _check_words(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or suggest the one that was probably meant."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            raise UsageMistake(
                f"there is no command `{args[0]}`",
                hint=f"did you mean `lockgate {near[0]}`?"
                if near
                else "`lockgate --help` lists them",
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands in their sections."""
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name, entry[1]) for name, entry in commands.items()])


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="lockgate")
@click.option("--registry", metavar="DIR", help="The registry's folder; else found upward.")
@click.pass_context
def cli(ctx: click.Context, registry: str | None) -> Any:
    """Version control for AI behaviour: change, register, evaluate, gate, promote, in that order.

    Exit codes: 0 done, 1 refused, 2 usage, 3 registry or disk, 4 inconclusive, 5 eval or deploy
    failed, 6 integrity broken, 7 waiting for a person, 130 interrupted.
    """
    ctx.obj = registry
    if ctx.invoked_subcommand is None:
        from lockgate.cli.status import front_page

        return front_page(registry)
    return None
