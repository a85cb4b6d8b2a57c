"""What the scenarios of this folder share: how one is defined, prompts, and helpers."""

import torch

# Prompts as token ids; the model's tokenizer has a token for each character.
IDS = [39, 72, 94, 86, 68, 69, 83]
SHORT = [64, 65, 66]
OTHER = [87, 28, 19, 17, 26, 5, 40]  # as long as IDS
BATCH = [[47, 64, 81, 72, 82, 94, 72, 82], [64, 65, 66], [87, 28, 19, 17, 26]]
PAD = 96
NEW = 5

GRADIENTS = 1e-4  # of scale

GENERATE = {
    "max_new_tokens": NEW,
    "do_sample": False,
    "pad_token_id": PAD,
    "eos_token_id": PAD,
}

SCENARIOS = {}


class Scenario:
    """nnsight's code and Weft's program for one and the same experiment."""

    def __init__(self, function, program, directives, raises):
        self.function = function
        self.program = program
        self.directives = directives
        self.raises = raises


def scenario(program, tolerance=None, refused=None, missing=None, raises=None):
    """Define a scenario: a function of the model that returns tensors by the name of Weft's save.

    `refused`: Weft refuses the program, in these words. `missing`: what Weft says of saves that lack
    their value or steps of it. `raises`: what nnsight raises, where it does not run.
    """
    directives = []
    if tolerance:
        directives.append(f"tolerance {tolerance}")
    if refused:
        directives.append(f"refused {refused}")
    for name, reason in (missing or {}).items():
        directives.append(f"missing {name} {reason}")

    def define(function):
        name = function.__name__
        assert name not in SCENARIOS, f"there are two scenarios named {name}"
        SCENARIOS[name] = Scenario(function, program.strip("\n"), directives, raises)
        return function

    return define


def from_step(first, values):
    """A list whose items Weft names by their steps, `first` and on."""
    return {str(first + index): value for index, value in enumerate(values)}


def entries(cache, inputs=False):
    """nnsight's cache by the names that Weft's entries have."""
    values = {}
    for path in cache.keys():
        name = path.removeprefix("model").removeprefix(".")
        prefix = name + "." if name else "."
        values[prefix + "output"] = plain(cache[path].output)
        if inputs:
            values[prefix + "input"] = cache[path].inputs[0][0]
    return values


def plain(value):
    """The tensors of a value: without attention's weights, which Weft's attention does not return."""
    if hasattr(value, "to_tuple"):
        fields = dict(value.items())
        return {key: item for key, item in fields.items() if torch.is_tensor(item)}
    if isinstance(value, tuple):
        return [value[0]]
    return value
