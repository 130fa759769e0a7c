"""What a pipeline asks of a receipt and a folder before it gets the credentials to deploy.

- Nothing is written and nothing is signed.
- A foreign receipt, of another registry, epoch, system or environment or by another key, is told
  from a tampered folder, and both from a replayed receipt, which was true once.
- A live receipt may be deployed while nothing newer is live or under way. A staged one may while
  its attempt is open; what was judged when the attempt was made is not judged again.
- A receipt has to say what the registry says of its generation. Only a rollback may be unknown to
  it: that is how one is made without the registry.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lockgate.deploy.host_key import HostKey
from lockgate.deploy.intact import folder_problems
from lockgate.deploy.publisher import Publisher
from lockgate.deploy.receipts import read_receipt
from lockgate.domain.receipt import Origin, Receipt
from lockgate.domain.release import Deployment
from lockgate.errors import IntegrityBroken, Refused, StaleGeneration, UsageMistake
from lockgate.shown import shown


def check_deploy(
    publisher: Publisher,
    system: str,
    origin: Origin,
    *,
    receipt_file: Path | None = None,
    folder: Path | None = None,
    newest_generation: int | None = None,
) -> Receipt:
    """Check a receipt and its folder as far as files can tell.

    Args:
        publisher: Of the environment; what it published says what is newest.
        system: Which system is to be deployed.
        origin: The registry, epoch and environment that the receipt has to name.
        receipt_file: The receipt to check; `None` takes that of what is live.
        folder: The definition's folder as the pipeline has it; `None` takes the published one.
        newest_generation: The newest that the registry settled as live, where it can be asked.

    Returns:
        The receipt, which may be `staged` or `live`; `check_stands` says what the registry thinks.

    Raises:
        Refused: There is no receipt.
        UsageMistake: The file that was named is not there.
        IntegrityBroken: The receipt is foreign, or the folder is not what it says.
        StaleGeneration: The receipt is older than what is published, or settled as live.
    """
    settle = f"`lockgate settle {origin.environment} -s {shown(system)}`"
    live = f"lockgate deploy-check {origin.environment} -s {shown(system)}"
    mend = f"have what is live published again: {settle}"
    if receipt_file is not None:
        mend = f"take the receipt that this registry published: `{live}`"
        if not receipt_file.exists():
            raise UsageMistake(f"there is no receipt at {shown(receipt_file)}", hint=mend)
    path = receipt_file or publisher.receipt_path(system)
    receipt = check_receipt(path, publisher.key, system, origin, mend)
    check_not_replayed(receipt, _published(publisher, system), newest_generation, mend)
    if folder is None:
        check_folder(receipt, publisher.folder_of(receipt), f"have it written again: {settle}")
    else:
        check_folder(
            receipt, folder, f"take the folder that was published: `{live} --json` names it"
        )
    return receipt


def check_receipt(path: Path, key: HostKey, system: str, origin: Origin, mend: str) -> Receipt:
    """Return the receipt in a file if this registry signed it for this system and environment.

    Args:
        path: The file.
        key: Of this registry's host.
        system: What it has to be about.
        origin: Which registry, epoch and environment it has to name.
        mend: What helps when it does not.

    Raises:
        Refused: There is no such file.
        IntegrityBroken: The receipt is foreign or damaged.
        StaleGeneration: It is from before the registry was restored.
    """
    try:
        receipt = read_receipt(path, key)
    except IntegrityBroken as error:
        if not key.exists():
            mend = "bring `.lockgate/host_key` and `.lockgate/host_key.pub` back from a backup"
        raise IntegrityBroken(error.what, problems=error.problems, hint=mend) from error
    if receipt is None:
        raise Refused(
            f"there is no receipt at {shown(path)}",
            hint=f"promote a version first: `lockgate promote VERSION --to {origin.environment}`",
        )
    facts = (
        ("registry", receipt.registry, origin.registry),
        ("system", receipt.system, system),
        ("environment", receipt.environment, origin.environment),
    )
    problems = [
        f"its {name} is `{shown(found)}`, not `{shown(wanted)}`"
        for name, found, wanted in facts
        if found != wanted
    ]
    if receipt.epoch > origin.epoch:
        problems.append(f"its epoch is {receipt.epoch}, and the registry's is {origin.epoch}")
    if problems:
        raise IntegrityBroken(
            f"the receipt `{shown(path)}` is foreign", problems=problems, hint=mend
        )
    if receipt.epoch < origin.epoch:
        raise StaleGeneration(
            f"the receipt of generation {receipt.generation} is replayed: it is from epoch "
            f"{receipt.epoch}, before the registry was restored into epoch {origin.epoch}",
            hint=mend,
        )
    return receipt


def check_not_replayed(
    receipt: Receipt, published: Receipt | None, newest_generation: int | None, mend: str
) -> None:
    """Refuse a receipt that was true once.

    Args:
        receipt: The one to check.
        published: What is published now, if that can be read.
        newest_generation: The newest that the registry settled as live, if that is known.
        mend: What helps when it is refused.

    Raises:
        StaleGeneration: Something newer is live.
    """
    newest = max(
        published.generation if published and published.origin == receipt.origin else 0,
        newest_generation or 0,
    )
    is_other = (
        published is not None
        and receipt.state == "live"
        and published.generation == receipt.generation
        and not published.is_same_release(receipt)
    )
    if receipt.generation < newest or is_other:
        raise StaleGeneration(
            f"the receipt of generation {receipt.generation} is replayed: generation {newest} of "
            f"{shown(receipt.environment)} is live",
            hint=mend,
        )


def check_stands(receipt: Receipt, known: Deployment | None, newest: Deployment | None) -> None:
    """Refuse a receipt that the registry does not stand behind now.

    Args:
        receipt: The one to check; `check_deploy` found nothing wrong with it.
        known: What the registry says of its generation, if anything.
        newest: Its newest attempt, whatever became of it.

    Raises:
        Refused: An attempt is under way, or the receipt's own was given up, failed or never made.
        IntegrityBroken: The registry says that this generation is another version's.
    """
    where = f"{receipt.environment} -s {shown(receipt.system)}"
    named = f"generation {receipt.generation} of {receipt.environment}"
    if receipt.state == "live" and newest is not None and newest.is_open:
        raise Refused(
            f"generation {newest.attempt.generation} of {receipt.environment} is not settled: "
            f"{shown(newest.attempt.actor)} is at it or was cut off",
            hint=f"`lockgate settle {where}` finds out; its own hook names what it deploys: "
            f'`lockgate deploy-check {where} --receipt "$LOCKGATE_RECEIPT"`',
        )
    if known is None:
        if receipt.state == "live" and receipt.kind == "rollback":
            return
        raise Refused(
            f"the registry does not know {named}: the receipt was made without it, or it is an "
            "older copy",
            hint=f"`lockgate settle {where}` compares them",
        )
    wanted = "live" if receipt.state == "live" else None
    if known.outcome != wanted:
        ended = "is not settled" if known.is_open else f"was settled `{known.outcome}`"
        raise Refused(
            f"the {receipt.state} receipt of {named} may not be deployed: its attempt {ended}",
            hint=f"`lockgate status -s {shown(receipt.system)}` shows what is live now",
        )
    attempt = known.attempt
    told = (receipt.version, receipt.kind, receipt.decision)
    if told != (attempt.version, attempt.kind, attempt.decision):
        raise IntegrityBroken(
            f"the receipt says that {named} is {receipt.label} by {receipt.kind}; the registry "
            "says otherwise",
            problems=[f"version `{attempt.version}` by {attempt.kind} is what was recorded"],
            hint=f"`lockgate rollback {where}` takes the next generation and makes it certain",
        )


def check_objects(receipt: Receipt, is_intact: Callable[[str], bool]) -> None:
    """Refuse to go on with a registry whose own bytes of a live version are not what they were.

    What is published may be whole; but nobody could write it again, nor go back to it.

    Raises:
        IntegrityBroken: An object is missing or was changed; all are named.
    """
    digests = {**receipt.files, **receipt.executables}
    problems = [
        f"`{shown(path)}` was changed or is missing in the registry"
        for path, digest in sorted(digests.items())
        if not is_intact(digest)
    ]
    if problems:
        raise IntegrityBroken(
            f"the registry's own files of {shown(receipt.label)} are not what was registered",
            problems=problems,
            hint="restore a backup of `.lockgate/`; "
            f"`lockgate review -s {shown(receipt.system)}` says what else differs",
        )


def check_folder(receipt: Receipt, folder: Path, mend: str) -> None:
    """Refuse a folder that is not, byte for byte, what a receipt names.

    Raises:
        IntegrityBroken: A file was changed, is missing or should not be there; all are named.
    """
    problems = folder_problems(str(folder), receipt.files, receipt.executables)
    if problems:
        raise IntegrityBroken(
            f"{shown(folder)} is not what the receipt of generation {receipt.generation} says",
            problems=problems,
            hint=mend,
        )


def _published(publisher: Publisher, system: str) -> Receipt | None:
    try:
        return publisher.current(system)
    except IntegrityBroken:
        return None  # then the registry's word alone says what is newest
