"""Writing: in place, slices, replacements."""

import torch
from common import BATCH, IDS, scenario


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  write transformer.h.1.output[:] = 0.0
  save after = read transformer.h.1.output
  save logits = read lm_head.output
}
""")
def zero_in_place(model):
    with model.trace(IDS):
        model.transformer.h[1].output[:] = 0
        after = model.transformer.h[1].output.save()
        logits = model.lm_head.output.save()
    return {"after": after, "logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  write transformer.h.1.output[:, -1] = aten::mul(%h[:, -1], 3.0)
  save logits = read lm_head.output
}
""")
def scale_the_last_token(model):
    with model.trace(IDS):
        model.transformer.h[1].output[:, -1] = model.transformer.h[1].output[:, -1] * 3
        logits = model.lm_head.output.save()
    return {"logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.0.output
  save before = aten::clone(%h)
  %h[:, 1:3] = 0.5
  save after = %h
  save logits = read lm_head.output
}
""")
def clone_before_an_edit(model):
    with model.trace(IDS):
        h = model.transformer.h[0].output
        before = h.clone().save()
        h[:, 1:3] = 0.5
        after = model.transformer.h[0].output.save()
        logits = model.lm_head.output.save()
    return {"before": before, "after": after, "logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  aten::mul_(%h, 0.5)
  aten::clamp_(%h, -0.5, 0.5)
  save logits = read lm_head.output
}
""")
def operators_in_place(model):
    with model.trace(IDS):
        h = model.transformer.h[1].output
        h.mul_(0.5)
        h.clamp_(-0.5, 0.5)
        logits = model.lm_head.output.save()
    return {"logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  %last = %h[:, -1]
  aten::mul_(%last, -2.0)
  save h = %h
  save logits = read lm_head.output
}
""")
def in_place_on_a_view(model):
    with model.trace(IDS):
        h = model.transformer.h[1].output
        last = h[:, -1]
        last.mul_(-2.0)
        h.save()
        logits = model.lm_head.output.save()
    return {"h": h, "logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  %scaled = aten::mul(%h, 100.0)
  save scaled = %scaled
  save logits = read lm_head.output
}
""")
def a_new_value_changes_nothing(model):
    with model.trace(IDS):
        h = model.transformer.h[1].output
        h = h * 100.0
        scaled = h.save()
        logits = model.lm_head.output.save()
    return {"scaled": scaled, "logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  write transformer.h.1.output = aten::tanh(%h)
  save after = read transformer.h.1.output
  save logits = read lm_head.output
}
""")
def replacement_from_its_value(model):
    with model.trace(IDS):
        model.transformer.h[1].output = model.transformer.h[1].output.tanh()
        after = model.transformer.h[1].output.save()
        logits = model.lm_head.output.save()
    return {"after": after, "logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  write transformer.h.1.mlp.output = aten::full([1, 7, 32], 0.25)
  save block = read transformer.h.1.output
  save logits = read lm_head.output
}
""")
def replacement_without_a_read(model):
    with model.trace(IDS):
        model.transformer.h[1].mlp.output = torch.full((1, 7, 32), 0.25)
        block = model.transformer.h[1].output.save()
        logits = model.lm_head.output.save()
    return {"block": block, "logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %x = read transformer.h.2.input
  write transformer.h.2.input = aten::flip(%x, [1])
  save norm = read transformer.h.2.ln_1.input
  save logits = read lm_head.output
}
""")
def replacement_of_an_input(model):
    with model.trace(IDS):
        model.transformer.h[2].input = model.transformer.h[2].input.flip(1)
        norm = model.transformer.h[2].ln_1.input.save()
        logits = model.lm_head.output.save()
    return {"norm": norm, "logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  write transformer.h.1.mlp.input[:, 2:4] = 0.0
  save logits = read lm_head.output
}
""")
def input_in_place(model):
    with model.trace(IDS):
        model.transformer.h[1].mlp.input[:, 2:4] = 0.0
        logits = model.lm_head.output.save()
    return {"logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %x = read transformer.h.1.mlp.input
  write transformer.h.1.mlp.inputs = ((aten::neg(%x),), {})
  save logits = read lm_head.output
}
""")
def replacement_of_inputs(model):
    with model.trace(IDS):
        args, kwargs = model.transformer.h[1].mlp.inputs
        model.transformer.h[1].mlp.inputs = ((-args[0],), kwargs)
        logits = model.lm_head.output.save()
    return {"logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  write transformer.h.1.attn.output[0][:, 3:] = 0.0
  save logits = read lm_head.output
}
""")
def slice_of_a_tuples_item(model):
    with model.trace(IDS):
        model.transformer.h[1].attn.output[0][:, 3:] = 0.0
        logits = model.lm_head.output.save()
    return {"logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %a = read transformer.h.0.attn.output
  write transformer.h.0.attn.output = aten::zeros_like(%a[0])
  save logits = read lm_head.output
}
""")
def replacement_of_a_tuple(model):
    with model.trace(IDS):
        output = model.transformer.h[0].attn.output
        model.transformer.h[0].attn.output = (torch.zeros_like(output[0]), *output[1:])
        logits = model.lm_head.output.save()
    return {"logits": logits}


@scenario("""
%where = tensor(int64, [3], [1, 4, 6])
invoke [39, 72, 94, 86, 68, 69, 83] {
  write transformer.h.0.output[:, %where] = -1.0
  save h = read transformer.h.0.output
  save logits = read lm_head.output
}
""")
def write_by_integer_tensor(model):
    with model.trace(IDS):
        model.transformer.h[0].output[:, torch.tensor([1, 4, 6])] = -1.0
        h = model.transformer.h[0].output.save()
        logits = model.lm_head.output.save()
    return {"h": h, "logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.0.output
  %negative = aten::lt(%h, 0.0)
  write transformer.h.0.output[%negative] = 0.0
  save h = read transformer.h.0.output
  save logits = read lm_head.output
}
""")
def write_by_mask(model):
    with model.trace(IDS):
        h = model.transformer.h[0].output
        h[h < 0] = 0.0
        after = model.transformer.h[0].output.save()
        logits = model.lm_head.output.save()
    return {"h": after, "logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.0.output
  %large = aten::gt(%h, 0.5)
  %h[%large] = aten::sqrt(%h[%large])
  save h = read transformer.h.0.output
  save logits = read lm_head.output
}
""")
def write_what_a_mask_selected(model):
    with model.trace(IDS):
        h = model.transformer.h[0].output
        large = h > 0.5
        h[large] = h[large].sqrt()
        after = model.transformer.h[0].output.save()
        logits = model.lm_head.output.save()
    return {"h": after, "logits": logits}


@scenario("""
%direction = tensor(float32, [4], [1.0, -2.0, 3.0, -4.0])
invoke [39, 72, 94, 86, 68, 69, 83] {
  write transformer.h.1.output[..., 4:8] = %direction
  save logits = read lm_head.output
}
""")
def write_broadcasts(model):
    with model.trace(IDS):
        model.transformer.h[1].output[..., 4:8] = torch.tensor([1.0, -2.0, 3.0, -4.0])
        logits = model.lm_head.output.save()
    return {"logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  write transformer.h.0.output[0, 2, 5] = 7
  write transformer.h.0.output[:, 0] = tensor(int64, [1], [2])
  save h = read transformer.h.0.output
  save logits = read lm_head.output
}
""")
def write_converts(model):
    with model.trace(IDS):
        model.transformer.h[0].output[0, 2, 5] = 7
        model.transformer.h[0].output[:, 0] = torch.tensor([2])
        h = model.transformer.h[0].output.save()
        logits = model.lm_head.output.save()
    return {"h": h, "logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  write transformer.h.1.output = aten::add(%h, 1.0)
  %again = read transformer.h.1.output
  write transformer.h.1.output = aten::mul(%again, 2.0)
  write transformer.h.1.output[:, 0] = 0.0
  save h = read transformer.h.1.output
  save logits = read lm_head.output
}
""")
def several_writes_of_a_site(model):
    with model.trace(IDS):
        model.transformer.h[1].output = model.transformer.h[1].output + 1.0
        model.transformer.h[1].output = model.transformer.h[1].output * 2.0
        model.transformer.h[1].output[:, 0] = 0.0
        h = model.transformer.h[1].output.save()
        logits = model.lm_head.output.save()
    return {"h": h, "logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  write transformer.wte.output[:, 3] = 0.0
  save drop = read transformer.drop.output
  save logits = read lm_head.output
}
""")
def write_of_an_embedding(model):
    with model.trace(IDS):
        model.transformer.wte.output[:, 3] = 0.0
        drop = model.transformer.drop.output.save()
        logits = model.lm_head.output.save()
    return {"drop": drop, "logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  write transformer.wte.input[:, 3] = 11
  save embedded = read transformer.wte.output
  save logits = read lm_head.output
}
""")
def write_of_a_token(model):
    with model.trace(IDS):
        ids = model.transformer.wte.input.clone()
        ids[:, 3] = 11
        model.transformer.wte.input = ids
        embedded = model.transformer.wte.output.save()
        logits = model.lm_head.output.save()
    return {"embedded": embedded, "logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %n = read transformer.h.1.ln_1.output
  write transformer.h.1.ln_1.output = aten::sub(%n, aten::mean(%n, [1], true))
  save logits = read lm_head.output
}
""")
def write_of_a_norm(model):
    with model.trace(IDS):
        n = model.transformer.h[1].ln_1.output
        model.transformer.h[1].ln_1.output = n - n.mean(1, keepdim=True)
        logits = model.lm_head.output.save()
    return {"logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %p = read lm_head.output
  write lm_head.output = aten::mul(%p, -1.0)
  save result = read result
}
""")
def write_of_the_logits_changes_the_result(model):
    with model.trace(IDS) as tracer:
        model.lm_head.output = model.lm_head.output * -1.0
        result = tracer.result.logits.save()
    return {"result": result}


@scenario("""
invoke [[47, 64, 81, 72, 82, 94, 72, 82], [64, 65, 66], [87, 28, 19, 17, 26]] {
  %h = read transformer.h.1.output
  write transformer.h.1.output[1] = aten::tanh(%h[1])
  write transformer.h.1.output[:, -1] = 0.5
  %p = read lm_head.output
  save last = %p[:, -1]
}
""")
def writes_to_rows_and_tokens_of_a_batch(model):
    with model.trace(BATCH):
        h = model.transformer.h[1].output
        h[1] = h[1].tanh()
        h[:, -1] = 0.5
        last = model.lm_head.output[:, -1].save()
    return {"last": last}


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.0.output
  save later = read transformer.h.1.output
  %h[:, 0] = 0.0
  save logits = read lm_head.output
}
"""
)
def a_change_written_after_a_later_read(model):
    # In nnsight it comes too late and does nothing, so it is compared with one that comes in time.
    with model.trace(IDS):
        untouched = model.lm_head.output.save()
    with model.trace(IDS):
        h = model.transformer.h[0].output
        model.transformer.h[1].output.sum()
        h[:, 0] = 0.0
        unchanged = model.lm_head.output.save()
    assert torch.equal(untouched, unchanged)
    with model.trace(IDS):
        model.transformer.h[0].output[:, 0] = 0.0
        later = model.transformer.h[1].output.save()
        logits = model.lm_head.output.save()
    return {"later": later, "logits": logits}


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.0.output
  %x = read transformer.h.1.output
  %h[:, 0] = aten::mul(%x[:, 0], 2.0)
  save logits = read lm_head.output
}
""",
    refused="is visited before transformer.h.1.output",
)
def a_change_that_needs_a_later_value(model):
    # In nnsight it does nothing, without a word.
    with model.trace(IDS):
        h = model.transformer.h[0].output
        x = model.transformer.h[1].output
        h[:, 0] = x[:, 0] * 2.0
        model.lm_head.output.save()
