"""Collecting what is wrong with a configuration: every bad field with a sentence, raised together."""

from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from math import isfinite
from typing import Any


@dataclass(frozen=True, slots=True)
class FieldError:
    """One bad field: its dotted name (`optimizer.lr`), and a full sentence that names field, value and remedy."""

    field: str
    detail: str

    @property
    def pointer(self) -> str:
        """The field as a JSON pointer (RFC 6901): `/optimizer/lr`."""
        parts = self.field.split(".") if self.field else []
        return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


class InvalidConfig(ValueError):
    """A configuration with one or more bad fields, all of them in `errors`."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(error.detail for error in errors))
        self.errors = tuple(errors)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


class Problems:
    """Bad fields found so far; `prefix` is the section's dotted name."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.found: list[FieldError] = []

    def add(self, name: str, sentence: str) -> None:
        """`sentence` continues the field's name: "must be > 0, got -1"."""
        field = self.prefix + name
        self.found.append(FieldError(field, f"{field} {sentence}"))

    def add_sentence(self, name: str, sentence: str) -> None:
        self.found.append(FieldError(self.prefix + name, sentence))

    def choice(self, name: str, value: object, known: Sequence[str]) -> None:
        if not isinstance(value, str) or value not in known:
            self.add(name, f"must be one of {', '.join(known)}, got {value!r}")

    def positive(self, name: str, value: object) -> None:
        if not (_is_number(value) and value > 0):  # type: ignore[operator]
            self.add(name, f"must be > 0, got {value!r}")

    def not_negative(self, name: str, value: object) -> None:
        if not (_is_number(value) and value >= 0):  # type: ignore[operator]
            self.add(name, f"must be ≥ 0, got {value!r}")

    def fraction(self, name: str, value: object) -> None:
        if not (_is_number(value) and 0 <= value < 1):  # type: ignore[operator]
            self.add(name, f"must be at least 0 and below 1, got {value!r}")

    def share(self, name: str, value: object) -> None:
        if not (_is_number(value) and 0 <= value <= 1):  # type: ignore[operator]
            self.add(name, f"must be at least 0 and at most 1, got {value!r}")

    def boolean(self, name: str, value: object) -> None:
        if not isinstance(value, bool):
            self.add(name, f"must be true or false, got {value!r}")

    def integer(self, name: str, value: object, least: int, why: str = "") -> None:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            self.add(name, f"must be an integer ≥ {least}{f' ({why})' if why else ''}, got {value!r}")

    def section(self, name: str, cls: type[Any], value: object, base: dict[str, Any]) -> Any:
        """An instance of `cls` from the object `value` over the defaults `base`, or None with the reasons kept."""
        if not isinstance(value, dict):
            self.add(name, f"must be an object, got {value!r}")
            return None
        known = {field.name: field for field in fields(cls)}
        for key in value:
            if key not in known:
                self.add(f"{name}.{key}", f"is not a field of {name}; known: {', '.join(known)}")
        merged = {key: item for key, item in {**base, **value}.items() if key in known}
        missing = [key for key, field in known.items() if key not in merged and field.default is MISSING]
        for key in missing:
            self.add(f"{name}.{key}", "is required")
        return None if missing else self.merge(lambda: cls(**merged))

    def merge(self, make: Callable[[], Any]) -> Any:
        """The result of `make`, or None with its bad fields added to these."""
        try:
            return make()
        except InvalidConfig as error:
            self.found += error.errors
            return None

    def raise_any(self) -> None:
        if self.found:
            raise InvalidConfig(self.found)
