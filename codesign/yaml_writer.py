"""Values → nodes → YAML text that reads back to equal values."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from codesign.annotations import fields_of
from codesign.yaml_nodes import Entry, Items, Node, Scalar, Table, looks_like_text
from codesign.yaml_scalars import float_text

__all__ = ["dump", "node_of", "write"]

_SAFE_UNQUOTED = re.compile(r"[A-Za-z_/.][A-Za-z0-9_/.:+-]*[A-Za-z0-9_]|[A-Za-z_]")
_TRUTHS_ELSEWHERE = {"y", "Y", "n", "N"}  # to YAML 1.1, though not to PyYAML
_LINE_LENGTH = 60  # characters of values on one line
_RESOLVER = yaml.resolver.Resolver()


def dump(instance: object, *, folder: Path | None = None) -> str:
    """Write a configuration with all its defaults.

    Args:
        instance: An instance of a dataclass that `load` can read.
        folder: Paths inside it are written relative to it, for a file that will stand there.

    Returns:
        YAML that loads back to an equal instance; keys in the order of the fields.

    Raises:
        TypeError: A value is of a type that a YAML file cannot say.
    """
    return write(node_of(instance, folder=folder))


def write(node: Node) -> str:
    """Write nodes as YAML text; short lists and mappings stand on one line."""
    root = _yaml_node(node)
    if isinstance(root, yaml.CollectionNode):
        root.flow_style = False
    text: str = yaml.serialize(root, Dumper=yaml.SafeDumper, allow_unicode=True, width=10**9)
    return text


def node_of(value: object, *, folder: Path | None = None) -> Node:
    """The nodes that read back as a value.

    Args:
        value: None, bool, int, float, str, Path, a list, tuple, dict or dataclass of these, a node.
        folder: What paths below it are written relative to.

    Raises:
        TypeError: Anything else.

    >>> node_of(0.001)
    Scalar(text='0.001', is_text=False)
    """
    match value:
        case Scalar() | Items() | Table():
            return value
        case None | bool():
            return Scalar({None: "null", True: "true", False: "false"}[value], is_text=False)
        case int():
            return Scalar(str(int(value)), is_text=False)
        case float():
            return Scalar(float_text(value), is_text=False)
        case str():
            return Scalar(str(value), is_text=True)
        case Path():
            return Scalar(_path_text(value, folder), is_text=True)
        case tuple() | list():
            return Items(tuple(node_of(item, folder=folder) for item in value))
        case dict():
            return _table(value, folder)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _record(value, type(value), folder)
    raise TypeError(f"a YAML file cannot say a {type(value).__name__}")


def _table(value: dict[object, object], folder: Path | None) -> Table:
    entries = []
    for key, item in value.items():
        if not isinstance(key, str):
            raise TypeError(f"a key in YAML is a text, came {key!r}")
        entries.append(Entry(key, node_of(item, folder=folder)))
    return Table(tuple(entries))


def _record(value: object, cls: type, folder: Path | None) -> Table:
    entries: list[Entry] = []
    for field in fields_of(cls):
        node = node_of(getattr(value, field.name), folder=folder)
        if field.rest and isinstance(node, Table):
            entries += node.entries
        else:
            entries.append(Entry(field.name, node))
    return Table(tuple(entries))


def _path_text(path: Path, folder: Path | None) -> str:
    below = folder is not None and path.is_relative_to(folder.absolute())
    return (path.relative_to(folder.absolute()) if folder and below else path).as_posix()


def _yaml_node(node: Node) -> yaml.Node:
    match node:
        case Scalar(text, is_text):
            return _yaml_scalar(text, is_text)
        case Items(items):
            tag = yaml.resolver.BaseResolver.DEFAULT_SEQUENCE_TAG
            inner = [_yaml_node(item) for item in items]
            return yaml.SequenceNode(tag, inner, flow_style=_is_short(items))
        case Table(entries):
            tag = yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG
            pairs = [(_yaml_scalar(e.key, e.is_text), _yaml_node(e.value)) for e in entries]
            return yaml.MappingNode(tag, pairs, flow_style=_is_short([e.value for e in entries]))


def _is_short(nodes: Sequence[Node]) -> bool:
    """Whether these nodes are read more easily on one line."""
    texts = [node.text for node in nodes if isinstance(node, Scalar)]
    return len(texts) == len(nodes) and sum(map(len, texts)) <= _LINE_LENGTH


def _yaml_scalar(text: str, is_text: bool) -> yaml.ScalarNode:
    if not is_text:
        # With the tag that PyYAML would resolve, the text is written bare and without a tag.
        return yaml.ScalarNode(_RESOLVER.resolve(yaml.ScalarNode, text, (True, False)), text)
    is_safe = looks_like_text(text) and text not in _TRUTHS_ELSEWHERE
    style = None if is_safe and _SAFE_UNQUOTED.fullmatch(text) else '"'
    return yaml.ScalarNode(yaml.resolver.BaseResolver.DEFAULT_SCALAR_TAG, text, style=style)
