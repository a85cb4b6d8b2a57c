#!/usr/bin/env python3
"""Make archives/*.pt2, and what PyTorch computes with them: archives/*.safetensors.

Needs torch 2.11 and safetensors; `make_exported.py NAME...` makes those alone. Of each program: `x`,
an input of three rows, and `in/NAME`, what else it is called with; of each call of each module
`PATH@CALL.input`, `.output` (of a structure `.output/KEY`) and `.grad`, the gradient of the output
for the sum of squares of the program's first result; `PATH@CALL.half`, that result where a hook
halves the call's output; and of each operation that makes tensors `op/NUMBER.output`, and
`op/NUMBER.half`, that result where the operation's is halved.
"""

import sys
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.export import Dim

OUT = Path(__file__).resolve().parent / "archives"
BATCH = {0: Dim("batch")}


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(4, 8)
        self.act = nn.ReLU()
        self.fc2 = nn.Linear(8, 3)

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        out = self.bn(self.conv(x))
        out += x
        return self.relu(out)


class Vision(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU(inplace=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.blocks = nn.ModuleList([Block(6), Block(6)])
        self.drop = nn.Dropout()
        self.avg = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        x = self.pool(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.head(self.drop(torch.flatten(self.avg(x), 1)))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)

    def forward(self, x):
        return self.norm(torch.tanh(self.fc(x)) + x)


class Twice(nn.Module):
    """A module that is called twice, and results in a dict."""

    def __init__(self):
        super().__init__()
        self.enc = Encoder()
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        first = self.enc(x)
        second = self.enc(first * 2)
        return {"sum": first + second, "both": (first, second), "none": None}


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.left = nn.Linear(4, 4)
        self.right = nn.Linear(4, 4)

    def forward(self, x):
        return {"left": self.left(x), "right": self.right(x)}


class Structures(nn.Module):
    """A module that returns a dict, which its signature keeps, and one that does not."""

    def __init__(self):
        super().__init__()
        self.kept = Pair()
        self.lost = Pair()

    def forward(self, x):
        kept, lost = self.kept(x), self.lost(x)
        return kept["left"] * lost["right"], kept["right"] - lost["left"]


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.position = nn.Embedding(6, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, ids):
        x = self.embed(ids) + self.position(torch.arange(ids.shape[1]))
        x = self.layer(x)
        return {"logits": self.head(x), "pooled": x.mean(1)}


class Attend(nn.Module):
    """Any number of tokens."""

    def __init__(self):
        super().__init__()
        self.query = nn.Linear(4, 4)
        self.out = nn.Linear(4, 4)

    def forward(self, x):
        weights = torch.softmax(self.query(x) @ x.transpose(1, 2), -1)
        return self.out(weights @ x)


class Assign(nn.Module):
    """Writes through views."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        y = self.fc(x)
        y = y.clone()
        column = y[:, 1]
        y[:, 0] = 2.0
        column.mul_(3)
        z = y.unsqueeze(1)
        y += x
        return (z.squeeze(1) * y).cumsum(1)


class Mixes(nn.Module):
    """Its rows meet."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return self.fc(x - x.mean(0, keepdim=True))


class Several(nn.Module):
    """Called with tensors in a tuple and a dict, and one by name."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.out = nn.Linear(4, 3)

    def forward(self, x, pair, extras, *, scale):
        y = torch.tanh(self.fc(x)) + pair[0] * extras["bias"]
        return {"y": self.out(y) * scale, "sum": pair[1].sum(1)}


class Regions(nn.Module):
    """A part of it knows no gradients."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.gate = nn.Linear(4, 4)
        self.out = nn.Linear(4, 3)

    def forward(self, x):
        h = self.fc(x)
        with torch.no_grad():
            gate = torch.sigmoid(self.gate(h))
            with torch.enable_grad():
                doubled = h * 2
            left = doubled - gate
        return self.out(h * gate + left + doubled)


class Choice(nn.Module):
    """Data decides what it computes."""

    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,))


def randomise(model):
    for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
        if tensor.is_floating_point():
            with torch.no_grad():
                if "running_var" in name:
                    tensor.uniform_(0.5, 1.5)
                else:
                    tensor.normal_(std=0.6)
    return model.eval()


def leaves(value, name):
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{name}/{key}")
    elif isinstance(value, (tuple, list)):
        for key, item in enumerate(value):
            yield from leaves(item, f"{name}/{key}")


def first(value):
    return next(leaves(value, ""))[1]


def modules(model, call):
    """The inputs, outputs and gradients of every call."""
    seen, grads, calls, handles = {}, {}, {}, []

    def before(path):
        def visit(module, args):
            call = calls[path] = calls.get(path, -1) + 1
            if args and isinstance(args[0], torch.Tensor):
                seen[f"{path}@{call}.input"] = args[0].detach().clone()

        return visit

    def hook(path):
        def visit(module, args, output):
            call = calls[path]
            for name, leaf in leaves(output, f"{path}@{call}.output"):
                seen[name] = leaf.detach().clone()
            if isinstance(output, torch.Tensor) and output.requires_grad and path:
                output = output.clone()
                output.register_hook(
                    lambda g, k=f"{path}@{call}.grad": grads.update({k: g.clone()})
                )
                return output
            return None

        return visit

    for path, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(before(path)))
        handles.append(module.register_forward_hook(hook(path)))
    first(call()).square().sum().backward()
    for handle in handles:
        handle.remove()
    return seen | grads


def halves(model, call):
    changed = {}
    for path, module in model.named_modules():
        visit, visits = 0, 1
        while path and visit < visits:
            calls = []

            def halve(module, args, output, calls=calls, visit=visit):
                calls.append(isinstance(output, torch.Tensor))
                return output * 0.5 if len(calls) == visit + 1 and calls[visit] else None

            handle = module.register_forward_hook(halve)
            with torch.no_grad():
                result = first(call())
            handle.remove()
            visits = len(calls)
            if visit < visits and calls[visit]:
                changed[f"{path}@{visit}.half"] = result
            visit += 1
    return changed


class Operations(torch.fx.Interpreter):
    """Runs a graph and keeps what operations make; halves the result of one."""

    def __init__(self, module, half=-1, seen=None):
        super().__init__(module)
        self.half, self.seen = half, [] if seen is None else seen

    def run_node(self, node):
        if "wrap_with_set_grad_enabled" in str(node.target):
            (_, graph, *inputs), _ = self.fetch_args_kwargs_from_env(node)
            return Operations(graph, self.half, self.seen).run(*inputs)
        result = super().run_node(node)
        tensors = [leaf for _, leaf in leaves(result, "")]
        if node.op != "call_function" or not tensors or "getitem" in str(node.target):
            return result
        if len(self.seen) == self.half and isinstance(result, torch.Tensor):
            if str(node.target).split(".")[-2].endswith("_"):
                result.mul_(0.5)
            else:
                result = result * 0.5
        self.seen.append([t.detach().clone() for t in tensors])
        return result


def operations(program, inputs):
    found = {}
    module = program.module(check_guards=False)

    def given():
        return [tensor.clone() for _, tensor in inputs]

    with torch.no_grad():
        plain = Operations(module)
        plain.run(*given())
        for number, tensors in enumerate(plain.seen):
            for item, tensor in enumerate(tensors):
                suffix = f"/{item}" if len(tensors) > 1 else ""
                found[f"op/{number}.output{suffix}"] = tensor
            if len(tensors) == 1 and tensors[0].is_floating_point():
                found[f"op/{number}.half"] = first(Operations(module, number).run(*given()))
    return found


def export(name, model, args, kwargs, shapes, decompose=False, **options):
    program = torch.export.export(model, args, kwargs, dynamic_shapes=shapes, **options)
    if decompose:
        program = program.run_decompositions({})
    torch.export.save(program, OUT / f"{name}.pt2")
    forget_folders(OUT / f"{name}.pt2")
    return program


def wanted(name):
    return not sys.argv[1:] or name in sys.argv[1:]


def make(name, model, *args, shapes=(BATCH,), kwargs=None, **options):
    if not wanted(name):
        return
    torch.manual_seed(len(name))
    model = randomise(model)
    kwargs = kwargs or {}
    program = export(name, model, args, kwargs, shapes, **options)

    def call():
        return model(*args, **kwargs)

    inputs = [leaf for arg in (*args, kwargs) for leaf in leaves(arg, "")]
    names = [
        spec.arg.name
        for spec in program.graph_signature.input_specs
        if spec.kind == torch.export.graph_signature.InputKind.USER_INPUT
    ]
    golden = {
        f"in/{given}" if i else "x": tensor
        for i, (given, (_, tensor)) in enumerate(zip(names, inputs, strict=True))
    }
    golden |= modules(model, call) | halves(model, call) | operations(program, inputs)
    save_file(
        {k: v.detach().clone().contiguous() for k, v in golden.items()}, OUT / f"{name}.safetensors"
    )


def forget_folders(path):
    """Let the Python files that an archive names be the same on every machine."""
    with zipfile.ZipFile(path) as archive:
        entries = [(entry, archive.read(entry)) for entry in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for entry, data in entries:
            for folder in (OUT.parent, Path(torch.__file__).resolve().parent.parent):
                data = data.replace(f"{folder}/".encode(), b"")
            archive.writestr(zipfile.ZipInfo(entry.filename), data)


def main():
    OUT.mkdir(exist_ok=True)
    torch.manual_seed(1)
    rows = torch.randn(3, 4)
    pictures = torch.randn(3, 3, 17, 17)
    ids = torch.randint(0, 11, (3, 6))
    make("mlp", Mlp(), rows)
    make("fixed", Mlp(), rows, shapes=(None,))
    make("vision", Vision(), pictures)
    make("decomposed", Vision(), pictures, decompose=True)
    make("twice", Twice(), rows)
    make("structures", Structures(), rows, preserve_module_call_signature=("kept",))
    make("transformer", Transformer(), ids)
    make(
        "attend",
        Attend(),
        torch.randn(3, 5, 4),
        shapes=({0: Dim("batch"), 1: Dim("tokens", max=32)},),
    )
    make("assign", Assign(), rows)
    make("mixes", Mixes(), rows)
    make(
        "several",
        Several(),
        rows,
        (torch.randn(3, 4), torch.randn(3, 5)),
        {"bias": torch.randn(3, 4)},
        kwargs={"scale": torch.randn(3, 3)},
        shapes={"x": BATCH, "pair": (BATCH, BATCH), "extras": {"bias": BATCH}, "scale": BATCH},
    )
    make("regions", Regions(), rows)
    if wanted("choice"):
        export("choice", Choice(), (rows,), {}, (BATCH,))


if __name__ == "__main__":
    main()
