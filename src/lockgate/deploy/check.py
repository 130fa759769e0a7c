"""What a pipeline asks of a receipt and a folder before it gets the credentials to deploy.

- Nothing is written and nothing is signed.
- A foreign receipt, of another registry, epoch, system or environment or by another key, is told
  from a tampered folder, and both from a replayed receipt, which was true once.
- What the registry alone knows, such as whether an attempt still stands, is asked by the caller.
"""

from __future__ import annotations

from pathlib import Path

from lockgate.deploy.host_key import HostKey
from lockgate.deploy.intact import folder_problems
from lockgate.deploy.publisher import Publisher
from lockgate.deploy.receipts import read_receipt
from lockgate.domain.receipt import Origin, Receipt
from lockgate.errors import IntegrityBroken, Refused, StaleGeneration
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
        receipt_file: The receipt to check; `None` takes the staged one, else the live one.
        folder: The definition's folder as the pipeline has it; `None` takes the published one.
        newest_generation: The newest that the registry settled as live, where it can be asked.

    Returns:
        The receipt, which may be `staged` or `live`: whether a staged one may be deployed is for
        the caller to find out.

    Raises:
        Refused: There is no receipt.
        IntegrityBroken: The receipt is foreign, or the folder is not what it says.
        StaleGeneration: The receipt is older than what is published, or settled as live.
    """
    path = receipt_file or _newest_file(publisher, system)
    receipt = check_receipt(path, publisher.key, system, origin)
    check_not_replayed(receipt, _published(publisher, system), newest_generation)
    check_folder(receipt, folder or publisher.folder_of(receipt))
    return receipt


def check_receipt(path: Path, key: HostKey, system: str, origin: Origin) -> Receipt:
    """Return the receipt in a file if this registry signed it for this system and environment.

    Raises:
        Refused: There is no such file.
        IntegrityBroken: The receipt is foreign or damaged.
        StaleGeneration: It is from before the registry was restored.
    """
    receipt = read_receipt(path, key)
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
            f"the receipt `{shown(path)}` is foreign",
            problems=problems,
            hint="take the receipt that this registry published: "
            f"`lockgate deploy-check {origin.environment} -s {shown(system)}`",
        )
    if receipt.epoch < origin.epoch:
        raise StaleGeneration(
            f"the receipt of generation {receipt.generation} is replayed: it is from epoch "
            f"{receipt.epoch}, before the registry was restored into epoch {origin.epoch}",
            hint=f"`lockgate status -s {shown(system)}` shows what is live now",
        )
    return receipt


def check_not_replayed(
    receipt: Receipt, published: Receipt | None, newest_generation: int | None
) -> None:
    """Refuse a receipt that was true once.

    Args:
        receipt: The one to check.
        published: What is published now, if that can be read.
        newest_generation: The newest that the registry settled as live, if that is known.

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
            hint="deploy what is live: "
            f"`lockgate deploy-check {receipt.environment} -s {receipt.system}`",
        )


def check_folder(receipt: Receipt, folder: Path) -> None:
    """Refuse a folder that is not, byte for byte, what a receipt names.

    Raises:
        IntegrityBroken: A file was changed, is missing or should not be there; all are named.
    """
    problems = folder_problems(str(folder), receipt.files, receipt.executables)
    if problems:
        raise IntegrityBroken(
            f"{shown(folder)} is not what the receipt of generation {receipt.generation} says",
            problems=problems,
            hint="have it written again: `lockgate settle`",
        )


def _newest_file(publisher: Publisher, system: str) -> Path:
    if publisher.staged(system) is not None:
        return publisher.staged_path(system)
    return publisher.receipt_path(system)


def _published(publisher: Publisher, system: str) -> Receipt | None:
    try:
        return publisher.current(system)
    except IntegrityBroken:
        return None  # then the registry's word alone says what is newest
