"""Every size, name and reference of an ONNX model, checked before anything follows one of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import onnx

from export.untrusted import Limits
from export.untrusted_tensors import check_tensor, check_type
from export.untrusted_wire import Malformed, walk
from targets.errors import InputError

DOMAINS = ("", "ai.onnx")
OLDEST_OPSET = 7  # onnxruntime runs nothing older
# Divisors of the kernels' arithmetic: a zero among them stops a process, not only a model.
POSITIVE = ("strides", "dilations", "kernel_shape", "group", "blocksize", "num_heads")
_DENSE = "Store them dense."
_AGAIN = "Export the model again, in one file and with ONNX's own operators."


def parse(data: bytes, where: Path, limits: Limits) -> onnx.ModelProto:
    """The model that the bytes are; nothing in it is followed.

    Raises
    ------
    InputError
        No ONNX, or so many fields that parsing them would fill the memory.
    """
    try:
        walk(data, onnx.ModelProto.DESCRIPTOR, limits.fields)
        proto = onnx.ModelProto.FromString(data)
    except Malformed as err:
        raise InputError(f"file is not a readable ONNX model: {err}", where=where) from None
    except Exception as err:  # protobuf's own error type is not public
        raise InputError(f"file is not a readable ONNX model: {err}", where=where) from None
    if not proto.HasField("graph"):
        raise InputError("file is not an ONNX model", where=where, value="no graph")
    return proto


def check_model(proto: onnx.ModelProto, where: Path, limits: Limits) -> None:
    """Refuse a model that reads outside its file, lies about sizes, or is no sound graph.

    Raises
    ------
    InputError
        The first fault, with file, node or tensor, value, limit and remedy.
    """
    version = _opset(proto, where)
    for what, entries, todo in (
        ("functions", proto.functions, "Inline them: onnx.inliner.inline_local_functions."),
        ("training steps", proto.training_info, "Export the model for inference."),
    ):
        if entries:
            raise InputError(f"model holds {what} of its own", where=where, value=len(entries),
                             todo=todo)  # fmt: skip
    _Graph(proto.graph, where, version, limits).check(set(), 0)
    try:
        onnx.checker.check_model(proto)
    except Exception as err:  # the checker raises ValidationError, and TypeError or ValueError
        said = str(err).strip().splitlines() or [type(err).__name__]
        raise InputError(f"ONNX's checker refuses the model: {said[0][:300]}", where=where,
                         todo=_AGAIN) from None  # fmt: skip


def _opset(proto: onnx.ModelProto, where: Path) -> int:
    versions: dict[str, int] = {}
    for entry in proto.opset_import:
        domain = "" if entry.domain in DOMAINS else entry.domain
        if domain or domain in versions:
            raise InputError(
                "operator set is not ONNX's own" if domain else "operator set is named twice",
                where=where, value=repr(entry.domain[:80]), limit="ai.onnx", todo=_AGAIN,
            )  # fmt: skip
        versions[domain] = entry.version
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= versions.get("", 0) <= newest:
        raise InputError(
            "operator set version", where=where, value=versions.get("", "none"),
            limit=f"{OLDEST_OPSET} to {newest}", todo="Export the model with opset 20.",
        )  # fmt: skip
    return versions[""]


class _Graph:
    """One graph of the model, the outermost or one that an attribute holds."""

    def __init__(self, graph: onnx.GraphProto, where: object, version: int, limits: Limits) -> None:
        self.graph, self.where, self.version, self.limits = graph, where, version, limits

    def check(self, outer: set[str], depth: int) -> None:
        """Everything in it; `outer` holds the names that the graphs around it give it."""
        graph, limits = self.graph, self.limits
        if depth > limits.depth:
            raise InputError("graphs are nested too deeply", where=self.where, value=depth,
                             limit=limits.depth, todo="Export without control flow.")  # fmt: skip
        if len(graph.node) > limits.nodes or not (graph.node or depth):
            raise InputError("number of nodes", where=self.where, value=len(graph.node),
                             limit=f"1 to {limits.nodes}")  # fmt: skip
        if graph.sparse_initializer:
            raise InputError("sparse tensors are not read", where=self.where, todo=_DENSE)
        for info in (*graph.input, *graph.output, *graph.value_info):
            self._name(info.name, "value")
            check_type(info.type, f"{self.where}: value {info.name!r}", limits)
        for tensor in graph.initializer:
            self._name(tensor.name, "initializer")
            check_tensor(tensor, f"{self.where}: initializer {tensor.name!r}", limits)
        inputs = self._once([info.name for info in graph.input], "input", set())
        constants = self._once([t.name for t in graph.initializer], "initializer", set())
        # Before IR version 4 an initializer stands among the inputs, too: that is one name.
        known = self._nodes(outer | inputs | constants, depth)
        for name in self._once([info.name for info in graph.output], "output", set()) - known:
            raise InputError("output is made by no node", where=self.where, value=repr(name),
                             todo=_AGAIN)  # fmt: skip

    def _nodes(self, known: set[str], depth: int) -> set[str]:
        """Each node in order reads what is known before it; returns all names."""
        everything = {name for node in self.graph.node for name in node.output}
        for k, node in enumerate(self.graph.node):
            self._name(node.name, "node")
            where = f"{self.where}: node {node.name or k!r} ({node.op_type[:80]!r})"
            self._operator(node, where)
            for name in node.input:
                if name and name not in known:
                    later = name in everything
                    raise InputError(
                        f"reads {_short(name)}, which "
                        f"{'itself or a later node' if later else 'nothing'} makes",
                        where=where,
                        todo="Nodes must be in order, without a cycle." if later else _AGAIN,
                    )
            for attribute in node.attribute:
                self._attribute(attribute, where, known, depth)
            for name in filter(None, node.output):
                self._name(name, "output")
                if name in known:
                    raise InputError(f"makes {_short(name)} a second time", where=where,
                                     todo="Every value must have a name of its own.")  # fmt: skip
                known.add(name)
        return known

    def _operator(self, node: onnx.NodeProto, where: str) -> None:
        if node.domain not in DOMAINS:
            raise InputError("operator is not ONNX's own", where=where, limit="domain ai.onnx",
                             value=f"domain {_short(node.domain)}", todo=_AGAIN)  # fmt: skip
        try:
            onnx.defs.get_schema(node.op_type, self.version, "")
        except Exception:  # SchemaError, which onnx does not export under a public name
            raise InputError(
                f"ONNX has no such operator in version {self.version}", where=where, todo=_AGAIN
            ) from None

    def _attribute(
        self, attribute: onnx.AttributeProto, where: str, known: set[str], depth: int
    ) -> None:
        name, limits = attribute.name, self.limits
        self._name(name, "attribute")
        here = f"{where}: attribute {name!r}"
        if attribute.ref_attr_name:
            raise InputError("refers to a function's argument", where=here, todo=_AGAIN)
        if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
            raise InputError("sparse tensors are not read", where=here, todo=_DENSE)
        if name in POSITIVE:
            values = [*attribute.ints, *([attribute.i] if attribute.HasField("i") else [])]
            if any(not 1 <= value < 1 << 31 for value in values):
                raise InputError("must be positive", where=here, value=values[:8],
                                 limit="1 and more")  # fmt: skip
        tensors = [*attribute.tensors, *([attribute.t] if attribute.HasField("t") else [])]
        for tensor in tensors:
            check_tensor(tensor, here, limits)
        graphs = [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
        for graph in graphs:
            _Graph(graph, here, self.version, limits).check(set(known), depth + 1)

    def _once(self, names: Iterable[str], what: str, seen: set[str]) -> set[str]:
        for name in names:
            if not name or name in seen:
                raise InputError(
                    f"{what} {_short(name)} stands there twice" if name else f"{what} has no name",
                    where=self.where, todo=_AGAIN,
                )  # fmt: skip
            seen.add(name)
        return seen

    def _name(self, name: str, what: str) -> None:
        if len(name) > self.limits.name or not name.isprintable():
            raise InputError(
                f"name of a {what} is too long or not printable", where=self.where,
                value=f"{len(name)} characters, {_short(name)}",
                limit=f"{self.limits.name} printable characters", todo="Rename it.",
            )  # fmt: skip


def _short(name: str) -> str:
    """A name of anybody's as an error may print it."""
    return repr(name[:60]) + ("..." if len(name) > 60 else "")
