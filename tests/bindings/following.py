"""What names in a source stand for, as far as NVIDIA's libraries are concerned.

It is followed from where a library is loaded: through assignments, `self`, arguments and results of functions of ours,
and through what the real signatures say that a call returns (`real_names`). `if hasattr(library, "X")` and
`if settings.target == "tensorrt-rtx"` are understood: what stands below is asked only of libraries that have X, or of
that one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from uses import NOTHING, Guard, Names, Thing, Things, Use, functions_of, guards_of

# Functions that load a library: "tensorrt" stands for TensorRT-RTX as well, which has other names too.
LOADERS = {"load_library": "tensorrt", "find_builder": "tensorrt", "load_driver": "cuda.bindings.driver"}
MODULES = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt", "cuda.bindings.driver": "cuda.bindings.driver"}
SYMBOLS = ("libcuda.so.1",)  # by ctypes
# Of functions of ours, what an argument that is a module stands for.
PARAMETERS = {"library": "tensorrt", "driver": "cuda.bindings.driver"}
OF_ANYTHING = ("__name__", "__class__", "__file__")
# Give what they are given.
THROUGH = ("enumerate", "filter", "iter", "list", "next", "reversed", "sorted", "tuple", "zip")
OF_CONTAINERS = ("append", "clear", "copy", "extend", "get", "items", "keys", "pop", "values")


class Walk:
    """Goes through files; `uses` are what it met, `known` what it learnt. names: library → names of `real_names`."""

    def __init__(self, names: dict[str, Names], sources: dict[str, ast.Module]) -> None:
        self.names, self.uses = names, list[Use]()
        self.known: dict[tuple[str, str], Things] = {}  # (scope, name) → things; results of functions: (function, "")
        self.answers: dict[tuple[str, str], ast.expr] = {}  # (class, attribute) → the hasattr whose answer it keeps
        self.functions: dict[str, list[tuple[str, ast.FunctionDef]]] = {}
        self.path, self.scope, self.owner, self.guards = "", "", "", tuple[Guard, ...]()
        self.imported: dict[str, str] = {}  # into this file: name → end of the path of the file it is from
        for path, tree in sources.items():
            for scope, node in functions_of(tree, path):
                self.functions.setdefault(node.name, []).append((scope, node))

    def file(self, path: str, tree: ast.Module) -> None:
        self.path, self.scope, self.owner, self.guards = path, path, "", ()
        self.imported = {
            alias.asname or alias.name: (node.module or "").replace(".", "/") + ".py"
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        self.body(tree.body)

    def body(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        method = getattr(self, f"_{type(node).__name__}", None)
        if method:
            method(node)
            return
        for child in ast.iter_child_nodes(node):
            self.statement(child) if isinstance(child, ast.stmt) else self.other(child)

    def other(self, node: ast.AST) -> None:
        if isinstance(node, ast.expr):
            self.of(node)
        elif isinstance(node, ast.withitem):
            things = self.of(node.context_expr)
            if node.optional_vars is not None:
                self.learn(node.optional_vars, things, node.context_expr)
        else:
            for child in ast.iter_child_nodes(node):
                self.statement(child) if isinstance(child, ast.stmt) else self.other(child)

    # ---- statements
    def _FunctionDef(self, node: ast.FunctionDef) -> None:
        outer, self.scope = self.scope, f"{self.scope}.{node.name}"
        for argument in node.args.args:
            if isinstance(argument.annotation, ast.Name) and argument.annotation.id == "ModuleType":
                library = PARAMETERS.get(argument.arg)
                self._add((self.scope, argument.arg), frozenset({Thing(library)} if library else ()))
        self.body(node.body)
        self.scope = outer

    def _ClassDef(self, node: ast.ClassDef) -> None:
        bases = NOTHING.union(*(self.of(base) for base in node.bases))
        for base in bases:
            self._overrides(node, base)
        self.learn(ast.Name(node.name), bases)
        outer = self.scope, self.owner
        self.scope = self.owner = f"{self.scope}.{node.name}"
        self.body(node.body)
        self.scope, self.owner = outer

    def _overrides(self, node: ast.ClassDef, base: Thing) -> None:
        for inner in node.body:
            if isinstance(inner, ast.FunctionDef) and inner.name[0] != "_":
                self.use(inner, base.library, f"{base.name}.{inner.name}", "override", len(inner.args.args) - 1)

    def _Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.name in MODULES and (alias.asname or "." not in alias.name):
                self.learn(ast.Name(alias.asname or alias.name), frozenset({Thing(MODULES[alias.name])}))

    def _ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if f"{node.module}.{alias.name}" in MODULES:
                library = MODULES[f"{node.module}.{alias.name}"]
                self.learn(ast.Name(alias.asname or alias.name), frozenset({Thing(library)}))

    def _Assign(self, node: ast.Assign) -> None:
        things = self.of(node.value)
        for target in node.targets:
            self.learn(target, things, node.value)

    def _AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.learn(node.target, self.of(node.value), node.value)

    def _For(self, node: ast.For) -> None:
        self.learn(node.target, self.of(node.iter), node.iter)
        self.body(node.body + node.orelse)

    def _Return(self, node: ast.Return) -> None:
        if node.value is not None:
            self._gives(node.value)

    def _gives(self, value: ast.expr) -> Things:
        """The function gives that; of a tuple it is kept what is at which place."""
        for index, element in enumerate(value.elts if isinstance(value, ast.Tuple) else []):
            self._add((self.scope, f"#{index}"), self.of(element))
        self._add((self.scope, ""), things := self.of(value))
        return things

    def _at(self, index: int, value: ast.expr | None, things: Things) -> Things:
        """What is at a place of a tuple; what loads a library gives it first."""
        match value:
            case ast.Call(func=ast.Name(id="enumerate")) | ast.Call(func=ast.Attribute(attr="items")):
                return self.of(value) if index else NOTHING
            case ast.Call(func=ast.Name(id="zip"), args=zipped) if index < len(zipped):
                return self.of(zipped[index])
        if isinstance(value, ast.Call) and (called := list(self._called(value))):
            if getattr(value.func, "id", "") in LOADERS:
                return NOTHING if index else things
            return NOTHING.union(*(self.known.get((scope, f"#{index}"), NOTHING) for scope, _ in called))
        return things

    def _If(self, node: ast.If) -> None:
        self.of(node.test)
        self.guarded(node.test, True, node.body)
        self.guarded(node.test, False, node.orelse)

    def guarded(self, test: ast.expr, holds: bool, inner: list[ast.stmt] | ast.expr) -> Things:
        match test:
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                test = self.answers.get((self.owner, name), test)
        outer, self.guards = self.guards, self.guards + tuple(guards_of(test, holds))
        found = self.of(inner) if isinstance(inner, ast.expr) else self.body(inner)
        self.guards = outer
        return found or NOTHING

    # ---- what names stand for
    def _add(self, key: tuple[str, str], things: Things) -> None:
        if things:
            self.known[key] = self.known.get(key, NOTHING) | things

    def learn(self, target: ast.expr, things: Things, value: ast.expr | None = None) -> None:
        match target:
            case ast.Name(id=name):
                self._add((self.scope, name), things)
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                self._add((self.owner, f"self.{name}"), things)
                if isinstance(value, ast.Call) and getattr(value.func, "id", "") == "hasattr":
                    self.answers[self.owner, name] = value
            case ast.Attribute(value=owner, attr=name):
                for thing in self.of(owner):
                    self.use(target, thing.library, _inner(thing, name), "set")
            case ast.Tuple(elts=elements):
                pairs = value.elts if isinstance(value, ast.Tuple) and len(value.elts) == len(elements) else None
                for index, element in enumerate(elements):
                    if pairs is not None:
                        self.learn(element, self.of(pairs[index]), pairs[index])
                    else:
                        self.learn(element, self._at(index, value, things))
            case ast.Starred(value=inner):
                self.learn(inner, things)

    def of(self, node: ast.expr) -> Things:
        """What an expression stands for; notes every use inside."""
        match node:
            case ast.Name(id=name):
                return self._named(name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                return self.known.get((self.owner, f"self.{name}"), NOTHING)
            case ast.Attribute(value=owner, attr=name):
                return NOTHING.union(*(self._attribute(node, thing, name) for thing in self.of(owner)))
            case ast.Call():
                return self._call(node)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                self.of(test)
                return self.guarded(test, True, body) | self.guarded(test, False, orelse)
            case ast.ListComp() | ast.GeneratorExp() | ast.SetComp() | ast.DictComp():
                return self._comprehension(node)
            case ast.Subscript(value=owner, slice=place):
                self.of(place)
                return self.of(owner)
            case ast.Lambda(body=body):
                return self.of(body)
            case ast.NamedExpr(target=target, value=value):
                self.learn(target, things := self.of(value))
                return things
            case ast.Yield(value=value) if value is not None:
                return self._gives(value)
            case ast.BoolOp(op=ast.And(), values=[*tests, last]):
                self._inside(ast.BoolOp(ast.Or(), tests))
                return self.of(last)
            case ast.Compare() | ast.JoinedStr():
                self._inside(node)
                return NOTHING
        return self._inside(node)

    def _inside(self, node: ast.AST) -> Things:
        """Of a list, a choice or one of many: whatever is in it."""
        found = NOTHING
        for child in ast.iter_child_nodes(node):
            found |= self.of(child) if isinstance(child, ast.expr) else self._inside(child)
        return found

    def _comprehension(self, node: Any) -> Things:
        for loop in node.generators:
            self.learn(loop.target, self.of(loop.iter), loop.iter)
            for test in loop.ifs:
                self.of(test)
        if isinstance(node, ast.DictComp):
            self.of(node.key)
            return self.of(node.value)
        return self.of(node.elt)

    def _named(self, name: str) -> Things:
        scope = self.scope
        while scope:
            if (scope, name) in self.known:
                return self.known[scope, name]
            if scope == self.path:
                break
            scope = scope.rpartition(".")[0]
        return NOTHING

    def _attribute(self, node: ast.expr, thing: Thing, name: str) -> Things:
        whole = _inner(thing, name)
        forms = self._forms(thing.library, whole)
        if not forms and name in OF_CONTAINERS and thing.instance:
            return frozenset({thing})  # kept in a list or a dictionary
        if name not in OF_ANYTHING:
            self.use(node, thing.library, whole, "read")
        if any(form == "value" or "property" in form for form in forms):
            return NOTHING.union(*(self._instance(thing.library, form) for form in forms))
        return frozenset({Thing(thing.library, whole)}) if forms else NOTHING

    def _call(self, node: ast.Call) -> Things:
        given = [self.of(argument) for argument in node.args]
        named = {k.arg: self.of(k.value) for k in node.keywords}
        match node.func, node.args:
            case ast.Name(id=name), _ if name in LOADERS:
                return frozenset({Thing(LOADERS[name])})
            case ast.Attribute(attr="CDLL"), [ast.Constant(value=name), *_] if name in SYMBOLS:
                return frozenset({Thing(name)})
            case ast.Name(id="hasattr" | "getattr"), [_, ast.Constant(value=name), *_]:
                for thing in given[0]:
                    self.use(node, thing.library, _inner(thing, name), "optional")
                return frozenset(Thing(thing.library, _inner(thing, name)) for thing in given[0])
            case ast.Name(id=name), _ if name in THROUGH:
                return NOTHING.union(*given)
            case ast.Attribute(value=container, attr="append"), [_]:
                self.learn(container, given[0])
        result = self._own_call(node, given, named)
        for thing in self.of(node.func):
            result |= self._foreign_call(node, thing)
        return result

    def _foreign_call(self, node: ast.Call, thing: Thing) -> Things:
        if thing.instance or not thing.name:
            return frozenset({thing}) if thing.instance else NOTHING
        forms = self._forms(thing.library, thing.name)
        is_class = "class" in forms or "enumeration" in forms
        starred = any(isinstance(a, ast.Starred) for a in node.args) or any(k.arg is None for k in node.keywords)
        count = None if starred else len(node.args)
        own = isinstance(node.func, ast.Name)  # a class of ours on one of theirs has an __init__ of its own
        if not (is_class and own):
            name = f"{thing.name}.__init__" if is_class else thing.name
            keywords = tuple(k.arg for k in node.keywords if k.arg)
            self.use(node, thing.library, name, "call", count, keywords)
        if is_class:
            return frozenset({Thing(thing.library, thing.name, instance=True)})
        return NOTHING.union(*(self._instance(thing.library, form) for form in forms))

    def _own_call(self, node: ast.Call, given: list[Things], named: dict[str | None, Things]) -> Things:
        """Tells functions of ours what they are given; returns what they give."""
        result = NOTHING
        for scope, function in self._called(node):
            names = [a.arg for a in (*function.args.posonlyargs, *function.args.args) if a.arg not in ("self", "cls")]
            for argument, things in [*zip(names, given, strict=False), *named.items()]:
                self._add((scope, argument or ""), things) if argument else None
            # The last one may be a function, and these its arguments.
            if function.args.vararg and len(names) <= len(given):
                for thing in given[len(names) - 1]:
                    self.use(node, thing.library, thing.name, "call", len(given) - len(names))
            result |= self.known.get((scope, ""), NOTHING)
        return result

    def _called(self, node: ast.Call) -> Iterator[tuple[str, ast.FunctionDef]]:
        """Functions of ours that a call may mean: of that name, `__init__` of a class, a method of the same object."""
        match node.func:
            case ast.Name(id=name):
                inits = (found for found in self.functions.get("__init__", []) if found[0].split(".")[-2] == name)
                for scope, function in (*self.functions.get(name, []), *inits):
                    file = scope.partition(".py")[0] + ".py"
                    if file == self.path if name not in self.imported else file.endswith(f"/{self.imported[name]}"):
                        yield scope, function
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                yield from (found for found in self.functions.get(name, []) if found[0] == f"{self.owner}.{name}")

    # ---- the real names
    def _libraries(self, library: str) -> list[str]:
        return [known for known in self.names if known == library or known == f"{library}_rtx"]

    def _forms(self, library: str, name: str) -> set[str]:
        return {form for known in self._libraries(library) for form in self.names[known].get(name, {})}

    def _instance(self, library: str, form: str) -> Things:
        """What is returned, where that is a class of the library."""
        types = {part.rpartition(" -> ")[2] for part in form.split(" | ")}
        return frozenset(Thing(library, t, instance=True) for t in types if self._forms(library, t))

    def use(
        self, node: ast.AST, library: str, name: str, kind: str, arguments: int | None = None, keywords: Any = ()
    ) -> None:
        place = f"{self.path}:{node.lineno}"
        self.uses.append(Use(place, library, name, kind, arguments, keywords, self.guards))


def _inner(thing: Thing, name: str) -> str:
    return f"{thing.name}.{name}" if thing.name else name
