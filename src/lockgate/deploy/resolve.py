"""What the serving side asks: which version is live, and in which folder are its bytes?

    import lockgate
    live = lockgate.resolve("support-desk", "production", state="/var/lib/desk/lockgate.json")
    open(live.folder / "prompts/system.md")

- Standard library and `ssh-keygen` only; no database, and nothing of the registry is needed.
- The receipt has to be signed by a trusted key, be about this system and environment, be live, and
  every file has to have its digest; no file may be missing, and none may be there besides.
- A receipt that is older than one that was accepted before is refused as replayed, and so is one
  from another registry. A newer epoch of the same registry may begin at a lower generation.
- What does not hold changes nothing: the last good version is returned with `stale` saying why, as
  long as it still holds itself; else `ResolveError`.
- The state file keeps the high-water mark. Several processes may share one.

Trust: `trust=`, or the variable `LOCKGATE_TRUST`, names a file with the public key of the registry
host (`.lockgate/host_key.pub` there). Without one, the key that lies beside the receipt is taken on
trust at first use and pinned in the state file; `note` says so. Whoever can write to the published
folder before that first use chooses the key: hand the key over yourself where that matters. A
registry whose host has no `ssh-keygen` publishes unsigned receipts; they count only as long as no
key was ever named or pinned.
"""

# ruff: noqa: PTH100, PTH103, PTH111, PTH112, PTH120
# pathlib takes longer to import than everything this file needs

from __future__ import annotations

import json
import os

from lockgate.deploy.files import locked, read_file, replace_file
from lockgate.deploy.intact import folder_problems
from lockgate.deploy.sshsig import (
    MAX_TRUST_CHARACTERS,
    CannotVerify,
    signature_problem,
    trusted_keys,
)
from lockgate.domain.payload import MAX_BYTES, checked, opened
from lockgate.errors import LockgateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

PUBLISHED_VARIABLE = "LOCKGATE_PUBLISHED"
TRUST_VARIABLE = "LOCKGATE_TRUST"
STATE_FORMAT = 1
PATIENCE_S = 10.0
_MAX_STATE_BYTES = 4 * MAX_BYTES
_TRIES = 3


class ResolveError(LockgateError):
    """Nothing that is published may be served; the exit code says of which kind the reason is."""

    def __init__(self, what: str, exit_code: int, hint: str, problems: list[str]) -> None:
        """Hold the reason, and what was wrong with the last good version, if there was one."""
        super().__init__(what, hint=hint, problems=problems)
        self.exit_code = exit_code


class Resolved:
    """What may be served."""

    __slots__ = ("folder_name", "generation", "label", "note", "receipt", "stale", "version")

    def __init__(
        self, folder_name: str, receipt: dict[str, Any], stale: str | None, note: str | None
    ) -> None:
        """Hold a receipt that was verified together with its folder."""
        self.folder_name = folder_name
        self.receipt = receipt
        """The receipt's payload."""
        self.version: str = receipt["version"]
        self.label: str = receipt["label"]
        self.generation: int = receipt["generation"]
        self.stale = stale
        """Why this is not what is published now; `None` when it is."""
        self.note = note
        """What else a person should know about the trust in it; usually `None`."""

    @property
    def folder(self) -> Path:
        """The folder that holds the version's files."""
        from pathlib import Path  # slow to import, and the command line does without

        return Path(self.folder_name)

    def __repr__(self) -> str:
        return (
            f"Resolved(label={self.label!r}, generation={self.generation}, "
            f"folder={self.folder_name!r}, stale={self.stale!r})"
        )


class _Invalid(Exception):
    """Why something does not hold, with the exit code of that kind of reason and what helps."""

    def __init__(self, why: str, exit_code: int, hint: str) -> None:
        super().__init__(why)
        self.why = why
        self.exit_code = exit_code
        self.hint = hint


_ASK_REGISTRY = "on the registry's host: `lockgate settle ENV`, or `lockgate rollback ENV`"
_WHICH_KEY = (
    "pass the registry host's `.lockgate/host_key.pub` as trust=, or in LOCKGATE_TRUST; if the key "
    "was changed on purpose, that is the new one"
)


def resolve(
    system: str,
    environment: str,
    *,
    root: str | os.PathLike[str] | None = None,
    state: str | os.PathLike[str] | None = None,
    trust: str | os.PathLike[str] | None = None,
) -> Resolved:
    """Return the version that the gate let through last, verified, and where its files are.

    Args:
        system: The system to serve.
        environment: The environment this server belongs to.
        root: The environment's published folder, or a folder above it that holds
            `published/<environment>`; `None` takes the variable `LOCKGATE_PUBLISHED`, else looks
            upward from the current folder.
        state: The file that keeps the high-water mark, made at first use; several systems and
            processes may share it. `None` takes one below `~/.local/state/lockgate`.
        trust: A file with the public key of the registry host; `None` takes the variable
            `LOCKGATE_TRUST`, else the key that was pinned at first use.

    Returns:
        The live version, or the last good one with `stale` saying why.

    Raises:
        ResolveError: Nothing that is published may be served, and no last good version holds.
    """
    place = _published(root, system, environment)
    state_path = os.path.abspath(state or _usual_state(place, system, environment))
    desk = _Desk(system, environment, place, state_path, _given_keys(trust))
    for _ in range(_TRIES):
        resolved = desk.newest()
        if resolved is not None:
            return resolved
    return desk.last_good(_Invalid("the receipt kept changing", 3, "run it again"))


class _Desk:
    """One call: where to look, whom to trust, and what was accepted before."""

    def __init__(
        self, system: str, environment: str, place: str, state_path: str, given: list[str] | None
    ) -> None:
        self.system = system
        self.environment = environment
        self.place = place
        self.state_path = state_path
        self.given = given
        self.name = f"{environment}/{system}"
        self.mark: dict[str, Any] | None = self._state().get(self.name)

    def newest(self) -> Resolved | None:
        """Return what is published, or the last good one; `None` when it changed meanwhile."""
        data = b""
        try:
            data = self._receipt_bytes()
            payload, signature = _opened(data)
            keys, note = self._keys(signature)
            body = self._verified(payload, signature, keys)
            folder = self._intact(body, self.place)
            has_moved = self._accept(body, payload, signature, keys)
        except _Invalid as invalid:
            if data and self._has_changed(data):
                return None
            return self.last_good(invalid)
        return None if has_moved else Resolved(folder, body, None, note)

    def _receipt_bytes(self) -> bytes:
        path = f"{self.place}/{self.system}/receipt.json"
        try:
            return read_file(path, MAX_BYTES)
        except FileNotFoundError:
            raise _Invalid(
                f"nothing is published for {self.system} in {self.environment}: `{path}` is "
                "missing",
                3,
                "name the published folder: root=, --root or LOCKGATE_PUBLISHED",
            ) from None
        except OSError as error:
            raise _Invalid(
                f"`{path}` cannot be read: {error.strerror}", 3, f"ls -l {path}"
            ) from None

    def _has_changed(self, data: bytes) -> bool:
        try:
            return self._receipt_bytes() != data
        except _Invalid:
            return False

    def _keys(self, signature: str | None) -> tuple[list[str] | None, str | None]:
        """Return the keys that count, `None` when there are none, and what to say about that."""
        if self.given is not None:
            return self.given, None
        if self.mark is not None and self.mark["trusted"] is not None:
            return self.mark["trusted"], None
        if signature is None:
            return None, "the receipt is not signed, and no key was ever trusted here"
        path = f"{self.place}/host_key.pub"
        try:
            keys = trusted_keys(read_file(path, MAX_TRUST_CHARACTERS).decode("ascii"))
        except (OSError, ValueError) as error:
            raise _Invalid(
                f"there is no key to trust: `{path}` cannot be used ({error})", 6, _WHICH_KEY
            ) from None
        return keys, (
            f"the key beside the receipt was trusted at first use and pinned in "
            f"`{self.state_path}`; to choose it yourself, pass trust="
        )

    def _verified(
        self, payload: str, signature: str | None, keys: list[str] | None
    ) -> dict[str, Any]:
        """Return a payload that is signed, about us, and not from the past."""
        if keys is not None:
            _check_signature(payload, signature, keys)
        try:
            body = checked(payload)
        except ValueError as problem:
            raise _Invalid(f"the receipt does not count: {problem}", 6, _ASK_REGISTRY) from None
        for name, wanted in (("system", self.system), ("environment", self.environment)):
            if body[name] != wanted:
                raise _Invalid(
                    f"the receipt is about {name} `{body[name]}`, not `{wanted}`", 6, _ASK_REGISTRY
                )
        if body["state"] != "live":
            raise _Invalid("the receipt is only staged, not live", 6, _ASK_REGISTRY)
        self._check_mark(body)
        return body

    def _check_mark(self, body: dict[str, Any]) -> None:
        mark = self.mark
        if mark is None:
            return
        if body["registry"] != mark["registry"]:
            raise _Invalid(
                f"the receipt is from another registry, `{body['registry']}`, not "
                f"`{mark['registry']}`",
                6,
                f"if that is meant, begin anew: rm {self.state_path}",
            )
        found, newest = _position(body), _position(mark)
        if found < newest:
            raise _Invalid(
                f"the receipt is replayed: generation {found[1]} of epoch {found[0]}, and "
                f"generation {newest[1]} of epoch {newest[0]} was served here before",
                1,
                _ASK_REGISTRY,
            )
        if found == newest and _release(body) != _release(json.loads(mark["payload"])):
            raise _Invalid(
                f"generation {found[1]} was served here before with other content", 6, _ASK_REGISTRY
            )

    def _intact(self, body: dict[str, Any], place: str) -> str:
        folder = f"{place}/{self.system}/{body['folder']}"
        problems = folder_problems(folder, body["files"], body["executables"])
        if problems:
            raise _Invalid(
                f"generation {body['generation']} is not what its receipt says: "
                + "; ".join(problems[:5])
                + (f"; and {len(problems) - 5} more" if len(problems) > 5 else ""),
                6,
                _ASK_REGISTRY,
            )
        return folder

    def _accept(
        self, body: dict[str, Any], payload: str, signature: str | None, keys: list[str] | None
    ) -> bool:
        """Raise the mark; tell whether another process raised it further meanwhile."""
        mark = {
            "registry": body["registry"],
            "epoch": body["epoch"],
            "generation": body["generation"],
            "trusted": keys,
            "payload": payload,
            "signature": signature,
            "place": self.place,
        }
        if mark == self.mark:
            return False
        try:
            os.makedirs(os.path.dirname(self.state_path), exist_ok=True)
            with locked(f"{self.state_path}.lock", PATIENCE_S):
                marks = self._state()
                if marks.get(self.name) != self.mark:
                    self.mark = marks.get(self.name)
                    return True
                marks[self.name] = mark
                text = json.dumps({"format": STATE_FORMAT, "marks": marks}, indent=1)
                replace_file(self.state_path, text.encode("ascii"))
        except TimeoutError:
            raise _Invalid(
                f"another process has held `{self.state_path}.lock` for {PATIENCE_S:g} s",
                3,
                f"fuser -v {self.state_path}.lock",
            ) from None
        except OSError as error:
            raise _Invalid(
                f"the state file `{self.state_path}` cannot be written: {error.strerror}",
                3,
                "name a file that this user may write: state= or --state",
            ) from None
        self.mark = mark
        return False

    def last_good(self, invalid: _Invalid) -> Resolved:
        """Return the last version that was accepted, if it still holds; say why it is needed."""
        problems = []
        if self.mark is not None:
            mark = self.mark
            keys = self.given if self.given is not None else mark["trusted"]
            try:
                if keys is not None:
                    _check_signature(mark["payload"], mark["signature"], keys)
                body = checked(mark["payload"])
                folder = self._intact(body, mark["place"])
                return Resolved(folder, body, invalid.why, None)
            except _Invalid as also:
                problems.append(f"the last good version does not hold either: {also.why}")
        raise ResolveError(
            f"{self.system} in {self.environment} cannot be resolved: {invalid.why}",
            invalid.exit_code,
            invalid.hint,
            problems,
        )

    def _state(self) -> dict[str, Any]:
        """Return every mark in the state file, by environment and system."""
        try:
            text = read_file(self.state_path, _MAX_STATE_BYTES).decode("ascii")
            body = json.loads(text)
            if body["format"] != STATE_FORMAT or not isinstance(body["marks"], dict):
                raise ValueError("it has another format")
            mark = body["marks"].get(self.name)
            if mark is not None and not _is_mark(mark):
                raise ValueError("it is not what Lockgate writes")
        except FileNotFoundError:
            return {}
        except OSError as error:
            why = str(error.strerror)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            why = f"it is damaged ({error})"
        else:
            return dict(body["marks"])
        raise ResolveError(
            f"the state file `{self.state_path}` cannot be used: {why}",
            3,
            f"without it an old receipt would go unnoticed; to begin anew: rm {self.state_path}",
            [],
        )


def _opened(data: bytes) -> tuple[str, str | None]:
    try:
        return opened(data)
    except ValueError as problem:
        raise _Invalid(f"the receipt does not count: {problem}", 6, _ASK_REGISTRY) from None


def _check_signature(payload: str, signature: str | None, keys: list[str]) -> None:
    trouble: str | None = "it is not signed"
    if signature is not None:
        try:
            trouble = signature_problem(payload.encode("utf-8", "replace"), signature, keys)
        except CannotVerify as error:
            raise _Invalid(
                f"no signature can be checked: {error}",
                3,
                "install OpenSSH 8.9 or newer: apt install openssh-client",
            ) from None
    if trouble is not None:
        raise _Invalid(f"the receipt does not count: {trouble}", 6, _WHICH_KEY)


def _is_mark(mark: dict[str, Any]) -> bool:
    """Tell whether an entry of the state file is whole; raises what a wrong type raises."""
    body = json.loads(mark["payload"])
    is_told = isinstance(mark["signature"], str | None) and isinstance(mark["place"], str)
    keys = mark["trusted"]
    is_trusted = keys is None or trusted_keys("\n".join(keys)) == keys
    same = all(body[key] == mark[key] for key in ("registry", "epoch", "generation"))
    return is_told and is_trusted and same


def _position(body: dict[str, Any]) -> tuple[int, int]:
    return int(body["epoch"]), int(body["generation"])


def _release(body: dict[str, Any]) -> dict[str, Any]:
    """Return what a receipt says, whenever it was written."""
    return {key: value for key, value in body.items() if key != "at"}


def _given_keys(trust: str | os.PathLike[str] | None) -> list[str] | None:
    path = trust or os.environ.get(TRUST_VARIABLE)
    if not path:
        return None
    try:
        return trusted_keys(read_file(os.fspath(path), MAX_TRUST_CHARACTERS).decode("utf-8"))
    except OSError as error:
        why = str(error.strerror)
    except ValueError as problem:
        why = str(problem)
    raise ResolveError(
        f"the trust file `{os.fspath(path)}` cannot be used: {why}",
        2,
        "it holds the line of the registry host's `.lockgate/host_key.pub`",
        [],
    )


def _published(root: str | os.PathLike[str] | None, system: str, environment: str) -> str:
    """Return the environment's published folder: as named, or found upward."""
    named = root or os.environ.get(PUBLISHED_VARIABLE)
    if named:
        folder = os.path.abspath(named)
        for below in ("", f"/{environment}", f"/published/{environment}"):
            if os.path.isdir(f"{folder}{below}/{system}"):
                return folder + below
        return folder
    folder = here = os.path.abspath(".")
    while True:
        if os.path.isdir(f"{folder}/published/{environment}/{system}"):
            return f"{folder.rstrip('/')}/published/{environment}"
        above = os.path.dirname(folder)
        if above == folder:
            return f"{here}/published/{environment}"
        folder = above


def _usual_state(place: str, system: str, environment: str) -> str:
    """Return a state file of this user's own for one published folder."""
    import hashlib

    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    mark = hashlib.sha256(os.fsencode(place)).hexdigest()[:12]
    return f"{home}/lockgate/{environment}-{system}-{mark}.json"
