"""`lockgate evidence`: everything about one version, in one file that anybody can check."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from lockgate import wiring
from lockgate.cli.common import (
    desk,
    emit,
    json_option,
    mark,
    registry_option,
    say,
    system_option,
    tell,
)
from lockgate.cli.looking import policy_of
from lockgate.domain import figures
from lockgate.errors import Refused, UsageMistake
from lockgate.shown import shown

_SHOWN_MISSING = 8


@click.command("evidence", short_help="Write what is known about a version, checkable offline.")
@click.argument("version", metavar="V")
@click.option("-o", "--output", required=True, metavar="FILE", help="The .tar to write.")
@click.option("--files", "with_files", is_flag=True, help="With the version's files.")
@click.option("--outputs", "with_outputs", is_flag=True, help="With the texts it answered.")
@click.option("--unsigned", is_flag=True, help="Also where this host has no key to sign with.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@system_option
@registry_option
@json_option
def evidence_command(
    version: str,
    output: str,
    with_files: bool,
    with_outputs: bool,
    unsigned: bool,
    force: bool,
    system: str | None,
    registry: str | None,
    as_json: bool,
) -> None:
    """Write a bundle that proves what a version is, what it scored and who let it in.

    A tar with an in-toto statement signed by this host, the definition, runs with every answer,
    decisions with their numbers, approvals with signatures, the policy, receipts, and verify.sh,
    which checks all of it offline with sha256sum and ssh-keygen. A version that was never decided
    about has one too, and it says so.
    """
    target = Path(output).expanduser()
    if target.is_dir():
        raise UsageMistake(f"`{shown(target)}` is a folder", hint="name a file: -o FILE.tar")
    if target.exists() and not force:
        raise Refused(f"`{shown(target)}` is there already", hint="name a new file, or --force")
    if not target.parent.is_dir():
        raise UsageMistake(
            f"there is no folder `{shown(target.parent)}`",
            hint=f"make it: mkdir -p {shlex.quote(shown(target.parent))}",
        )
    with desk(registry, read_only=True) as at:
        name = wiring.choose_system(at.registry, system)
        chosen = wiring.choose_version(at.registry, name, version)
        written = wiring.write_evidence(
            at.root,
            at.registry,
            chosen,
            policy_of(at.registry),
            target,
            with_files=with_files,
            with_outputs=with_outputs,
            unsigned=unsigned,
        )
    found = written.collected
    if as_json:
        emit(
            {
                "file": target,
                "version": chosen.id,
                "label": chosen.label,
                "size_bytes": written.size_bytes,
                "files": written.files,
                "signed": written.is_signed,
                "decided": bool(found.decisions),
                "live": found.live,
                "missing": found.missing,
            }
        )
    else:
        say(
            f"{mark('pass')} evidence for {chosen.label} of {name} is in {shown(target)}: "
            f"{written.files} files, {figures.size(written.size_bytes)}"
        )
    if not found.decisions:
        tell(f"note: the gate never decided about {chosen.label}, and the bundle says so")
    for line in found.missing[:_SHOWN_MISSING]:
        tell(f"missing: {shown(line)}")
    if len(found.missing) > _SHOWN_MISSING:
        tell(f"missing: {len(found.missing) - _SHOWN_MISSING} more, listed in statement.json")
    if not written.is_signed:
        tell("NOT SIGNED: this host has no key, so nobody vouches for the bundle")
    quoted = shlex.quote(shown(target))
    tell(f"next: `tar -xf {quoted} && sh {found.name}/verify.sh` checks it, anywhere")
