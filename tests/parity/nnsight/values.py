"""Indexing values, operators, modules called out of band, parameters, what is saved."""

import nnsight
import torch
from common import IDS, scenario


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  save token = %h[:, -1]
  save tokens = %h[:, 1:5]
  save every = %h[:, ::2]
  save number = %h[0, 3, 7]
}
""")
def index_by_integers_and_slices(model):
    with model.trace(IDS):
        h = model.transformer.h[1].output
        token = h[:, -1].save()
        tokens = h[:, 1:5].save()
        every = h[:, ::2].save()
        number = h[0, 3, 7].save()
    return {"token": token, "tokens": tokens, "every": every, "number": number}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  save last = %h[..., -1]
  save both = %h[0, ..., 2:4]
  save fresh = %h[:, none, -1]
}
""")
def index_by_ellipsis_and_new_axes(model):
    with model.trace(IDS):
        h = model.transformer.h[1].output
        last = h[..., -1].save()
        both = h[0, ..., 2:4].save()
        fresh = h[:, None, -1].save()
    return {"last": last, "both": both, "fresh": fresh}


@scenario("""
%where = tensor(int64, [3], [5, 0, 3])
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  save picked = %h[:, %where]
  save paired = %h[0, %where, %where]
}
""")
def index_by_integer_tensors(model):
    where = torch.tensor([5, 0, 3])
    with model.trace(IDS):
        h = model.transformer.h[1].output
        picked = h[:, where].save()
        paired = h[0, where, where].save()
    return {"picked": picked, "paired": paired}


@scenario("""
%keep = tensor(bool, [7], [true, false, false, true, true, false, true])
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  %where = aten::squeeze(aten::nonzero_static(%keep, size=4), -1)
  save kept = %h[:, %where]
  save positive = aten::sum(aten::where(aten::gt(%h, 0.0), %h, 0.0))
}
""")
def index_by_masks_of_known_count(model):
    keep = torch.tensor([True, False, False, True, True, False, True])
    with model.trace(IDS):
        h = model.transformer.h[1].output
        kept = h[:, keep].save()
        positive = h[h > 0].sum().save()
    return {"kept": kept, "positive": positive}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  %where = aten::gt(%h, 0.0)
  %positive = %h[%where]
  save positive = %positive
  save centred = aten::sub(%positive, aten::mean(%positive))
  save tokens = %h[aten::gt(%h[..., 0], 20.0)]
}
""")
def index_by_a_mask_of_the_data(model):
    with model.trace(IDS):
        h = model.transformer.h[1].output
        positive = h[h > 0].save()
        centred = (positive - positive.mean()).save()
        tokens = h[h[..., 0] > 20].save()
    return {"positive": positive, "centred": centred, "tokens": tokens}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  %where = aten::gt(%h[..., 0], 20.0)
  save logits = call lm_head(%h[%where])
}
""")
def selected_tokens_through_the_head(model):
    with model.trace(IDS):
        h = model.transformer.h[1].output
        logits = model.lm_head(h[h[..., 0] > 20]).save()
    return {"logits": logits}


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  save rows = aten::view(%h[aten::gt(%h, 0.0)], [7, -1])
}
""",
    refused="how many elements a mask selects depends on data",
    raises="RuntimeError",
)
def a_mask_where_a_size_must_be_known(model):
    with model.trace(IDS):
        h = model.transformer.h[1].output
        h[h > 0].view(7, -1).save()


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  save shape = aten::size(%h)
  save all = {"layer": 1, "scale": 0.5, "used": true, "parts": [%h, 7]}
}
""")
def numbers_in_a_dict(model):
    with model.trace(IDS):
        h = model.transformer.h[1].output
        shape = nnsight.save(list(h.shape))
        values = nnsight.save({"layer": 1, "scale": 0.5, "used": True, "parts": [h, 7]})
    return {"shape": shape, "all": values}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  %x = read transformer.h.0.output
  save sum = aten::add(%h, %x)
  save scaled = aten::div(aten::sub(aten::mul(%h, 3.0), 1.0), 2.0)
  save power = aten::pow(%h, 2)
  save negative = aten::neg(%h)
  save product = aten::matmul(%h, aten::transpose(%x, -2, -1))
  save larger = aten::gt(%h, %x)
}
""")
def arithmetic_between_values(model):
    with model.trace(IDS):
        x = model.transformer.h[0].output
        h = model.transformer.h[1].output
        values = {
            "sum": h + x,
            "scaled": (h * 3.0 - 1.0) / 2.0,
            "power": h**2,
            "negative": -h,
            "product": h @ x.transpose(-2, -1),
            "larger": h > x,
        }.save()
    return values


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  save mean = aten::mean(%h, [1])
  save std = aten::std(%h, -1)
  save norm = aten::linalg_vector_norm(%h, 2, [-1])
  save most = aten::amax(%h, [1, 2])
  save where = aten::argmax(%h, dim=-1)
  save total = aten::sum(%h)
  %top = aten::topk(%h[0, -1], 4)
  save values = %top[0]
  save indices = %top[1]
}
""")
def reductions(model):
    with model.trace(IDS):
        h = model.transformer.h[1].output
        top = h[0, -1].topk(4)
        values = {
            "mean": h.mean(1),
            "std": h.std(-1),
            "norm": h.norm(dim=-1),
            "most": h.amax((1, 2)),
            "where": h.argmax(-1),
            "total": h.sum(),
            "values": top.values,
            "indices": top.indices,
        }.save()
    return values


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  save cat = aten::cat([%h, %h[:, 0:2]], 1)
  save stack = aten::stack([%h[:, 0], %h[:, -1]])
  save heads = aten::permute(aten::unflatten(%h, -1, [4, 8]), [0, 2, 1, 3])
  save flat = aten::flatten(%h, 0, 1)
  save rolled = aten::roll(%h, [1], [1])
}
""")
def shapes_of_values(model):
    with model.trace(IDS):
        h = model.transformer.h[1].output
        values = {
            "cat": torch.cat([h, h[:, :2]], 1),
            "stack": torch.stack([h[:, 0], h[:, -1]]),
            "heads": h.unflatten(-1, (4, 8)).permute(0, 2, 1, 3),
            "flat": h.flatten(0, 1),
            "rolled": h.roll(1, 1),
        }.save()
    return values


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %p = read lm_head.output
  save probs = aten::softmax(%p[:, -1], -1)
  save loss = aten::cross_entropy_loss(%p[0, 0:6], tensor(int64, [6], [72, 94, 86, 68, 69, 83]))
  save entropy = aten::neg(aten::sum(aten::mul(aten::softmax(%p, -1), aten::log_softmax(%p, -1)), [-1]))
}
""")
def probabilities_loss_and_entropy(model):
    with model.trace(IDS):
        p = model.lm_head.output
        values = {
            "probs": p[:, -1].softmax(-1),
            "loss": torch.nn.functional.cross_entropy(p[0, :6], torch.tensor(IDS[1:])),
            "entropy": -(p.softmax(-1) * p.log_softmax(-1)).sum(-1),
        }.save()
    return values


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.0.output
  save lens = call lm_head(call transformer.ln_f(%h))
}
""")
def logit_lens(model):
    with model.trace(IDS):
        h = model.transformer.h[0].output
        lens = model.lm_head(model.transformer.ln_f(h)).save()
    return {"lens": lens}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h0 = read transformer.h.0.output
  %h1 = read transformer.h.1.output
  %h2 = read transformer.h.2.output
  %all = aten::stack([%h0[:, -1], %h1[:, -1], %h2[:, -1]])
  %logits = call lm_head(call transformer.ln_f(%all))
  save tokens = aten::argmax(%logits, dim=-1)
  save probs = aten::amax(aten::softmax(%logits, -1), [-1])
}
""")
def logit_lens_of_every_layer(model):
    with model.trace(IDS):
        hidden = [layer.output[:, -1] for layer in model.transformer.h]
        logits = model.lm_head(model.transformer.ln_f(torch.stack(hidden)))
        tokens = logits.argmax(-1).save()
        probs = logits.softmax(-1).amax(-1).save()
    return {"tokens": tokens, "probs": probs}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %late = read transformer.h.2.output
  save early = call transformer.h.0.mlp(%late)
  %direct = read transformer.h.0.mlp.output
  save direct = %direct
}
""")
def a_module_called_out_of_its_order(model):
    with model.trace(IDS):
        direct = model.transformer.h[0].mlp.output.save()
        late = model.transformer.h[2].output
        early = model.transformer.h[0].mlp(late).save()
    return {"early": early, "direct": direct}


@scenario("""
invoke [39, 72, 94] {
  save gain = param transformer.ln_f.weight
  save bias = param transformer.h.1.mlp.c_fc.bias
  %w = param transformer.h.1.attn.c_proj.weight
  save rows = %w[0:4]
}
""")
def parameters(model):
    with model.trace([39, 72, 94]):
        gain = model.transformer.ln_f.weight.save()
        bias = model.transformer.h[1].mlp.c_fc.bias.save()
        rows = model.transformer.h[1].attn.c_proj.weight[:4].save()
        model.lm_head.output.save()
    return {"gain": gain, "bias": bias, "rows": rows}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  %w = param transformer.wte.weight
  save lens = aten::matmul(%h[:, -1], aten::t(%w))
}
""")
def unembedding_with_a_parameter(model):
    with model.trace(IDS):
        h = model.transformer.h[1].output
        lens = (h[:, -1] @ model.transformer.wte.weight.T).save()
    return {"lens": lens}


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  save half = %h as float16
  save brain = aten::to(%h, dtype=bfloat16)
  save wide = aten::to(%h[:, 0], dtype=float64)
}
""",
    tolerance=1e-2,
)
def dtypes(model):
    with model.trace(IDS):
        h = model.transformer.h[1].output
        values = {"half": h.half(), "brain": h.bfloat16(), "wide": h[:, 0].double()}.save()
    return values


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h0 = read transformer.h.0.output
  %h1 = read transformer.h.1.output
  save pair = (%h0[:, -1], %h1[:, -1])
  save named = {"first": %h0[:, 0], "rest": [%h1[:, 1], %h1[:, 2]]}
}
""")
def structures_of_values(model):
    with model.trace(IDS):
        h0 = model.transformer.h[0].output
        h1 = model.transformer.h[1].output
        pair = (h0[:, -1], h1[:, -1]).save()
        named = {"first": h0[:, 0], "rest": [h1[:, 1], h1[:, 2]]}.save()
    return {"pair": pair, "named": named}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  save twice = aten::add(%h, %h)
  save before = %h
  %h[:, 0] = 0.0
  save after = %h
}
""")
def a_save_is_of_its_moment(model):
    # nnsight's save is the live tensor, so what is kept is cloned there.
    with model.trace(IDS):
        h = model.transformer.h[1].output
        twice = (h + h).save()
        before = h.clone().save()
        h[:, 0] = 0.0
        after = h.save()
    return {"twice": twice, "before": before, "after": after}
