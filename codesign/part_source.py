"""What arguments a part takes, read from its source text: nothing is imported, nothing runs.

So `codesign check` knows a misspelt argument of a network without importing torch. Whatever the
text does not tell (an annotation from another module, a base class from elsewhere) counts as
allowed; binding the part for real checks it again.
"""

from __future__ import annotations

import ast
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codesign.annotations import Plain, rules_of, spec, type_of
from codesign.field_types import Anything, Field, FieldType, Rules
from codesign.quantities import Quantity

__all__ = ["Signature", "signature_in"]

_TYPES: dict[str, object] = {
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "Path": Path,
    "Any": typing.Any,
    "object": object,
    "Quantity": Quantity,
    "Plain": Plain,
}
_GENERICS: dict[str, typing.Any] = {
    "Literal": typing.Literal,
    "Optional": typing.Optional,
    "Union": typing.Union,
    "tuple": tuple,
    "list": list,
    "dict": dict,
    "Sequence": Sequence,
}
_ADDS_NO_ARGUMENTS = {"ABC", "Generic", "Protocol", "object"}
_KEEPS_ARGUMENTS = {"cache", "final", "inference_mode", "lru_cache", "no_grad", "of_shape"}

_Function: typing.TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Signature:
    """The arguments of a class or function.

    Attributes:
        fields: One for each argument that is known.
        is_open: Arguments of other names may be given too.
    """

    fields: tuple[Field, ...] = ()
    is_open: bool = False


def signature_in(file: Path, name: str) -> Signature:
    """The arguments of a top-level class or function of a source file.

    Args:
        file: A Python source file.
        name: The class or function; one that the file does not define takes anything.
    """
    return _Module(ast.parse(file.read_text(encoding="utf-8"))).signature(name)


class _Unknown(Exception):  # noqa: N818  an answer, not an error
    """The text does not tell."""


class _Module:
    """The top level of a source file."""

    def __init__(self, tree: ast.Module) -> None:
        self.definitions: dict[str, _Function | ast.ClassDef] = {}
        self.values: dict[str, ast.expr] = {}
        for node in tree.body:
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                    self.definitions[node.name] = node
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self.values[name] = value
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    self.values[name] = value

    def signature(self, name: str) -> Signature:
        match self.definitions.get(name):
            case ast.ClassDef() as node:
                return self._of_class(node)
            case ast.FunctionDef() | ast.AsyncFunctionDef() as node:
                known = all(_last_name(d) in _KEEPS_ARGUMENTS for d in node.decorator_list)
                return self._of_function(node, bound=0) if known else Signature(is_open=True)
        return Signature(is_open=True)

    def _of_class(self, node: ast.ClassDef) -> Signature:
        for inner in reversed(node.body):  # the last one counts; others may be overloads
            if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
                return self._of_function(inner, bound=1)
        bases = [self._of_base(base) for base in node.bases]
        fields = {field.name: field for base in reversed(bases) for field in base.fields}
        if any(_last_name(decorator) == "dataclass" for decorator in node.decorator_list):
            fields |= {field.name: field for field in self._declared(node)}
        return Signature(tuple(fields.values()), any(base.is_open for base in bases))

    def _of_base(self, base: ast.expr) -> Signature:
        if _last_name(base) in _ADDS_NO_ARGUMENTS:
            return Signature()
        match base:
            case ast.Name(id=name) if isinstance(self.definitions.get(name), ast.ClassDef):
                return self.signature(name)
        return Signature(is_open=True)

    def _declared(self, node: ast.ClassDef) -> list[Field]:
        """The fields of a dataclass that are arguments of it."""
        found = []
        for inner in node.body:
            match inner:
                case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
                    outer = _last_name(annotation)
                    if outer in ("ClassVar", "KW_ONLY") or self._keyword(value, "init") is False:
                        continue
                    found.append(
                        Field(
                            name,
                            self._type(annotation, self._rules(value)),
                            required=not self._has_default(value),
                        )
                    )
        return found

    def _of_function(self, node: _Function, *, bound: int) -> Signature:
        positional = [*node.args.posonlyargs, *node.args.args]
        optional = positional[len(positional) - len(node.args.defaults) :]
        fields = [self._argument(a, a not in optional) for a in positional[bound:]]
        for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
            fields.append(self._argument(argument, default is None))
        return Signature(tuple(fields), node.args.kwarg is not None)

    def _argument(self, argument: ast.arg, required: bool) -> Field:
        kind = self._type(argument.annotation, Rules()) if argument.annotation else Anything()
        return Field(argument.arg, kind, required)

    def _type(self, annotation: ast.expr, rules: Rules) -> FieldType:
        try:
            return type_of(self._annotation(annotation, ()), rules)
        except (_Unknown, TypeError):
            return Anything()

    def _annotation(self, node: ast.expr, around: tuple[str, ...]) -> typing.Any:
        """The annotation as Python would evaluate it, as far as the text tells."""
        match node:
            case ast.Constant(value=None):
                return type(None)
            case ast.Constant(value=str(text)):
                return self._annotation(ast.parse(text, mode="eval").body, around)
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                sides = (self._annotation(left, around), self._annotation(right, around))
                return typing.Union[sides]  # noqa: UP007  built at run time
            case ast.Subscript(value=outer, slice=inside):
                return self._generic(_last_name(outer), inside, around)
            case ast.Name(id=name) if name in self.values and name not in around:
                return self._annotation(self.values[name], (*around, name))
        name = _last_name(node)
        if name not in _TYPES:
            raise _Unknown
        return _TYPES[name]

    def _generic(self, name: str, inside: ast.expr, around: tuple[str, ...]) -> typing.Any:
        parts = inside.elts if isinstance(inside, ast.Tuple) else [inside]
        if name == "Annotated":
            return self._annotation(parts[0], around)
        if name not in _GENERICS:
            raise _Unknown
        if name == "Literal":
            return typing.Literal[tuple(self._literal(part) for part in parts)]
        arguments = tuple(
            ...
            if isinstance(part, ast.Constant) and part.value is ...
            else self._annotation(part, around)
            for part in parts
        )
        return _GENERICS[name][arguments if len(arguments) > 1 else arguments[0]]

    def _rules(self, value: ast.expr | None) -> Rules:
        """What a ``spec(...)`` demands, where it says so in literals."""
        if not isinstance(value, ast.Call) or _last_name(value) != "spec":
            return Rules()
        said = {}
        for keyword in value.keywords:
            if keyword.arg not in (None, "default", "default_factory", "doc"):
                try:
                    said[keyword.arg] = self._literal(keyword.value)
                except _Unknown:
                    continue
        return rules_of(spec(**said))

    def _has_default(self, value: ast.expr | None) -> bool:
        if not isinstance(value, ast.Call) or _last_name(value) not in ("field", "spec"):
            return value is not None
        names = {keyword.arg for keyword in value.keywords}
        return bool(names & {"default", "default_factory", "rest"})

    def _keyword(self, value: ast.expr | None, name: str) -> object:
        for keyword in value.keywords if isinstance(value, ast.Call) else ():
            if keyword.arg == name and isinstance(keyword.value, ast.Constant):
                return keyword.value.value
        return None

    def _literal(self, node: ast.expr) -> typing.Any:
        if isinstance(node, ast.Name):
            node = self.values.get(node.id, node)
        try:
            return ast.literal_eval(node)
        except ValueError as error:
            raise _Unknown from error


def _last_name(node: ast.expr) -> str:
    """``Literal`` of ``typing.Literal[...]``, ``dataclass`` of ``@dataclass(frozen=True)``."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Call(func=inner) | ast.Subscript(value=inner):
            return _last_name(inner)
    return ""
