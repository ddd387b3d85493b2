"""Names of an archive's members: from bytes in any encoding to text in one normal form; what is no image by name."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Final

from addercore.data.intake.problems import refuse

Parts = tuple[str, ...]

_ASCII: Final = rb"[\x00-\x7f]"
_TRAIL: Final = rb"[\x40-\x7e\x80-\xfc]"
_GUESSES: Final = tuple(
    (encoding, re.compile(rb"(?:" + pattern + rb")*"))
    for encoding, pattern in (
        # Kana, punctuation and the 2,965 usual kanji of JIS X 0208
        ("cp932", _ASCII + rb"|[\x81-\x83]" + _TRAIL + rb"|[\x88-\x97]" + _TRAIL + rb"|\x98[\x40-\x72]"),
        # Hangul of KS X 1001, which lie where GB 2312 has a part of its characters
        ("cp949", _ASCII + rb"|[\xb0-\xc8][\xa1-\xfe]"),
        # Punctuation and the 3,755 usual characters of GB 2312
        ("gbk", _ASCII + rb"|[\xa1-\xa3][\xa1-\xfe]|[\xb0-\xd7][\xa1-\xfe]"),
        # Punctuation and the 5,401 usual characters
        ("big5", _ASCII + rb"|[\xa1-\xc6][\x40-\x7e\xa1-\xfe]"),
        # Letters with accents, one at a time
        ("cp437", _ASCII + rb"|(?<![\x80-\xff])[\x80-\x9a\xa0-\xa5\xe1](?![\x80-\xff])"),
        ("cp1252", _ASCII + rb"|(?<![\x80-\xff])[\x8a\x8c\x8e\x9a\x9c\x9e\x9f\xc0-\xff](?![\x80-\xff])"),
        # Cyrillic
        ("cp866", _ASCII + rb"|[\x80-\xaf\xe0-\xf1]"),
        ("cp1251", _ASCII + rb"|[\xa8\xb8\xc0-\xff]"),
    )
)
_DOUBLE: Final = ("cp932", "cp949", "gbk", "big5")
_MIXED: Final = re.compile(r"[A-Za-z][^\x00-\x7f]|[^\x00-\x7f][A-Za-z]")
_HANGUL: Final = 8  # different characters from which on names in hangul's place are no Chinese
_FALLBACK: Final = "cp437"  # APPNOTE.TXT of the zip format, appendix D

_SYSTEM: Final = re.compile(
    r"\..*|__macosx|(eh)?thumbs\.db|desktop\.ini|@eadir|#recycle|\$recycle\.bin|system volume information|lost\+found|"
    r"icon[\r\uf00d]",  # macOS names the file of a folder's picture so
    re.IGNORECASE | re.DOTALL,
)
_NOTE: Final = re.compile(
    r".*\.(txt|md|rst|csv|tsv|jsonl?|xml|ya?ml|html?|pdf|docx?|xlsx?|ini|cfg|log|db|py|ipynb|sh|lnk|url|md5|sha1|sha256)",
    re.IGNORECASE | re.DOTALL,
)
_DRIVE: Final = re.compile(r"[A-Za-z]:")


class Names:
    """How an archive's names become text: in UTF-8, or in an encoding that is guessed from all of them."""

    def __init__(self, undeclared: Iterable[bytes]) -> None:
        """`undeclared`: the names whose encoding the archive does not say."""
        wide = [name for name in undeclared if not name.isascii()]
        self.guessed = None if all(map(_is_utf8, wide)) else _guess(wide)

    def text(self, raw: bytes, declared: str | None) -> str:
        """A member's name in normal form C; `declared` is what the archive itself says it is."""
        if declared is None:
            declared = raw.decode(self.guessed or "utf-8", "replace")
        return unicodedata.normalize("NFC", declared)

    @property
    def notes(self) -> list[str]:
        if self.guessed is None:
            return []
        return [
            f"The archive does not say in which encoding its names are; they were read as {self.guessed}. If classes "
            "are called wrongly, pack it again with names in UTF-8."
        ]


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _guess(names: list[bytes]) -> str:
    """The first encoding in which every name is made of usual characters."""
    for encoding, pattern in _GUESSES:
        if not all(pattern.fullmatch(name) for name in names):
            continue
        try:
            texts = [name.decode(encoding) for name in names]
        except UnicodeDecodeError:
            continue
        if encoding in _DOUBLE and any(_MIXED.search(text) for text in texts):
            continue  # an accented letter in a Western word, whose next letter is taken for the second byte
        if encoding == "cp949" and len({c for text in texts for c in text if not c.isascii()}) < _HANGUL:
            continue
        return encoding
    return _FALLBACK


def parts_of(name: str) -> Parts:
    """The folders and the file of a member's name. Raises BadDataset where it leads out of the archive."""
    path = name.replace("\\", "/")
    shown = repr(name[:100])
    try:
        name.encode()
    except UnicodeEncodeError:
        raise refuse(f"The archive has a name that is no text: {shown}. Rename the file and pack it again.") from None
    parts = PurePosixPath(path).parts
    if path.startswith("/") or _DRIVE.match(path):
        raise refuse(f"The archive has an absolute name: {shown}. Pack the folder from beside it.")
    if ".." in parts or "\x00" in name:
        raise refuse(f"The archive has a name that leads out of it: {shown}. Pack the folder from beside it.")
    return parts


def system_file(parts: Parts) -> bool:
    """What operating systems, file managers and version control leave lying about, or what lies below it."""
    return any(_SYSTEM.fullmatch(part) for part in parts)


def written_note(parts: Parts) -> bool:
    """Whether a file is by its name a text or table beside the images."""
    return _NOTE.fullmatch(parts[-1]) is not None
