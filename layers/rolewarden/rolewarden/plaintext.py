"""Text of others that people read: names, tags, callers, user agents and error messages.

The caller of an API chooses parts of these texts. `visible` makes one safe for a terminal, the report and a log: it
cannot add a line, move or hide other text, or control a terminal. A mail of Rolewarden is a place that its readers
trust, so `plain_text` does more: a text must not look like Rolewarden's own words, and a mail program must find nothing
in it to link.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from typing import Any

_DOT = r"[.\u3002\uff61]"
"""A dot, or a character that browsers take for one in the name of a host
(https://www.unicode.org/reports/tr46/#Notation)."""

_SCHEME = re.compile(r"(?<=[A-Za-z0-9+.-]):(?=/)|\b(mailto|tel|sms|javascript|data|file|callto|skype|facetime):", re.I)
_HOST = re.compile(rf"(?<=\w){_DOT}(?=\w*[^\W\d])")
"""The dot before a label with a letter, as in `example.org`. A version such as 2.31.0 has none."""
_MAIL = re.compile(r"(?<=\S)@(?=\S)")
_ADDRESS = re.compile(r"(?<![\d.])(\d{1,3}\.\d{1,3}\.\d{1,3})\.(?=\d{1,3}[:/])")
"""The last dot of an address with a port or a path."""
_PHONE = re.compile(r"[+(]?\d(?:[ ().\u2010-\u2015-]{0,3}\d){6,}")
_ACCOUNT = re.compile(r"(?<=:)\d{12}(?=:)|(?<=\baccount )\d{12}\b")
"""The number of an account in an ARN or an error message, which is no telephone number."""
_NAME = re.compile(r"[\w+=,.@:/*\[\]#-]*")
_PRODUCTS = re.compile(r"(?:[\w+.-]+/[\w+.#:-]+(?: |$))*")
"""A user agent that is only a list of products, as the SDKs of AWS send it."""
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
"""A time in ISO 8601."""


_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Letters and marks without a shape: the Default_Ignorable_Code_Point characters that `str.isprintable` accepts
(https://www.unicode.org/reports/tr44/#Default_Ignorable_Code_Point), and the empty Braille pattern."""


def is_visible(char: str) -> bool:
    """Whether a character has a shape of its own and changes nothing else.

    A control character, a line or paragraph separator, a character that has no width or that changes the direction of
    the text, and every space but U+0020 is not visible.
    """
    return char.isprintable() and not _INVISIBLE.match(char)


def visible(text: str) -> str:
    r"""`text` as one line, with each character that is not visible as its code, such as `\u202e`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if is_visible(char) else ascii(char)[1:-1] for char in text)


_QUOTES = (
    "\"'`\u00b4\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u2032\u2033\u2039\u203a"
    "\u00ab\u00bb\u300c\u300d\uff02\uff07"
)
_DASHES = re.compile("[\u00ad\u058a\u2010-\u2015\u2043\u2212\ufe58\ufe63\uff0d]")


_EDGES = frozenset("\"'` ")


def pasted(text: str) -> tuple[str, str]:
    """`text` as its writer meant it, and its fault; the fault is empty if `text` is as meant.

    A word processor or a web page replaces quotes, dashes and spaces by characters that look alike.
    """
    if text.isascii() and text.isprintable() and not set(text[:1] + text[-1:]) & _EDGES:
        return text, ""
    if any(unicodedata.category(char) in ("Cc", "Cs", "Cn", "Co") for char in text):
        return text.strip(), "" if text == text.strip() else "begins or ends with a space"
    spaced = "".join(char if is_visible(char) or not char.isspace() else " " for char in text)
    plain = "".join(char for char in spaced if char == "-" or is_visible(char) or _DASHES.match(char)).strip()
    unquoted = plain.strip(_QUOTES + ",;").strip() if plain[:1] in _QUOTES or plain[-1:] in _QUOTES else plain
    dashed = _DASHES.sub("-", unquoted)
    normal = unicodedata.normalize("NFKC", dashed)
    if unquoted != plain:
        curly = not set(plain) & set("\"'`")
        return normal, "has curly quotes" if curly else "has quotes that are part of the text"
    if dashed != unquoted:
        return normal, "has a dash that is not `-`"
    if normal != plain or plain != text.strip():
        return normal, "has characters that only look like the right ones"
    return (plain, "begins or ends with a space") if plain != text else (plain, "")


def visible_parts(value: Any, *, lines: bool = False) -> Any:
    """JSON-like data in which each text is as `visible` gives it. With `lines`, a text keeps its line feeds."""
    if isinstance(value, str):
        return "\n".join(map(visible, value.split("\n"))) if lines else visible(value)
    if isinstance(value, dict):
        return {visible_parts(key): visible_parts(one, lines=lines) for key, one in value.items()}
    return [visible_parts(one, lines=lines) for one in value] if isinstance(value, list | tuple | set) else value


def plain_text(value: Any, most: int) -> str:
    """`value` as one line of `most` characters at most, without anything that a mail program would link.

    Characters that are not visible become spaces. Links, names
    of hosts, mail addresses and telephone numbers stay readable, with brackets around the character that makes them
    one. A value that is not a text is empty.
    """
    if not isinstance(value, str):
        return ""
    # Cleaning shortens a text, so it starts from four times the length. The rest may be megabytes, and is not needed.
    text = unicodedata.normalize("NFKC", value[: 4 * most])
    text = " ".join("".join(char if is_visible(char) else " " for char in text).split()).replace("`", "'")
    text = _SCHEME.sub(lambda found: f"{found[0][:-1]}[:]", text)
    text = _MAIL.sub("[at]", _HOST.sub("[.]", _ADDRESS.sub(r"\1[.]", text)))
    accounts = {found.span() for found in _ACCOUNT.finditer(text)}
    text = _PHONE.sub(lambda found: found[0] if found.span() in accounts else _parted(found[0]), text)
    return text if len(text) <= most else text[: most - 3] + "..."


def without_markdown_link(text: str) -> str:
    """`text` in which Markdown has no link with another text. Its address can have any scheme, or none.

    Teams reads Markdown in a chat message, and viewers of SARIF read such links in a result
    (https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html, 3.11.6).
    """
    return text.replace("](", "] (")


def plain_name(value: Any, most: int) -> str:
    """A name as `plain_text` gives it, in quotation marks if it has characters that no name in AWS has."""
    text = plain_text(value, most)
    return text if _NAME.fullmatch(text) else _quoted(text)


def user_agent(value: Any, most: int) -> str:
    """A user agent as `plain_text` gives it, in quotation marks if it is more than a list of products."""
    text = plain_text(value, most)
    return text if _PRODUCTS.fullmatch(text) else _quoted(text)


def moment(value: Any) -> str:
    """A time in ISO 8601. Any other value is as `plain_name` gives it."""
    return value if isinstance(value, str) and TIME.fullmatch(value) else plain_name(value, 32)


def is_plain(text: str) -> bool:
    """Whether `plain_text` leaves a text as it is, so that it can be part of a command."""
    return plain_text(text, len(text)) == text


def _quoted(text: str) -> str:
    return '"{}"'.format(text.replace('"', "'"))


def _parted(number: str) -> str:
    """A sequence of digits with brackets after every third one, so that no program finds a telephone number in it."""
    if _is_address(number):
        return number
    parts, digits = [], 0
    for char in number:
        digits += char.isdigit()
        parts.append(f"{char}[]" if char.isdigit() and digits % 3 == 0 else char)
    return "".join(parts)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
