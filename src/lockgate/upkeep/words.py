"""What people write for the record beside a version: reasons, notes and tickets."""

from __future__ import annotations

from lockgate.errors import UsageMistake

MAX_CHARACTERS = 20_000
"""The longest reason or note; what is longer belongs into a document that it names."""
MAX_TICKET_CHARACTERS = 200


def checked_text(text: str, what: str, hint: str) -> str:
    """Return a reason or a note without spaces around it.

    Args:
        text: As it was written.
        what: What it is, with its article: `a reason`.
        hint: How it is given.

    Raises:
        UsageMistake: It says nothing, is too long, or is no text.
    """
    text = text.strip()
    if not any(character.isprintable() and not character.isspace() for character in text):
        raise UsageMistake(f"{what} is needed", hint=hint)
    if len(text) > MAX_CHARACTERS:
        raise UsageMistake(
            f"{what} has at most {MAX_CHARACTERS} characters, this one has {len(text)}",
            hint="keep the long version in a document, and name that here",
        )
    _check_encodable(text, what)
    return text


def checked_reason(reason: str) -> str:
    """Return a reason without spaces around it.

    Raises:
        UsageMistake: As `checked_text`.
    """
    return checked_text(reason, "a reason", "say why: -m REASON")


def checked_ticket(ticket: str) -> str:
    """Return the ticket that an exception is tracked by.

    Raises:
        UsageMistake: It is missing, too long, or more than one line of text.
    """
    ticket = ticket.strip()
    if not ticket:
        raise UsageMistake("a ticket is needed", hint="name it: --ticket ID")
    if len(ticket) > MAX_TICKET_CHARACTERS or not ticket.isprintable():
        raise UsageMistake(
            f"a ticket is one line of at most {MAX_TICKET_CHARACTERS} characters",
            hint="name it as your tracker does: --ticket OPS-4711",
        )
    _check_encodable(ticket, "a ticket")
    return ticket


def _check_encodable(text: str, what: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageMistake(f"{what} has to be valid UTF-8", hint="type it again") from error
