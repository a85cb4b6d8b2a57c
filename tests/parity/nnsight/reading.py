"""Reading sites, indexing values, operators, modules out of band, parameters."""

import torch
from common import BATCH, IDS, SHORT, scenario


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  save first = read transformer.h.0.output
  save last = read transformer.h.2.output
}
""")
def output_of_blocks(model):
    with model.trace(IDS):
        first = model.transformer.h[0].output.save()
        last = model.transformer.h[2].output.save()
    return {"first": first, "last": last}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  save wte = read transformer.wte.output
  save wpe = read transformer.wpe.output
  save drop = read transformer.drop.output
}
""")
def output_of_embeddings(model):
    with model.trace(IDS):
        wte = model.transformer.wte.output.save()
        wpe = model.transformer.wpe.output.save()
        drop = model.transformer.drop.output.save()
    return {"wte": wte, "wpe": wpe, "drop": drop}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  save ln_1 = read transformer.h.1.ln_1.output
  save ln_2 = read transformer.h.1.ln_2.output
  save ln_f = read transformer.ln_f.output
}
""")
def output_of_norms(model):
    with model.trace(IDS):
        ln_1 = model.transformer.h[1].ln_1.output.save()
        ln_2 = model.transformer.h[1].ln_2.output.save()
        ln_f = model.transformer.ln_f.output.save()
    return {"ln_1": ln_1, "ln_2": ln_2, "ln_f": ln_f}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %attn = read transformer.h.1.attn.output
  save attn = %attn[0]
  save c_attn = read transformer.h.1.attn.c_attn.output
  save c_proj = read transformer.h.1.attn.c_proj.output
  save resid = read transformer.h.1.attn.resid_dropout.output
}
""")
def output_of_attention_is_a_tuple(model):
    with model.trace(IDS):
        c_attn = model.transformer.h[1].attn.c_attn.output.save()
        c_proj = model.transformer.h[1].attn.c_proj.output.save()
        resid = model.transformer.h[1].attn.resid_dropout.output.save()
        attn = model.transformer.h[1].attn.output[0].save()
    return {"attn": attn, "c_attn": c_attn, "c_proj": c_proj, "resid": resid}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  save mlp = read transformer.h.2.mlp.output
  save c_fc = read transformer.h.2.mlp.c_fc.output
  save act = read transformer.h.2.mlp.act.output
  save c_proj = read transformer.h.2.mlp.c_proj.output
}
""")
def output_of_mlp_and_its_children(model):
    with model.trace(IDS):
        c_fc = model.transformer.h[2].mlp.c_fc.output.save()
        act = model.transformer.h[2].mlp.act.output.save()
        c_proj = model.transformer.h[2].mlp.c_proj.output.save()
        mlp = model.transformer.h[2].mlp.output.save()
    return {"c_fc": c_fc, "act": act, "c_proj": c_proj, "mlp": mlp}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  save logits = read lm_head.output
  %root = read .output
  save root = %root["logits"]
  save result = read result
}
""")
def output_of_the_root_is_the_result(model):
    with model.trace(IDS) as tracer:
        logits = model.lm_head.output.save()
        root = model.output.logits.save()
        result = tracer.result.logits.save()
    return {"logits": logits, "root": root, "result": result}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %t = read transformer.output
  save hidden = %t["last_hidden_state"]
}
""")
def output_of_the_body_has_named_fields(model):
    with model.trace(IDS):
        hidden = model.transformer.output.last_hidden_state.save()
    return {"hidden": hidden}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  save block = read transformer.h.1.input
  save attn = read transformer.h.1.attn.input
  save mlp = read transformer.h.1.mlp.input
  save head = read lm_head.input
}
""")
def input_of_modules(model):
    with model.trace(IDS):
        block = model.transformer.h[1].input.save()
        attn = model.transformer.h[1].attn.input.save()
        mlp = model.transformer.h[1].mlp.input.save()
        head = model.lm_head.input.save()
    return {"block": block, "attn": attn, "mlp": mlp, "head": head}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  save tokens = read transformer.wte.input
  save positions = read transformer.wpe.input
}
""")
def input_of_embeddings_are_integers(model):
    with model.trace(IDS):
        tokens = model.transformer.wte.input.save()
        positions = model.transformer.wpe.input.save()
    return {"tokens": tokens, "positions": positions}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %inputs = read transformer.h.1.mlp.inputs
  save first = %inputs[0][0]
}
""")
def inputs_of_a_module(model):
    with model.trace(IDS):
        args, kwargs = model.transformer.h[1].mlp.inputs
        first = args[0].save()
        assert not kwargs
    return {"first": first}


@scenario("""
invoke [[47, 64, 81, 72, 82, 94, 72, 82], [64, 65, 66], [87, 28, 19, 17, 26]] {
  %ids = read ids
  %mask = read mask
  save ids = aten::mul(%ids, %mask)
  save mask = aten::to(%mask, dtype=int64)
  %positions = read positions
  save positions = aten::mul(%positions, %mask)
}
""")
def ids_mask_and_positions_of_padded_prompts(model):
    with model.trace(BATCH):
        _, kwargs = model.inputs
        mask = kwargs["attention_mask"].save()
        ids = (kwargs["input_ids"] * mask).save()
        positions = (model.transformer.wpe.input * mask).save()
    return {"ids": ids, "mask": mask, "positions": positions}


@scenario("""
invoke "Hi weft" {
  save ids = read ids
  save logits = read lm_head.output
}
""")
def prompt_is_a_string(model):
    with model.trace("Hi weft"):
        ids = model.inputs[1]["input_ids"].save()
        logits = model.lm_head.output.save()
    return {"ids": ids, "logits": logits}


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
  save positive = %h[%where]
}
""", refused="how many elements a mask selects depends on data")
def index_by_a_mask_of_the_data(model):
    with model.trace(IDS):
        h = model.transformer.h[1].output
        h[h > 0].save()


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
  %h = read transformer.h.1.output
  save a = %h
  %again = read transformer.h.1.output
  save b = %again
}
""")
def a_site_read_twice(model):
    with model.trace(IDS):
        a = model.transformer.h[1].output
        b = model.transformer.h[1].output
        assert a is b
        a.save()
    return {"a": a, "b": b}


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


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  save half = %h as float16
  save brain = aten::to(%h, dtype=bfloat16)
  save wide = aten::to(%h[:, 0], dtype=float64)
}
""", tolerance=1e-2)
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
  cache as acts
}
""")
def cache_of_every_module(model):
    with model.trace(IDS) as tracer:
        cache = tracer.cache()
    return {"acts": entries(cache)}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  cache [transformer.h.0, transformer.h.1.mlp, lm_head] as acts inputs
}
""")
def cache_of_some_modules_with_inputs(model):
    with model.trace(IDS) as tracer:
        cache = tracer.cache(
            modules=[model.transformer.h[0], model.transformer.h[1].mlp, model.lm_head],
            include_inputs=True,
        )
    return {"acts": entries(cache, inputs=True)}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  cache [transformer.h.0, transformer.h.1] as acts
  %h = read transformer.h.0.output
  write transformer.h.0.output = aten::mul(%h, 2.0)
}
""")
def cache_takes_what_the_model_goes_on_with(model):
    with model.trace(IDS) as tracer:
        cache = tracer.cache(modules=[model.transformer.h[0], model.transformer.h[1]])
        model.transformer.h[0].output = model.transformer.h[0].output * 2.0
    return {"acts": entries(cache)}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  cache [transformer.h.1] as acts dtype=float16
}
""", tolerance=1e-3)
def cache_of_another_dtype(model):
    with model.trace(IDS) as tracer:
        cache = tracer.cache(modules=[model.transformer.h[1]], dtype=torch.float16)
    return {"acts": entries(cache)}


@scenario("""
invoke [[47, 64, 81, 72, 82, 94, 72, 82], [64, 65, 66], [87, 28, 19, 17, 26]] {
  %h = read transformer.h.1.output
  save first = aten::stack([%h[0, 0], %h[1, 5], %h[2, 3]])
  save last = %h[:, -1]
}
""")
def tokens_of_padded_prompts(model):
    with model.trace(BATCH):
        h = model.transformer.h[1].output
        begins = torch.tensor([0, 5, 3])
        first = h[torch.arange(3), begins].save()
        last = h[:, -1].save()
    return {"first": first, "last": last}


@scenario("""
invoke [64, 65, 66] {
  save embedded = read transformer.h.0.input
  save logits = read lm_head.output
}
""")
def reads_in_any_written_order(model):
    with model.trace(SHORT):
        embedded = model.transformer.h[0].input.save()
        logits = model.lm_head.output.save()
    return {"logits": logits, "embedded": embedded}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  save logits = read result
}
""")
def a_forward_without_a_block(model):
    return {"logits": model.trace(IDS, trace=False).logits}


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
