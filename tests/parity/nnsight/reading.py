"""Reading sites of every kind, and caches."""

import torch
from common import BATCH, IDS, SHORT, entries, scenario


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


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  cache [transformer.h.1] as acts dtype=float16
}
""",
    tolerance=1e-3,
)
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


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.0.output
  write transformer.h.0.output = aten::mul(%h, 2.0)
  cache [transformer.h.0] as acts
}
"""
)
def a_cache_written_last(model):
    # nnsight wants it first.
    try:
        with model.trace(IDS) as tracer:
            model.transformer.h[0].output = model.transformer.h[0].output * 2.0
            cache = tracer.cache(modules=[model.transformer.h[0]])
        raise AssertionError("nnsight runs it")
    except ValueError:
        pass
    with model.trace(IDS) as tracer:
        cache = tracer.cache(modules=[model.transformer.h[0]])
        model.transformer.h[0].output = model.transformer.h[0].output * 2.0
    return {"acts": entries(cache)}
