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

    Exit code 0: deploy it. 1: it is not what was let through last, or not settled. 6: the receipt
    is foreign, or a byte differs.
    """
    with desk(registry, read_only=True) as at:
        name = wiring.choose_system(at.registry, system)
        settings = wiring.applied_policy(at.registry).environment(environment)
        place = wiring.target(at.root, name, settings)
        if place.publisher is None:
            raise UsageMistake(
                f"{environment} publishes nothing, so there is no receipt to check",
                hint=f'set publish = "published/{environment}" in policy.toml and apply it',
            )
        found = wiring.check_deploy(
            at.registry,
            place.publisher,
            name,
            environment,
            receipt_file=Path(receipt) if receipt else None,
            folder=Path(folder) if folder else None,
        )
    if as_json:
        emit(
            {
                "system": name,
                "environment": environment,
                "version": found.version,
                "label": found.label,
                "generation": found.generation,
                "state": found.state,
                "ungated": found.ungated,
            }
        )
        return
    ungated = "  UNGATED" if found.ungated else ""
    say(
        f"{mark('pass')} {found.label} may be deployed to {environment}: generation "
        f"{found.generation}, {found.kind}, {len(found.files)} files{ungated}"
    )
