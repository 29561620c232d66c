"""Whether what is used of a library is there, in every version of it that the tables know."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from uses import Names, Use

Versions = dict[str, dict[str, str]]  # version → name → form


def of_versions(names: Names) -> Versions:
    """A table the other way round."""
    versions: Versions = {}
    lists = (found for forms in names.values() for found in forms.values() if found != "all")
    everywhere = sorted({version for found in lists for version in found.split(", ")})
    for name, forms in names.items():
        for form, found in forms.items():
            for version in found.split(", ") if found != "all" else everywhere or {"all"}:
                versions.setdefault(version, {})[name] = form
    return versions


def problems(uses: Iterable[Use], tables: dict[str, Names]) -> list[str]:
    """A line for every use of what is not there, or not so."""
    versions = {library: of_versions(names) for library, names in tables.items()}
    found = []
    for use in uses:
        libraries = [library for library in versions if library in (use.library, f"{use.library}_rtx")]
        asked = [(library, version) for library in libraries for version in versions[library]]
        lacking: dict[str, list[str]] = {}
        for library, version in asked:
            forms = versions[library][version]
            if _holds(use, library, forms) and (problem := _problem(use, forms)):
                lacking.setdefault(problem, []).append(f"{library} {version}")
        if use.kind == "optional":  # has to be somewhere, or it is never true
            lacking = {k: v for k, v in lacking.items() if len(v) == len(asked)}
        found += [f"{use.where}: {use.name} {problem} in {', '.join(where)}" for problem, where in lacking.items()]
    return found


def _holds(use: Use, library: str, forms: dict[str, str]) -> bool:
    """Whether the place is reached with this library."""
    return all(
        guard.holds == (guard.what in forms if guard.kind == "has" else guard.what.replace("-", "_") == library)
        for guard in use.guards
    )


def _problem(use: Use, forms: dict[str, str]) -> str:
    form = forms.get(use.name)
    if form is None:
        return "is not there"
    if use.kind == "set" and "settable" not in form:
        return f"cannot be set ({form})"
    if use.kind in ("call", "override"):
        unbound = use.name.endswith(".__init__")  # a class of ours calls it with itself
        counts = {use.arguments, (use.arguments or 0) - unbound} if use.arguments is not None else {None}
        if not any(_takes(parameters, count, use.keywords) for parameters in overloads(form) for count in counts):
            return f"does not take {use.arguments} arguments {list(use.keywords) or ''}, but {form}"
    return ""


def overloads(form: str) -> Iterator[list[str]]:
    """Names of the arguments of what can be called, as a form gives them."""
    if "(" not in form:
        yield ["*"]  # the constructor that every class has
    for listed in re.findall(r"\(([^)]*)\)(?: ->|$)", form):
        if listed.isdigit():  # of C: so many
            yield ["" for _ in range(int(listed))]
        else:
            yield [p for p in listed.split(", ") if p]


def _takes(parameters: list[str], count: int | None, keywords: tuple[str, ...]) -> bool:
    if any(p.startswith("*") or p in ("args", "kwargs") for p in parameters):
        return True
    names = [p.rstrip("=") for p in parameters]
    if count is None:
        return set(keywords) <= set(names)
    given = {*names[:count], *keywords}
    needed = {p for p in parameters if not p.endswith("=")}
    return count <= len(names) and set(keywords) <= set(names[count:]) and (needed <= given or needed == {""})
