#!/usr/bin/env python3
"""Write the client's operators from docs/operators.md, the list of the server's table.

    client/make_operators.py          write the files
    client/make_operators.py --check  fail if they are not what would be written

Each overload becomes a member of Var (if its first argument is `self`) and a free function, with
torch's names and defaults. Where C++ could not tell overloads apart, or one C++ signature serves
several, some are left out here: `weft::op` calls any.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MEMBERS = "client/include/weft/var_operators.inc"
FUNCTIONS = "client/include/weft/operators.h"
SOURCE = "client/src/operators.cc"

# Overloads that another one serves, or that C++ could not tell from it.
LEFT_OUT = {
    "argsort.stable",
    "conv1d.padding",
    "conv2d.padding",
    "count_nonzero",
    "size",
    "size.int",
    "sort.stable",
    "std",
    "std.correction",
    "std_mean",
    "std_mean.correction",
    "var",
    "var.correction",
    "var_mean",
    "var_mean.correction",
}
# Arguments that may be left out, though the overload that is called says otherwise: another one,
# which is left out above, has none.
DEFAULTS = {
    ("count_nonzero.dim_IntList", "dim"),
    ("std.dim", "dim"),
    ("std_mean.dim", "dim"),
    ("var.dim", "dim"),
    ("var_mean.dim", "dim"),
}
# They belong to torch's modules, not to its tensors.
NO_MEMBERS = re.compile(
    r"(linalg|fft|special|upsample|adaptive)_|.*(_loss|_pool[12]d|_indices|pool1d_with_indices)$|"
    r"(bucketize|binary_cross_entropy|kl_div|pad|pdist|gelu_|meshgrid|cartesian_prod)\b"
)
# A namespace may not hide another one.
NO_FUNCTIONS = {"std"}

DTYPES = {"int64": "kInt64"}


class Parameter:
    """One argument of an overload, as C++ declares it and as a statement gives it."""

    def __init__(self, overload, text, named):
        match = re.fullmatch(r"(\S+(?:\([a-z!* >-]+\)\S*)?) (\w+)(?:=(.*))?", text)
        self.type, self.name, self.default = match.groups()
        self.type = re.sub(r"\([a-z!* >-]+\)", "", self.type)
        self.type = re.sub(r"\[\d+\]", "[]", self.type)
        if (overload, self.name) in DEFAULTS:
            self.default = "None"
            if self.type == "int[]":
                self.type = "int[]?"
        if self.type == "ScalarType?" and self.default in DTYPES:
            self.type = "ScalarType"
        self.named = named
        self.number = False  # a number may stand here

    @property
    def operand(self):
        return self.type == "Tensor" or (self.type == "Scalar" and self.default is None)

    def declared(self):
        if self.operand:
            return "const Operand&"
        return {
            "Tensor?": "const Arg&",
            "Scalar": "Number",
            "Scalar?": "std::optional<Number>",
            "int": "int64_t",
            "float": "double",
            "bool": "bool",
            "str": "const std::string&",
            "ScalarType": "DType",
            "int[]": "const Dims&",
            "int[]?": "const OptionalDims&",
            "Tensor[]": "const std::vector<Var>&",
            "Tensor?[]": "const std::vector<Arg>&",
            "int?": "std::optional<int64_t>",
            "float?": "std::optional<double>",
            "bool?": "std::optional<bool>",
            "str?": "const std::optional<std::string>&",
            "ScalarType?": "std::optional<DType>",
        }[self.type]

    def default_value(self):
        if self.type == "Tensor?":
            return "internal::NoArg()"
        if self.default == "None":
            return "None"
        if self.type == "bool":
            return self.default.lower()
        if self.type == "ScalarType":
            return DTYPES[self.default]
        if self.type in ("int[]", "int[]?"):
            values = self.default.strip("[]")
            values = values if self.default.startswith("[") else self.default
            return f"std::vector<int64_t>{{{values}}}"
        if self.type == "float" or re.fullmatch(r"-?\d+\.\d*(e-?\d+)?|-?\d+e-?\d+", self.default):
            return repr(float(self.default))
        return self.default

    def declaration(self, with_default):
        text = f"{self.declared()} {self.name}"
        return f"{text} = {self.default_value()}" if with_default and self.default else text

    def value(self):
        """As a positional argument, or as one by name."""
        if self.operand:
            return f"{self.name}.arg()" if self.number else f"AsVar({self.name})"
        if self.type == "int[]":
            return f"{self.name}.values()"
        if self.type.endswith("?") and self.type != "Tensor?":
            return f"ToArg({self.name})"
        return self.name

    def by_name(self):
        if self.default is None:
            return f'{{"{self.name}", {self.value()}, true}}'
        if self.default == "None":
            return f'Maybe("{self.name}", {self.name})'
        return f'Unless("{self.name}", {self.name}, {self.default_value()})'


class Overload:
    def __init__(self, line):
        match = re.fullmatch(r"aten::([\w.]+)\((.*)\) -> (.*?)(?:  # (.*))?", line)
        self.qualified, arguments, result, remarks = match.groups()
        self.name = self.qualified.split(".")[0]
        self.in_place = "in place" in (remarks or "")
        self.parameters = []
        named = False
        for text in re.findall(r'(?:"[^"]*"|\[[^\]]*\]|\([^)]*\)|[^,])+', arguments):
            if text.strip() == "*":
                named = True
            else:
                self.parameters.append(Parameter(self.qualified, text.strip(), named))
        self.results = len(result.strip("()").split(",")) if result.startswith("(") else 1

    @property
    def member(self):
        first = self.parameters[0] if self.parameters else None
        return (
            first is not None
            and first.name == "self"
            and first.type == "Tensor"
            and not NO_MEMBERS.match(self.name)
        )

    @property
    def function(self):
        return not self.in_place and self.name not in NO_FUNCTIONS

    def result_type(self):
        if self.results == 1:
            return "Var"
        if self.results == 2:
            return "std::pair<Var, Var>"
        return f"std::tuple<{', '.join(['Var'] * self.results)}>"

    def types(self):
        return tuple(parameter.declared() for parameter in self.parameters)

    def declared(self, member):
        return self.parameters[1:] if member else self.parameters

    def where(self, member):
        """What knows the line: an operand, or an argument of its own."""
        for parameter in self.declared(member):
            if parameter.operand:
                return f"{parameter.name}.where()"
        return "where"

    def signature(self, member, defaults):
        declared = [p.declaration(defaults) for p in self.declared(member)]
        if self.where(member) == "where":
            declared.append("Location where" + (" = Location::current()" if defaults else ""))
        const = " const" if member else ""
        scope = "Var::" if member and not defaults else ""
        return f"{self.result_type()} {scope}{self.name}({', '.join(declared)}){const}"

    def definition(self, member):
        positional = ["*this"] if member else []
        named = []
        for parameter in self.declared(member):
            if parameter.named or parameter.default is not None:
                named.append(parameter.by_name())
            else:
                positional.append(parameter.value())
        call = f'Call("aten::{self.name}", {{{", ".join(positional)}}}, {{{", ".join(named)}}}'
        call += f", {self.where(member)})"
        if self.results > 1:
            call = f"Items<{self.results}>({call}, {self.where(member)})"
        return f"{self.signature(member, False)} {{\n  return {call};\n}}\n"


def read_overloads():
    page = (ROOT / "docs/operators.md").read_text()
    lines = re.search(r"```text\n(.*?)```", page, re.S).group(1).splitlines()
    by_name = {}
    for line in lines:
        overload = Overload(line)
        by_name.setdefault(overload.name, []).append(overload)
    chosen = []
    for overloads in by_name.values():
        # A number stands where some overload takes one, and a tensor where some other does.
        places = {}
        for overload in overloads:
            for i, parameter in enumerate(overload.parameters):
                places.setdefault(i, set()).add(parameter.type)
        numbers = {i for i, types in places.items() if "Scalar" in types}
        for overload in overloads:
            for i, parameter in enumerate(overload.parameters):
                if parameter.type == "Scalar?" and "Tensor?" in places[i]:
                    parameter.type = "Tensor?"
        seen = set()
        callable_without = False
        for overload in overloads:
            if overload.qualified in LEFT_OUT or overload.types() in seen:
                continue
            seen.add(overload.types())
            for i, parameter in enumerate(overload.parameters):
                parameter.number = i in numbers
            first = 0 if not overload.member else 1
            rest = overload.parameters[first:]
            if all(parameter.default is not None for parameter in rest):
                if callable_without and rest:
                    rest[0].default = None
                callable_without = True
            chosen.append(overload)
    return chosen


NOTE = """// Made by client/make_operators.py from the server's table (docs/operators.md). Do not edit.
// clang-format off
"""


def render():
    overloads = read_overloads()
    members = [f"  {o.signature(True, True)};" for o in overloads if o.member]
    functions = [f"{o.signature(False, True)};" for o in overloads if o.function]
    definitions = []
    for overload in overloads:
        if overload.member:
            definitions.append(overload.definition(True))
        if overload.function:
            definitions.append(overload.definition(False))
    return {
        MEMBERS: NOTE + "\n".join(members) + "\n  // clang-format on\n",
        FUNCTIONS: "#pragma once\n\n"
        + NOTE
        + "\n#include <cstdint>\n#include <optional>\n#include <string>\n#include <tuple>\n"
        + '#include <utility>\n#include <vector>\n\n#include "weft/var.h"\n\nnamespace weft {\n\n'
        + "\n".join(functions)
        + "\n\n}  // namespace weft\n// clang-format on\n",
        SOURCE: '#include "weft/operators.h"\n\n#include "client/src/operator_call.h"\n\n'
        + NOTE
        + "\nnamespace weft {\n\nusing namespace internal;\n\n"
        + "\n".join(definitions)
        + "\n}  // namespace weft\n// clang-format on\n",
    }


def main():
    stale = []
    for name, text in render().items():
        path = ROOT / name
        if path.exists() and path.read_text() == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            path.write_text(text)
    if "--check" in sys.argv and stale:
        sys.exit(f"{', '.join(stale)}: not what client/make_operators.py makes of the table")


if __name__ == "__main__":
    main()
