"""Signatures by `ssh-keygen`, the only cryptography there is.

- Nothing here ever asks: no terminal, no askpass, no standard input, and a time limit.
- A signature counts only in the namespace `lockgate`, under a name the allowed signers file gives
  its key to, at the time that is being judged, whatever this machine's time zone is.
- Messages and signatures pass through a private folder that is gone afterwards.
"""

from __future__ import annotations

import base64
import binascii
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lockgate.domain.approval import NAMESPACE, blob_fingerprint
from lockgate.domain.approval import fingerprint as fingerprint
from lockgate.domain.version import person_problem
from lockgate.errors import LockgateError, Refused, RegistryTrouble, UsageMistake
from lockgate.shown import shown

MAX_SIGNATURE_BYTES = 65_536
TIME_LIMIT_S = 10.0
KEY_VARIABLE = "LOCKGATE_KEY"
DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")

_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_KEPT_VARIABLES = ("PATH", "HOME", "SSH_AUTH_SOCK", "SSH_SK_PROVIDER", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature as text, and which key made it."""

    armored: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class _Ended:
    """How a call of an OpenSSH tool ended."""

    code: int
    out: str
    err: str

    @property
    def last_words(self) -> str:
        """The last line of what the tool said, safe to show."""
        lines = [line for line in self.err.splitlines() if line.strip()]
        return shown(lines[-1].strip(), limit=200) if lines else f"exit code {self.code}"


def find_ssh_keygen() -> str | None:
    """Return the path of `ssh-keygen`, or `None` when this machine has none."""
    return shutil.which("ssh-keygen")


def sign(message: bytes, *, key: Path | None = None) -> Signature:
    """Sign a message.

    Args:
        message: The bytes to sign.
        key: A private key file, or a `.pub` file whose private key an agent holds; `None` takes
            the variable `LOCKGATE_KEY`, else the first of the usual files in `~/.ssh`, else the
            agent's first key.

    Raises:
        UsageMistake: The key file is missing or is not a key.
        Refused: There is no key or no `ssh-keygen`, the key is locked with a passphrase, or nobody
            answered within the time limit.
        RegistryTrouble: The temporary folder cannot be written.
    """
    with _private_folder() as folder:
        path, words = _key_file(key, folder)
        _put(folder / "message", message)
        ended = _ssh_keygen("-Y", "sign", "-n", NAMESPACE, "-f", str(path), str(folder / "message"))
        if ended.code != 0:
            raise _cannot_sign(ended, path, words)
        armored = (folder / "message.sig").read_text("ascii")
    return Signature(armored, signature_fingerprint(armored))


def verify(
    message: bytes, armored: str, allowed_signers: bytes, principal: str, *, at: datetime
) -> str:
    """Check that a message was signed under a name.

    Args:
        message: The bytes that were signed.
        armored: The signature as `sign` or `ssh-keygen` wrote it.
        allowed_signers: The bytes of the allowed signers file, as applied.
        principal: The name the key must be listed under.
        at: When the signature was made: a key that was valid then counts.

    Returns:
        The fingerprint of the key.

    Raises:
        UsageMistake: The signature is not one, or is too large.
        Refused: It does not verify, or there is no `ssh-keygen`.
        RegistryTrouble: The temporary folder cannot be written.
    """
    if problem := person_problem(principal):
        raise UsageMistake(
            f"`{shown(principal, limit=80)}` cannot be a signer: it {problem}",
            hint="name the signer as the allowed signers file does",
        )
    with _evidence(message, armored, allowed_signers) as folder:
        ended = _verified(folder, principal, at)
    if ended.code != 0:
        raise Refused(
            f"the signature does not verify as `{principal}` at {at.astimezone(UTC):%Y-%m-%d %H:%M}"
            f" UTC: {_why_not(ended)}",
            hint=f"sign exactly the text you were shown: ssh-keygen -Y sign -n {NAMESPACE} -f KEY FILE",
        )
    return signature_fingerprint(armored)


def principals(message: bytes, armored: str, allowed_signers: bytes, *, at: datetime) -> list[str]:
    """Return the names under which a signature verifies, in the file's order; maybe none.

    Raises:
        UsageMistake: The signature is not one, or is too large.
        Refused: There is no `ssh-keygen`, or it did not answer within the time limit.
        RegistryTrouble: The temporary folder cannot be written.
    """
    with _evidence(message, armored, allowed_signers) as folder:
        found = _ssh_keygen(
            "-Y", "find-principals", "-s", str(folder / "signature"),
            "-f", str(folder / "signers"), "-O", f"verify-time={_stamp(at)}",
        )  # fmt: skip
        names = dict.fromkeys(name for line in found.out.splitlines() for name in line.split(","))
        return [
            name
            for name in names
            if person_problem(name) is None and _verified(folder, name, at).code == 0
        ]


def signature_fingerprint(armored: str) -> str:
    """Return the fingerprint of the key that a signature says made it; nothing is verified.

    Raises:
        UsageMistake: The text is not an SSH signature, or is too large.
    """
    lines = _armor(armored).splitlines()
    try:
        blob = base64.b64decode("".join(lines[1:-1]), validate=True)
    except (binascii.Error, ValueError):
        blob = b""
    length = int.from_bytes(blob[10:14], "big")
    if blob[:10] != b"SSHSIG\x00\x00\x00\x01" or not 0 < length <= len(blob) - 14:
        raise _no_signature("what is between its first and last line is not a signature")
    return blob_fingerprint(blob[14 : 14 + length])


def public_key(key: Path | None = None) -> str:
    """Return the public half of the key that `sign` would use: type, base64 and comment.

    Raises:
        UsageMistake: As `sign`.
        Refused: As `sign`.
        RegistryTrouble: As `sign`.
    """
    with _private_folder() as folder:
        path, words = _key_file(key, folder)
        beside = path if path.suffix == ".pub" else path.with_name(f"{path.name}.pub")
        if _is_file(beside):
            line = _read(beside, words).strip()
        else:
            ended = _ssh_keygen("-y", "-P", "", "-f", str(path))
            if ended.code != 0:
                raise _cannot_sign(ended, path, words)
            line = ended.out.strip()
    try:
        fingerprint(line)
    except ValueError as problem:
        raise UsageMistake(f"{words}: {problem}", hint=_key_hint()) from problem
    return line


def make_key(path: Path, comment: str) -> str:
    """Create an ed25519 key without a passphrase.

    Args:
        path: Where the private key goes; the public one stands beside it with `.pub`.
        comment: What the public key's line ends with.

    Returns:
        The public key's line.

    Raises:
        Refused: A file is there already, or there is no `ssh-keygen`.
        RegistryTrouble: The folder cannot be written.
    """
    public = path.with_name(f"{path.name}.pub")
    for file in (path, public):
        if os.path.lexists(file):
            raise Refused(
                f"`{shown(file)}` is there already; no key was made",
                hint="name a file that does not exist yet",
            )
    ended = _ssh_keygen(
        "-q", "-t", "ed25519", "-N", "", "-C", shown(comment, limit=100), "-f", str(path.absolute())
    )
    if ended.code != 0:
        raise RegistryTrouble(
            f"`ssh-keygen` could not write the key `{shown(path)}`: {ended.last_words}",
            hint=f"check that the folder `{shown(path.parent)}` exists and can be written",
        )
    return public.read_text("utf-8").strip()


def _verified(folder: Path, principal: str, at: datetime) -> _Ended:
    return _ssh_keygen(
        "-Y", "verify", "-n", NAMESPACE, "-I", principal, "-s", str(folder / "signature"),
        "-f", str(folder / "signers"), "-O", f"verify-time={_stamp(at)}",
        message=folder / "message",
    )  # fmt: skip


def _stamp(at: datetime) -> str:
    """Write a time as `ssh-keygen`, which runs with `TZ=UTC`, reads it."""
    return at.astimezone(UTC).strftime("%Y%m%d%H%M%S")


def _why_not(ended: _Ended) -> str:
    reasons = {
        "incorrect signature": "the text that was signed is another one",
        "namespace does not match": f"it was made for another use than `-n {NAMESPACE}`",
        "not permitted for use in signature namespace": "the key is not listed for this use",
        "key has expired": "the key had expired",
        "key is not yet valid": "the key was not valid yet",
        "No principal matched": "the allowed signers file does not list its key under that name",
    }
    found = [said for words, said in reasons.items() if words in ended.err]
    if found:
        return found[0]
    # A key that is not in the file at all ends without a word of its own.
    own = [line for line in ended.err.splitlines() if "Could not verify" not in line]
    return shown(own[-1], limit=200) if own else reasons["No principal matched"]


@contextmanager
def _private_folder() -> Iterator[Path]:
    """Give a folder only this user can read, and remove it whatever happens."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="lockgate-"))
    except OSError as problem:
        raise _no_room(problem) from problem
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _put(file: Path, data: bytes) -> None:
    try:
        file.write_bytes(data)
    except OSError as problem:
        raise _no_room(problem) from problem


def _no_room(problem: OSError) -> RegistryTrouble:
    return RegistryTrouble(
        f"cannot write to a temporary folder: {problem.strerror or problem}",
        hint="free some space there, or set TMPDIR to a folder that can be written",
    )


@contextmanager
def _evidence(message: bytes, armored: str, allowed_signers: bytes) -> Iterator[Path]:
    """Lay out what `ssh-keygen` needs to check a signature."""
    signature_fingerprint(armored)
    with _private_folder() as folder:
        _put(folder / "message", message)
        _put(folder / "signature", _armor(armored).encode("ascii"))
        _put(folder / "signers", allowed_signers)
        yield folder


def _armor(armored: str) -> str:
    """Return a signature with plain newlines and nothing around it, as mail may have left it."""
    if len(armored) > MAX_SIGNATURE_BYTES:
        raise _no_signature(f"has {len(armored)} characters; at most {MAX_SIGNATURE_BYTES} count")
    lines = [line.strip() for line in armored.strip().splitlines()]
    if not armored.isascii() or len(lines) < 3 or (lines[0], lines[-1]) != (_BEGIN, _END):
        raise _no_signature(f"it does not go from `{_BEGIN}` to `{_END}`")
    return "\n".join(lines) + "\n"


def _no_signature(why: str) -> UsageMistake:
    return UsageMistake(
        f"this is not an SSH signature: {why}",
        hint=f"hand in the whole .sig file that `ssh-keygen -Y sign -n {NAMESPACE} -f KEY FILE` writes",
    )


def _key_file(key: Path | None, folder: Path) -> tuple[Path, str]:
    """Return the file to hand to `ssh-keygen` and the words that name it in a message."""
    variable = os.environ.get(KEY_VARIABLE)
    if key is None and not variable:
        return _usual_key(folder)
    path = (key if key is not None else Path(variable or "")).expanduser().absolute()
    words = f"key `{shown(path)}`" + ("" if key is not None else f" from {KEY_VARIABLE}")
    if not _is_file(path):
        raise UsageMistake(f"{words} is not there, or is not a file", hint=_key_hint())
    return path, words


def _usual_key(folder: Path) -> tuple[Path, str]:
    for name in DEFAULT_KEYS:
        for path in (Path.home() / ".ssh" / name, Path.home() / ".ssh" / f"{name}.pub"):
            if _is_file(path):
                return path, f"key `{shown(path)}`"
    agents = _agent_key()
    if agents is None:
        raise Refused(
            f"there is no key to sign with: {KEY_VARIABLE} is not set, `~/.ssh` has none of "
            f"{', '.join(DEFAULT_KEYS)}, and no agent holds one",
            hint=_key_hint(),
        )
    path = folder / "agent.pub"
    _put(path, f"{agents}\n".encode())
    return path, "the agent's first key"


def _is_file(path: Path) -> bool:
    """Tell whether a file is there, as far as this user can see."""
    try:
        return path.is_file()
    except OSError:
        return False


def _read(path: Path, words: str) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError as problem:
        raise UsageMistake(
            f"{words} cannot be read: {problem.strerror}", hint=_key_hint()
        ) from None


def _agent_key() -> str | None:
    tool = shutil.which("ssh-add")
    if tool is None or "SSH_AUTH_SOCK" not in os.environ:
        return None
    ended = _run([tool, "-L"])
    lines = ended.out.splitlines() if ended.code == 0 else []
    return lines[0] if lines else None


def _key_hint() -> str:
    return f"set {KEY_VARIABLE} to a key file, or make a key: ssh-keygen -t ed25519 -f ~/.ssh/id_ed25519"


def _cannot_sign(ended: _Ended, path: Path, words: str) -> LockgateError:
    """Say why a key could not be used, and what to do about it."""
    if "passphrase" in ended.err:
        add = f"ssh-add {shlex.quote(str(path))}"
        return Refused(
            f"{words} is locked with a passphrase, and no agent holds it",
            hint=add if "SSH_AUTH_SOCK" in os.environ else f'eval "$(ssh-agent -s)" && {add}',
        )
    if "UNPROTECTED" in ended.err or "bad permissions" in ended.err:
        return Refused(
            f"{words} can be read by other users", hint=f"chmod 600 {shlex.quote(str(path))}"
        )
    if path.suffix == ".pub" and "No private key found" in ended.err:
        return Refused(
            f"{words} is a public key, and neither an agent nor a file beside it has the private one",
            hint=f"ssh-add {shlex.quote(str(path.with_suffix('')))}",
        )
    unreadable = ("load public key", "Load key", "invalid format", "error in libcrypto")
    if any(sign in ended.err for sign in unreadable):
        return UsageMistake(f"{words} is not a private key: {ended.last_words}", hint=_key_hint())
    return Refused(f"{words} could not sign: {ended.last_words}", hint=_key_hint())


def _ssh_keygen(*words: str, message: Path | None = None) -> _Ended:
    tool = find_ssh_keygen()
    if tool is None:
        raise Refused(
            "`ssh-keygen` is not on the PATH, and nothing else signs or verifies here",
            hint="install OpenSSH 8.9 or newer: apt install openssh-client, or brew install openssh",
        )
    return _run([tool, *words], message=message)


def _run(command: Sequence[str], *, message: Path | None = None) -> _Ended:
    """Run an OpenSSH tool where it cannot ask anybody anything."""
    environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    environment |= {"TZ": "UTC", "LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never"}
    try:
        with open(message or os.devnull, "rb") as given:  # noqa: PTH123 - a device or a path
            process = subprocess.Popen(
                command,
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=True,
                text=True,
                errors="replace",
            )
    except OSError as problem:
        raise Refused(
            f"`{shown(command[0])}` cannot be started: {problem.strerror}",
            hint="install OpenSSH 8.9 or newer",
        ) from problem
    with process:
        try:
            out, err = process.communicate(timeout=TIME_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise Refused(
                f"`{Path(command[0]).name}` did not answer within {TIME_LIMIT_S:g} s",
                hint="touch or unlock the key's device or agent, then run the command again",
            ) from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    return _Ended(process.returncode, out, err)
