"""How settings are checked, written and read; what they are stands in config.py. No torch here.

A settings class is a frozen dataclass derived from `Settings`. Its field types say what is allowed:
`int`, `float`, `bool`, `str`, a `Literal`, `tuple[int, ...]`, another settings class, or one of these
with a range (`Annotated[float, Range(0, 1)]`) or a form. Values of the wrong type or out of range raise
ConfigError with the setting's dotted name, as it is written in a YAML file and on the command line.
"""

import difflib
import math
import re
import types
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from partdistillation.errors import ConfigError, InputError

S = TypeVar("S", bound="Settings")

_SCHEMES = ("s3", "gs", "az", "abfs", "abfss")
_URL = re.compile(rf"[a-z][a-z0-9+.-]+:/{{1,2}}(?=[^/])|({'|'.join(_SCHEMES)}):/*$", re.IGNORECASE)
"""With one slash too: what `Path` makes of a URL. And without a bucket, which is no folder's name."""


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, both included unless `open_low`."""

    low: float
    high: float | None = None
    open_low: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        return above and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        if self.high is None:
            return f"above {self.low:g}" if self.open_low else f"at least {self.low:g}"
        low = f"above {self.low:g}, up" if self.open_low else f"from {self.low:g}"
        return f"{low} to {self.high:g}"


@dataclass(frozen=True)
class Form:
    """The texts that match `pattern`; `words` are how they are described."""

    pattern: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class LeftOut:
    """Marks a setting that isn't in its section's fingerprint, and says why."""

    why: str


INCIDENTAL = LeftOut("it says how the work is done, and changes nothing that is made")
BY_CONTENTS = LeftOut("the contents of what it names count, not the name: a stage adds their hash")
THROUGH_STEPS = LeftOut("it decides the number of steps, which is in the fingerprint")

PositiveInt = Annotated[int, Range(1)]
NaturalInt = Annotated[int, Range(0)]
Positive = Annotated[float, Range(0, open_low=True)]
NonNegative = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]


@dataclass(frozen=True)
class Settings:
    """Base class: checks every field's type and range when an instance is made."""

    section: ClassVar[str] = ""
    """The dotted name in front of the fields, as in `segments.crf`; empty for the outermost class."""

    def __post_init__(self) -> None:
        hints = _field_types(type(self))
        for entry in fields(self):
            if isinstance(path := getattr(self, entry.name), Path):
                object.__setattr__(self, entry.name, at_home(path))
            check(_dotted(self.section, entry.name), hints[entry.name], getattr(self, entry.name))

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values: what YAML and JSON can hold, in the order of the fields."""
        return {entry.name: _plain(getattr(self, entry.name)) for entry in fields(self)}

    def fingerprint(self) -> dict[str, Any]:
        """The plain values of the settings that decide what is made: all but those marked as `LeftOut`."""
        hints = _field_types(type(self))
        values = {
            entry.name: getattr(self, entry.name) for entry in fields(self) if not left_out(hints[entry.name])
        }
        return {
            name: value.fingerprint() if isinstance(value, Settings) else _plain(value)
            for name, value in values.items()
        }

    def part(self, section: type[S]) -> S:
        """These settings as one of the classes that theirs is put together of: what decides one artefact."""
        return section(**{entry.name: getattr(self, entry.name) for entry in fields(section)})

    def updated(self: S, values: Mapping[str, Any]) -> S:
        """A copy with `values` (nested, as `to_dict` gives them) in place of its own.

        Raises:
            ConfigError: an unknown name (with the nearest known one), or a value that isn't allowed.
        """
        names = [entry.name for entry in fields(self)]
        for name in values:
            if name not in names:
                where = f"in section {self.section!r}" if self.section else "at the top"
                raise ConfigError(f"unknown setting {name!r} {where}.{did_you_mean(str(name), names)}")
        hints = _field_types(type(self))
        own = {name: getattr(self, name) for name in names}
        new = {name: self._read(name, hints[name], own[name], value) for name, value in values.items()}
        return type(self)(**(own | new))

    def _read(self, name: str, hint: object, own: object, value: object) -> object:
        if not isinstance(own, Settings):
            return _from_yaml(hint, value)
        if not isinstance(value, Mapping):
            raise ConfigError(
                f"{_dotted(self.section, name)}: expected a section with settings in it, found {value!r}"
            )
        return own.updated(value)


def at_home(path: Path) -> Path:
    """The path with the home folder for a leading `~`; as it is where there is no such home."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def is_url(place: Path | str) -> bool:
    """Whether this is a URL and not a path.

    >>> is_url("s3://bucket/photos"), is_url(Path("s3://bucket/photos")), is_url("photos/s3")
    (True, True, False)
    """
    return _URL.match(str(place)) is not None


def as_url(place: Path | str) -> str:
    """A URL as it is written, without a slash at its end.

    >>> as_url(Path("s3://bucket/photos"))
    's3://bucket/photos'

    Raises:
        InputError: it is of a kind that isn't known, or names no bucket.
    """
    scheme, rest = str(place).split(":", maxsplit=1)
    url = f"{scheme.lower()}://{rest.strip('/')}"
    if scheme.lower() not in _SCHEMES:
        kinds = ", ".join(f"{known}://" for known in _SCHEMES)
        raise InputError(f"expected a path, or a URL that begins with {kinds}; found {url}")
    if url.endswith("://"):
        raise InputError(f"expected a bucket in the URL, as in {url}bucket/folder; found none")
    return url


def left_out(hint: object) -> LeftOut | None:
    """The mark of a field's type, if it has one."""
    return next((mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, LeftOut)), None)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the known word nearest to `word`; else the (first) known words."""
    known = list(known)
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return nearest(word, known) or f" Known: {', '.join(known[:_LISTED])}{more}."


def nearest(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the known word nearest to `word`; nothing where none is like it."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.7)  # not gpu for cpu
    return f" Did you mean {near[0]!r}?" if near else ""


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        ConfigError: the file can't be read, isn't YAML, or holds something else than a mapping; it is larger
            than settings are, or its aliases (`*name`) stand for more than is sensible.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigError(f"{path}: expected at most {_MOST_BYTES} bytes of settings; is it a data set?")
        return parse_yaml(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigError(f"{path}: expected a YAML file that can be read: {error}") from error


def parse_yaml(content: bytes, place: str) -> dict[str, Any]:
    """The mapping that the content of a YAML file is; `place` names it in errors.

    Raises:
        ConfigError: as `read_yaml`.
    """
    try:
        values = _load_yaml(content.decode())
    except UnicodeDecodeError as error:
        raise ConfigError(f"{place}: expected a YAML file that can be read: {error}") from error
    except RecursionError:
        raise ConfigError(f"{place}: expected YAML, found brackets nested too deeply") from None
    except (yaml.YAMLError, ArithmeticError, ValueError, TypeError, KeyError, AttributeError) as error:
        # PyYAML turns what looks like a date or a number into one, and fails in many ways
        raise ConfigError(f"{place}: expected YAML: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{place}: expected settings as `name: value` lines, found {values!r:.60}")
    return values


def _load_yaml(text: str) -> Any:
    """As `yaml.safe_load`, after a look at what aliases stand for: ten lines can stand for millions."""
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        if _nodes(root, {}) > _MOST_NODES:
            raise yaml.YAMLError(f"at most {_MOST_NODES} values, found more behind its aliases")
        return loader.construct_document(root)
    finally:
        loader.dispose()


def _nodes(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for with all aliases written out; each node is looked at once."""
    if isinstance(node, yaml.ScalarNode) and len(node.value) > _MOST_LETTERS:
        raise yaml.YAMLError(f"values of at most {_MOST_LETTERS} letters, found {len(node.value)}")
    if id(node) not in known:
        if isinstance(node, yaml.MappingNode):
            _require_once([key for key, _ in node.value if isinstance(key, yaml.ScalarNode)])
        known[id(node)] = _MOST_NODES + 1  # while it is looked at: an alias for what it is inside of
        below = node.value if isinstance(node, yaml.CollectionNode) else ()
        children = chain.from_iterable(below) if isinstance(node, yaml.MappingNode) else below
        known[id(node)] = 1 + sum(_nodes(child, known) for child in children)
    return known[id(node)]


def _require_once(keys: Sequence[yaml.ScalarNode]) -> None:
    """PyYAML takes the last of several values, and says nothing."""
    for name, count in Counter(key.value for key in keys).items():
        if count > 1 and name != "<<":
            raise yaml.YAMLError(f"every name once, found {name!r:.80} {count} times")


def write_yaml(values: Mapping[str, Any]) -> str:
    """YAML in the order given: the same values always give the same text."""
    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)


_MOST_BYTES, _MOST_NODES, _MOST_LETTERS = 1_000_000, 100_000, 4096
"""Of a file of settings, which has two hundred lines, and of a value, the longest of which are paths."""
_LISTED = 40
"""So many known words are listed; there may be 21,000 object classes."""

_WORDS: Mapping[object, str] = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "a path",
    type(None): "nothing",
}


def _field_types(settings: type) -> dict[str, object]:
    """The declared type of each field, ranges included."""
    return get_type_hints(settings, include_extras=True)


def _dotted(section: str, name: str) -> str:
    return f"{section}.{name}" if section else name


def _plain(value: object) -> object:
    if isinstance(value, Settings):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _from_yaml(hint: object, value: object) -> object:
    """A YAML value as the field's type where nothing is lost; else as it is, for `check` to refuse."""
    hint = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if hint is float and isinstance(value, int | str) and not isinstance(value, bool):
        try:  # YAML 1.1 takes 1e-4 for a string
            return float(value)
        except ValueError:
            return value
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(value)
    if isinstance(value, str) and Path in get_args(hint):
        return Path(value)
    return value


def check(name: str, hint: object, value: object) -> None:
    """Make sure that a value is what a type, with its range, allows.

    Raises:
        ConfigError: it isn't; the message begins with `name`.
    """
    extras = getattr(hint, "__metadata__", ())
    limits = [extra for extra in extras if isinstance(extra, Range)]
    forms = [extra for extra in extras if isinstance(extra, Form)]
    hint = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if not _is_a(hint, value):
        choices = map(str, get_args(hint)) if get_origin(hint) is Literal else ()
        near = nearest(str(value), choices)
        raise ConfigError(f"{name}: expected {_describe(hint)}, found {value!r}{near and '.'}{near}")
    for limit in limits:
        if isinstance(value, int | float) and value not in limit:
            raise ConfigError(f"{name}: expected {_describe(hint)} {limit}, found {value!r}")
    for form in forms:
        if isinstance(value, str) and not re.fullmatch(form.pattern, value):
            near = nearest(value, form.words)
            expected = ", ".join(form.words)
            raise ConfigError(f"{name}: expected one of {expected}, found {value!r}{near and '.'}{near}")


def _is_a(hint: object, value: object) -> bool:
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_is_a(get_args(hint)[0], item) for item in value)
    if get_origin(hint) in (Union, types.UnionType):
        return any(_is_a(option, value) for option in get_args(hint))
    if hint in (int, float) and isinstance(value, bool):
        return False
    if hint is float:
        return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(hint, type) and isinstance(value, hint)


def _describe(hint: object) -> str:
    origin = get_origin(hint)
    if origin is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    if origin is tuple:
        return "a list of integers"
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(option) for option in get_args(hint))
    if isinstance(hint, type) and issubclass(hint, Settings):
        return f"a section ({hint.__name__})"
    return _WORDS[hint]
