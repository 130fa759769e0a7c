"""`lockgate deploy-check`: what a pipeline calls before it gets its credentials."""

from __future__ import annotations

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
from lockgate.errors import UsageMistake


@click.command("deploy-check", short_help="Let a pipeline deploy only what the gate let through.")
@click.argument("environment", metavar="ENV")
@click.option("--folder", metavar="DIR", help="The definition as the pipeline has it.")
@click.option("--receipt", metavar="FILE", help="The receipt to check; else that of what is live.")
@system_option
@registry_option
@json_option
def deploy_check_command(
    environment: str,
    folder: str | None,
    receipt: str | None,
    system: str | None,
    registry: str | None,
    as_json: bool,
) -> None:
    """Check signature, bytes and generation of what is to be deployed. It never mints anything.

    Without --receipt it is what is live; a deploy hook passes "$LOCKGATE_RECEIPT", of its own
    attempt. --folder checks the pipeline's own copy instead of the published one.

    Running instances that are not on what is live are named on stderr.

    Exit code 0: deploy it. 1: it is not what was let through last, or not settled. 3: its receipt is
    missing. 6: the receipt is foreign, or a byte differs.
    """
    with desk(registry, read_only=True) as at:
        name = wiring.choose_system(at.registry, system)
        settings = wiring.applied_policy(at.registry).environment(environment)
        place = wiring.target(at.root, name, settings)
        if place.publisher is None:
            raise UsageMistake(
                f"{environment} publishes nothing, so there is no receipt to check",
                hint=f'set publish = "published/{environment}" in policy.toml, then `lockgate policy apply`',
            )
        found = wiring.check_deploy(
            at.registry,
            place.publisher,
            name,
            environment,
            receipt_file=Path(receipt) if receipt else None,
            folder=Path(folder) if folder else None,
        )
        others = []
        if found.state == "live":
            others = wiring.other_instances(at.registry, place, name, environment)
    is_signed = place.publisher.key.exists()
    if as_json:
        emit(
            {
                "system": name,
                "environment": environment,
                "version": found.version,
                "label": found.label,
                "generation": found.generation,
                "kind": found.kind,
                "state": found.state,
                "decision": found.decision,
                "ungated": found.ungated,
                "definition": found.definition,
                "folder": Path(folder).absolute() if folder else place.publisher.folder_of(found),
                "files": len(found.files) + len(found.executables),
                "signed": is_signed,
                "instances": others,
            }
        )
        return
    ungated = ", UNGATED: somebody broke the glass, no gate let it in" if found.ungated else ""
    say(
        f"{mark('pass')} {found.label} may be deployed to {environment}: generation "
        f"{found.generation}, {found.kind}, {len(found.files) + len(found.executables)} files{ungated}"
    )
    for line in others:
        tell(f"note: {line}")
    if not is_signed:
        tell("note: its receipt is not signed: this host has no key")
