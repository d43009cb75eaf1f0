"""YAML without surprises: plain data, where each piece of it stands, and an error that points there.

Scalars follow YAML 1.2's core schema (``no`` is text, ``1e3`` a number, ``22:30`` and dates are text). Keys
are text and occur once; only core tags; one document; size, depth and what aliases expand to are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from journeybatch.errors import SpecError

MOST_BYTES = 1 << 20
MOST_NODES = 10_000
MOST_DEPTH = 50
MOST_DIGITS = 64

Key = str | int
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_PLAIN = re.compile(r"[A-Za-z_/][\w ./-]*(?<! )", re.ASCII)
_BREAKS = re.compile("[\r\x85\u2028\u2029]")  # line breaks to YAML 1.1, which a block would not keep
_CORE = "tag:yaml.org,2002:"
_KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "null": (type(None),),
}


@dataclass(slots=True)
class Node:
    """A value and where it begins (from 1). ``nodes``, ``size`` and ``depth`` count aliases as written out."""

    data: Any
    line: int
    column: int
    children: dict[Key, Node] = field(default_factory=dict)
    keys: dict[Key, tuple[int, int]] = field(default_factory=dict)
    nodes: int = 1
    size: int = 0
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data (dict, list, str, int, float, bool, None) called ``name``; no ``root``: it was no file."""

    name: str
    data: Any
    root: Node | None = None

    def position(self, path: tuple[Key, ...], *, key: bool = False) -> tuple[int, int] | None:
        """Line and column (from 1) of the value at ``path``, or of its key; else of what is nearest above."""
        node = self.root
        if node is None:
            return None
        for step in path[:-1] if key else path:
            if step not in node.children:
                return (node.line, node.column)
            node = node.children[step]
        if key and path and path[-1] in node.keys:
            return node.keys[path[-1]]
        return (node.line, node.column)

    def where(self, path: tuple[Key, ...], *, key: bool = False) -> str:
        """``FILE:LINE:COLUMN`` of ``path``, or the bare name."""
        position = self.position(path, key=key)
        return f"{self.name}:{position[0]}:{position[1]}" if position else self.name


def read_file(path: Path) -> Document:
    """The document in a UTF-8 file. Raises SpecError, also for a file that cannot be read."""
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    try:
        return read(raw.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        if len(raw) > MOST_BYTES:
            raise _too_large(str(path)) from None
        raise SpecError(f"{path}:{line}: this is not UTF-8 text") from None


def read(text: str, name: str) -> Document:
    """The one document in ``text``. Raises SpecError ``NAME:LINE:COLUMN: …``."""
    if len(text) > MOST_BYTES:
        raise _too_large(name)
    if found := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        column = found.start() - (text.rfind("\n", 0, found.start()) + 1) + 1
        raise SpecError(f"{name}:{line}:{column}: unprintable character U+{ord(found[0]):04X}")
    # Python's parser, not libyaml's: a job file takes it milliseconds, its errors are clearer, it is everywhere.
    reader = _Reader(name, yaml.parse(text, Loader=yaml.SafeLoader))
    try:
        root = reader.document()
    except yaml.MarkedYAMLError as error:
        raise _syntax(error, name, text) from None
    except yaml.YAMLError as error:
        raise SpecError(f"{name}: {error}") from None
    return Document(name, root.data, root)


def write(data: Mapping[str, Any]) -> str:
    """YAML text that ``read`` gives back as ``data``; texts of several lines are blocks where they can be."""
    text: str = yaml.dump(
        data, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=2**31, default_flow_style=False
    )
    return text


class _Reader:
    """Builds nodes out of parser events; recursion goes no deeper than ``MOST_DEPTH``."""

    def __init__(self, name: str, events: Iterator[Any]) -> None:
        self.name = name
        self.events = events
        self.anchors: dict[str, Node] = {}

    def document(self) -> Node:
        next(self.events)
        event = next(self.events)
        if isinstance(event, yaml.StreamEndEvent):
            return Node(None, 1, 1)
        root = self.node(next(self.events), 1)
        next(self.events)
        event = next(self.events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise self.error(event, "a second document; one file holds one")
        return root

    def node(self, event: Any, depth: int) -> Node:
        if depth > MOST_DEPTH:
            raise self.error(event, f"nested deeper than {MOST_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise self.error(event, f"alias *{event.anchor} stands for nothing above it")
            return self.anchors[event.anchor]
        node = Node(None, event.start_mark.line + 1, event.start_mark.column + 1)
        if isinstance(event, yaml.ScalarEvent):
            node.data, node.size = self.scalar(event), len(event.value)
        elif isinstance(event, yaml.MappingStartEvent):
            self.mapping(event, node, depth)
        else:
            self.sequence(event, node, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def scalar(self, event: Any) -> Any:
        tag = self.tag(event, {"str", *_KINDS})
        if tag == "str" or (tag is None and event.style):
            return event.value
        try:
            data = resolve(event.value)
        except ValueError as error:
            raise self.error(event, str(error)) from None
        if tag is not None and type(data) not in _KINDS[tag]:
            raise self.error(event, f"{event.value!r} is no !!{tag}")
        return float(data) if tag == "float" else data

    def mapping(self, event: Any, node: Node, depth: int) -> None:
        self.tag(event, {"map"})
        merged: list[Node] = []
        while not isinstance(start := next(self.events), yaml.MappingEndEvent):
            key = self.key(start)
            if key == "<<" and not start.style:
                merged.append(self.node(next(self.events), depth + 1))
                continue
            if key in node.keys:
                line, column = node.keys[key]
                raise self.error(start, f"duplicate key {key!r} (first at line {line}, column {column})")
            node.keys[key] = (start.start_mark.line + 1, start.start_mark.column + 1)
            self.add(node, key, self.node(next(self.events), depth + 1), event)
        for other in merged:
            self.merge(node, other, event)
        node.data = {key: child.data for key, child in node.children.items()}

    def sequence(self, event: Any, node: Node, depth: int) -> None:
        self.tag(event, {"seq"})
        while not isinstance(start := next(self.events), yaml.SequenceEndEvent):
            self.add(node, len(node.children), self.node(start, depth + 1), event)
        node.data = [child.data for child in node.children.values()]

    def key(self, event: Any) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise self.error(event, 'a key must be text; a value that begins with {{ needs quotes: "{{ … }}"')
        key = self.scalar(event)
        if not isinstance(key, str):
            raise self.error(event, f"key {event.value} is not text; write '{event.value}' in quotes")
        return key

    def merge(self, node: Node, other: Node, event: Any) -> None:
        """``<<``: keys of ``other``, a mapping or several, that ``node`` has not itself."""
        for source in other.children.values() if isinstance(other.data, list) else (other,):
            if not isinstance(source.data, dict):
                raise SpecError(f"{self.name}:{source.line}:{source.column}: << takes a mapping")
            for key, child in source.children.items():
                if key not in node.children:
                    node.keys[key] = source.keys[key]
                    self.add(node, key, child, event)

    def add(self, node: Node, key: Key, child: Node, event: Any) -> None:
        node.children[key] = child
        node.nodes += child.nodes
        node.size += child.size + len(str(key))
        node.depth = max(node.depth, child.depth + 1)
        if node.nodes > MOST_NODES:
            raise self.error(event, f"more than {MOST_NODES:,} values, aliases written out")
        if node.size > MOST_BYTES:
            raise self.error(event, "more than 1 MiB, aliases written out")
        if node.depth > MOST_DEPTH:
            raise self.error(event, f"nested deeper than {MOST_DEPTH} levels")

    def tag(self, event: Any, known: set[str]) -> str | None:
        if event.tag is None:
            return None
        if event.tag == "!" and "str" in known:
            return "str"
        tag = str(event.tag).removeprefix(_CORE)
        if event.tag != _CORE + tag or tag not in known:
            raise self.error(event, f"tag {event.tag} is not allowed")
        return tag

    def error(self, event: Any, message: str) -> SpecError:
        mark = event.start_mark
        return SpecError(f"{self.name}:{mark.line + 1}:{mark.column + 1}: {message}")


def resolve(text: str) -> Any:
    """What an unquoted scalar means in YAML 1.2's core schema. Raises ValueError for a number JSON has not."""
    if text in _WORDS or (text.lower() in _WORDS and (text.istitle() or text.isupper())):
        return _WORDS[text.lower()]
    if _NO_NUMBER.fullmatch(text):
        raise ValueError(f"{text} is no number that can be used here; in quotes it is text")
    if not _FLOAT.fullmatch(text) and not _INT.fullmatch(text):
        return text
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a number of more than {MOST_DIGITS} characters; in quotes it is text")
    if _INT.fullmatch(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text} is too large a number")
    return number


class _Writer(yaml.SafeDumper):
    """Quotes what YAML 1.1 or 1.2 would not read as the same text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True  # the same list twice is written twice


def _text(writer: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    block = "\n" in text and not _BREAKS.search(text)
    plain = _PLAIN.fullmatch(text) and isinstance(resolve(text), str)
    return writer.represent_scalar(_CORE + "str", text, style="|" if block else None if plain else '"')


_Writer.add_representer(str, _text)


def _too_large(name: str) -> SpecError:
    return SpecError(f"{name}: larger than 1 MiB")


def _syntax(error: yaml.MarkedYAMLError, name: str, text: str) -> SpecError:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return SpecError(f"{name}: {error.problem}")
    line = text.splitlines()[mark.line] if mark.line < len(text.splitlines()) else ""
    hint = ' (a value that begins with {{ needs quotes: "{{ … }}")' if re.search(r"[:-] *\{\{", line) else ""
    return SpecError(f"{name}:{mark.line + 1}:{mark.column + 1}: {error.problem or error.context}{hint}")
