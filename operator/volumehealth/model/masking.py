"""Credentials in texts of others, masked before anyone sees them: drivers log their mount commands and their URLs.

Texts reach Events, which every user of a namespace may read (CVE-2024-3744, azurefile-csi-driver 322). A name that
stands for a secret keeps standing there, its value becomes `***`; so do things that are secrets by their form.
Masking twice changes nothing more.
"""

import base64
import json
import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote

MASK = "***"

_STRONG = (
    r"(?:password(?:_in)?|passwd|passphrase|account[_-]?key|(?:access|secret|private|api|shared|storage|chap)[_-]?key"
    r"|secret[_-]?access[_-]?key|client[_-]?secret|(?:user|admin|encryption|master|root|auth|signing)[_-]?key"
    r"|(?:user|admin|root|login|bind|smb|cifs|ldap|db)[_-]?(?:pass|pwd|pw))"
)
"""Names that mean nothing else, whatever stands in front of them (`smbPassword`, `node.session.auth.password`)."""
_BEGIN = r"(?:(?<![A-Za-z0-9])|(?<=\\u0026)|(?<=\\[nrt])|(?<=%26))"
"""Where a short name begins: not within a word, but behind an escape (JSON writes `&` as `\\u0026`)."""
_NAME = (
    rf"(?:{_STRONG}|secrets?|token|signature|credentials?|{_BEGIN}(?:pass|pwd|pw|sig|sas|username|psk|jwt))"
)
"""Names whose value is a secret where the form says that it is a value: `token=...`, `"secret": "..."`."""

# A comma ends a value if an option follows: `password=a,b2,vers=3.0,ro` has the password `a,b2`.
_OPTION = r",(?:[A-Za-z_][\w.-]*=|[a-z]+(?:[,\s)\]]|$)|[\s\"'\\]|$)"
_BARE = rf"(?:(?!{_OPTION})[^\s;&\"'<>\\])+"
_DOUBLE = r'"(?:\\.|[^"\\])*"?'
_SINGLE = r"'(?:\\.|[^'\\])*'?"
_ESCAPED = r'\\"(?:(?!\\").)*(?:\\")?'
_VALUE = rf"(?:{_ESCAPED}|{_DOUBLE}|{_SINGLE}|{_BARE})"
_FLAG = r"--(?!-)(?:\w|-(?!-)){0,32}?"
"""What stands before a name in a flag. It begins once in a row of hyphens: a line of them took a tenth of a second."""
_MIXED = r"(?=\S*(?-i:[A-Z]))(?=\S*(?-i:[a-z]))(?=\S*[0-9])[\w.~+/=!@#$%^*-]{8,}"
_CLOSED = r"(?=$|[\s,;\"'}\])])"


class _Form(NamedTuple):
    """How a credential is written.

    Attributes:
        needs: any of these is in a text that has it, in small letters; a pattern costs fifty times as much to look for.
        pattern: it, with what stays in the group `keep`.
        named: it has a name of `_NAME`, so any of `_WORDS`.
    """

    needs: tuple[str, ...]
    pattern: re.Pattern[str]
    named: bool = True


def _form(needs: str, pattern: str, *, named: bool = True) -> _Form:
    return _Form(tuple(needs.split()), re.compile(pattern, re.IGNORECASE | re.DOTALL), named)


_WORDS = ("pass", "pwd", "pw", "key", "secret", "token", "sig", "credential", "sas", "username", "psk", "jwt")
"""One of them is in each name of `_NAME`, and in the word `key`."""
_FORMS = (
    # A key block, also one that was cut.
    _form(
        "-----begin",
        r"(?P<keep>-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
        named=False,
    ),
    # JSON, also within a string, also of Python or Go: "password": "x", \"password\":\"x\", 'password': 'x'
    _form(
        "\" '",
        rf"(?P<keep>{_NAME}\\?[\"']\s{{0,4}}(?::|=>?)\s{{0,4}})(?:{_ESCAPED}|{_DOUBLE}|{_SINGLE}|[^\s,}}\]\"'\\]+)",
    ),
    # Protobuf's text form of a CSI request: secrets:<key:"password" value:"x">
    _form(
        "key:",
        rf"(?P<keep>key:\s?\"[^\"]{{0,64}}?(?:{_NAME}|key)[^\"]{{0,64}}\"\s{{1,4}}value:\s?){_DOUBLE}",
    ),
    # Options, queries, connection strings, ini files: password=x, ?sig=x&, AccountKey=x;, auth.password = x
    _form("=", rf"(?P<keep>{_NAME}\d?=(?!=)){_VALUE}"),
    _form(
        "%3a %3d",
        rf"(?P<keep>{_NAME}\d?(?:%22|%27)?%3[AD](?:%20|%22|%27){{0,4}})[^\s%&\"'<>\\]+",
    ),
    _form("=", rf"(?P<keep>{_STRONG}(?:\s{{1,4}}=\s{{0,4}}|=\s{{1,4}})(?!=)){_VALUE}"),
    # Flags: --password x
    _form("--", rf"(?P<keep>{_FLAG}{_NAME}\s{{1,4}}){_VALUE}"),
    # Flags in a list: ["--password", "x"], ["--password" "x"]
    _form("--", rf"(?P<keep>{_FLAG}{_NAME}\\?[\"'],?\s{{0,4}})(?:{_ESCAPED}|{_DOUBLE}|{_SINGLE})"),
    # Names and values apart: iscsiadm -n node.session.auth.password -v x
    _form("-v", rf"(?P<keep>{_STRONG}\s{{1,4}}(?:-v|--value)[=\s]\s{{0,4}}){_VALUE}"),
    # Users and passwords in one word: curl -u a:x, smbclient -U a%x, mount -o user=a%x; `-u 1000:1000` is none
    _form(
        "-u",
        r"(?P<keep>(?:^|\s)(?:-u|--user)(?:=|\s{1,4})[^\s:%\"']{1,64}[:%])(?!\d+(?:\s|$))[^\s\"']+",
        named=False,
    ),
    _form("user=", rf"(?P<keep>\buser=[^\s,%]{{1,64}}%){_BARE}", named=False),
    _form("sshpass", r"(?P<keep>\bsshpass\s{1,4}-p\s{0,4})\S+"),
    # Maps as Go prints them, YAML: Password:x, password: "x", password: x
    _form(
        ":",
        rf"(?P<keep>(?:{_STRONG}|(?-i:[a-z]Secret)|(?<![A-Za-z0-9])(?:token|pass|pwd)):)(?![\s/:]){_VALUE}",
    ),
    # The same where the value has the form of a secret: small and capital letters and a digit
    _form(
        ":",
        rf"(?P<keep>{_BEGIN}(?:[a-z]{{1,16}}[_-]?)?(?:token|secret(?:[_-]?id)?|sas|pass|pwd|pw|psk|jwt):\s{{0,4}}){_MIXED}",
    ),
    # XML
    _form(
        "<",
        rf"(?P<keep><(?:[\w.-]{{1,32}}:)?[a-z]{{0,16}}(?:{_STRONG}|secret|token)(?:\s[^<>]{{0,64}})?>)[^<]+",
    ),
    _form("\" '", rf"(?P<keep>(?:{_STRONG}|(?<![A-Za-z0-9])(?:pass|pwd)):?\s{{1,4}})(?:{_DOUBLE}|{_SINGLE})"),
    _form(
        ":",
        rf"(?P<keep>{_STRONG}:\s{{1,4}})(?:(?=\S*[0-9!#$%^*+@=])[^\s,;\"'<>]+|\S+{_CLOSED}(?=$|[,;}}\]]))",
    ),
    # Headers
    _form(
        "authorization",
        r"(?P<keep>authorization\\?[\"']?\s{0,4}[:=]\s{0,4}\\?[\"']?(?:[a-z]{2,16}\s{1,4})?)[^\s,;\"'\\]+",
        named=False,
    ),
    _form(
        "x- cookie",
        r"(?P<keep>\b(?:x-[\w-]{0,40}(?:token|key|secret|signature)|(?:set-)?cookie)\s{0,2}:\s{0,4})[^\s,;]+(?:;\s?[^\s,;]+)*",
        named=False,
    ),
    _form("bearer", r"(?P<keep>\bbearer\s{1,4})(?=[\w.~+/=-]*[0-9])[\w.~+/=-]{12,}", named=False),
    # user:password@ of a URL, and of a share; a port is none
    _form(
        "@",
        r"(?P<keep>//[^\s/:@%\"'<>]*[:%])(?!\d{1,5}(?:/|$|\s))(?:[^\s\"'<>/]+|[^\s\"'<>@]+?)(?=@)",
        named=False,
    ),
    # Sessions, which are as good as a password while they last: ?_sid=x (Synology), isisessid=x, "sessionId": "x". A number, as
    # of an iSCSI session, is none; nor are a security identifier of Windows, the name of a target, and words behind `sid: `
    _form(
        "sid ionid ion_id ion-id sess_id sess-id",
        (
            rf"(?P<keep>{_BEGIN}_?(?:sid|[a-z]{{0,8}}sess(?:ion)?[_-]?id)"
            r"(?:=|\\?[\"']\s{0,4}:\s{0,4}\\?[\"']|:\s{0,4}(?=[^\s;&,\"'<>\\]*\d)))"
            r"(?!\d++(?![\w.~+/=%-]*[a-z\d])|S-1-|(?:iqn|nqn|eui|naa)\.)[^\s;&,\"'<>\\]{8,}"
        ),
        named=False,
    ),
    # Secrets by their form: AWS, JSON web tokens, Ceph, NVMe, GitHub, GitLab, Slack, Vault, Google
    _form(
        "akia asia eyj aq dhhc nvmetlskey gh glpat xox hvs. aiza",
        (
            r"(?P<keep>)\b(?-i:(?:AKIA|ASIA)[A-Z0-9]{16}\b"
            r"|eyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?"
            r"|AQ[A-Za-z0-9+/]{36,38}=="
            r"|DHHC-1:\d\d:[A-Za-z0-9+/]{8,}={0,2}:?"
            r"|NVMeTLSkey-1:\d\d:[A-Za-z0-9+/]{8,}={0,2}:?"
            r"|gh[oprsu]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeprs]-[\w-]{10,}|hvs\.[\w-]{20,}"
            r"|AIza[\w-]{35})"
        ),
        named=False,
    ),
)
_BASIC = re.compile(r"\b(basic\s{1,4})([A-Za-z0-9+/]{6,}={0,2})", re.IGNORECASE)


_harmless: set[str] = set()
"""Texts that were looked through and have none: the same ones come with every answer and at every check. Those that
have one are not kept, nor are long ones."""
_REMEMBERED, _SHORT = 4096, 512


class _Known:
    """Secrets that this process sends itself: no form tells them from other words.

    Attributes:
        texts: the last ones, the newest last.
        pattern: finds them, the longest first; None while there are none.
    """

    def __init__(self) -> None:
        self.texts: dict[str, None] = {}
        self.pattern: re.Pattern[str] | None = None


_known = _Known()
_MOST_KNOWN, _LEAST_LENGTH = 1024, 6
"""A shorter one may be any word, and whoever guesses it needs no text for that."""
_WORD_BEGINS = r"(?:(?<![^\W_])|(?<=\\u[0-9A-Fa-f]{4})|(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{2}))"
_WORD_ENDS = r"(?![^\W_])"


def hide(secrets: Iterable[str]) -> None:
    """Mask these secrets from now on where they are no part of a longer word: who was sent one may say it back."""
    for secret in secrets:
        for form in _forms(secret.strip()):  # a block of YAML ends in a line break, which nobody says back
            if len(form) >= _LEAST_LENGTH:
                _known.texts.pop(form, None)
                _known.texts[form] = None
    for form in list(_known.texts)[: max(0, len(_known.texts) - _MOST_KNOWN)]:
        del _known.texts[form]
    _known.pattern = _pattern(sorted(_known.texts, key=len, reverse=True)) if _known.texts else None
    _harmless.clear()


def _forms(secret: str) -> set[str]:
    """Return a secret as it may be said back: as it is, percent-encoded, in JSON, and in JSON of Go, which escapes `&`."""
    in_json = json.dumps(secret, ensure_ascii=False)[1:-1]
    of_go = re.sub("[&<>]", lambda found: f"\\u{ord(found[0]):04x}", in_json)
    return {secret, quote(secret, safe=""), json.dumps(secret)[1:-1], in_json, of_go}


def _pattern(secrets: Iterable[str]) -> re.Pattern[str]:
    """Match any of these where no letter or digit of theirs goes on: `default` stays in `defaults`."""
    words: list[str] = []
    others: list[str] = []
    for secret in secrets:
        ended = re.escape(secret) + (_WORD_ENDS if secret[-1].isalnum() else "")
        (words if secret[0].isalnum() else others).append(ended)
    either = [f"{_WORD_BEGINS}(?:{'|'.join(words)})"] if words else []
    return re.compile("|".join(either + others))


def mask(text: str) -> str:
    """Return a text with the credentials in it replaced by `***`; nearly every text comes back as it is."""
    if text in _harmless:
        return text
    masked = text if _known.pattern is None else _known.pattern.sub(MASK, text)
    small = masked.casefold()
    named = any(word in small for word in _WORDS)
    for form in _FORMS:
        if (named or not form.named) and any(need in small for need in form.needs):
            masked = form.pattern.sub(_masked, masked)
    if "basic" in small:
        masked = _BASIC.sub(_basic, masked)
    if masked == text and len(text) <= _SHORT:
        if len(_harmless) >= _REMEMBERED:
            _harmless.clear()
        _harmless.add(text)
    return masked


def _masked(found: "re.Match[str]") -> str:
    return f"{found['keep']}{MASK}"


def _basic(found: "re.Match[str]") -> str:
    """Mask `Basic ...` if it is what it looks like: a user and a password in base64."""
    try:
        plain = base64.b64decode(found[2] + "=" * (-len(found[2]) % 4), validate=True)
    except ValueError:  # also of letters that equal others if capitals do not count: `ſ`
        return found[0]
    return f"{found[1]}{MASK}" if b":" in plain else found[0]
