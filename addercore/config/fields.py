"""What all configurations share: their base class, the types of their fields, and how defaults are filled in."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Annotated, Any, Final, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
)
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import no_info_wrap_validator_function

from addercore.config.errors import FieldError, InvalidConfig, explain

SERVICE_KEYS: Final = frozenset({"kind", "resources", "priority", "limits", "labels"})
"""Keys of a job's spec that the service reads and the library does not."""

MAX_SEED: Final = 2**63 - 1


Part = TypeVar("Part", bound="Section")


class Section(BaseModel):
    """A part of a configuration: frozen, and valid from the moment it exists. Unknown fields are refused.

    Types are strict: a text that holds a number is no number, and true is not 1. A float without a fraction passes as
    an integer, as JSON has one kind of number.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, validate_default=True, use_attribute_docstrings=True
    )

    def replace(self, **changes: Any) -> Self:
        """A copy with changes, checked as a whole.

        Args:
            changes: new values by the field's name.

        Returns:
            A new section; this one stays as it is.

        Raises:
            InvalidConfig: the copy would not be valid.
        """
        return checked(type(self), self.model_dump() | changes)

    def __replace__(self, **changes: Any) -> Self:
        return self.replace(**changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries and lists for JSON, every default filled in."""
        return self.model_dump(mode="json")


class Config(Section):
    """A whole configuration, read from a job's spec."""

    @classmethod
    def from_dict(cls, spec: dict[str, Any]) -> Self:
        """A configuration from a spec that may leave out what has a default.

        Args:
            spec: fields by name, as in the body of `POST /v1/jobs`. Keys that only the service needs are ignored.

        Returns:
            The configuration; `to_dict` gives a spec that reads back as an equal one.

        Raises:
            InvalidConfig: fields are missing, unknown or have bad values; `errors` names each of them.
        """
        if not isinstance(spec, dict):
            raise InvalidConfig([FieldError((), f"a spec must be an object, got {type(spec).__name__}")])
        return checked(cls, {key: value for key, value in spec.items() if key not in SERVICE_KEYS})


def checked(cls: type[Part], values: dict[str, Any]) -> Part:
    """`values` as a `cls`. Raises InvalidConfig."""
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        raise InvalidConfig(explain(error, cls)) from None


def merge(defaults: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """`given` over `defaults`, objects field by field. Neither argument changes."""
    merged = dict(defaults)
    for key, value in given.items():
        below = defaults.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def part_of(data: dict[str, Any], section: str, field: str, default: Any = None) -> Any:
    """A field of a section that is not checked yet: an object, or a section that is made already."""
    part = data.get(section)
    return part.get(field, default) if isinstance(part, dict) else getattr(part, field, default)


def one_of(known: Collection[str], *also: Callable[[str], bool]) -> BeforeValidator:
    """Refuses a name that is not `known` and lists those that are; each of `also` may accept further names."""

    def check(name: Any) -> Any:
        if not (isinstance(name, str) and (name in known or any(accepts(name) for accepts in also))):
            raise PydanticCustomError("unknown_name", "must be one of {known}", {"known": ", ".join(known)})
        return name

    return BeforeValidator(check)


def names(known: Collection[str], **schema: Any) -> Any:
    """How the JSON schema lists the names that `one_of` knows."""
    return Field(json_schema_extra={"enum": list(known), **schema})


@dataclass(frozen=True, slots=True)
class Form:
    """The values of a field in words ("a model's id"), where its type alone says a rule that only programmers read.

    Error texts and the JSON schema (`x-values`) have these words.
    """

    words: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_wrap_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "x-values": self.words}

    def _check(self, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            if any(item["loc"] for item in error.errors(include_url=False)):
                raise  # about an entry, which has a place of its own
            raise PydanticCustomError("form", "must be {words}", {"words": self.words}) from None


def _integral(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE: Final = BeforeValidator(_integral)
"""Of an integer: a float without a fraction passes. It stands last, so that bounds stay in the JSON schema."""
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED), WHOLE]
Count = Annotated[int, Field(ge=1, le=2**53), WHOLE]
"""A number of things without a bound of its own: at most what JSON's readers and the database keep exactly."""
Epochs = Annotated[int, Field(ge=1, le=100_000), WHOLE]
BatchSize = Annotated[
    int,
    Field(ge=2, le=1_000_000),
    WHOLE,
    Form("an integer ≥ 2 and ≤ 1000000 (batch normalisation needs two images)"),
]
"""Images of a step that trains."""
ModelId = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9._-]*$", max_length=64), Form("a model's id")]
