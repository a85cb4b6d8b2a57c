"""Inside modules: operations of a forward, and the points of attention."""

import torch
from common import BATCH, IDS, OTHER, scenario


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  save q = read transformer.h.1.attn.q
  save k = read transformer.h.1.attn.k
  save v = read transformer.h.1.attn.v
}
""")
def queries_keys_and_values(model):
    source = model.transformer.h[1].attn.source
    with model.trace(IDS):
        args = source.attention_interface_1.inputs[0]
        q, k, v = args[1].save(), args[2].save(), args[3].save()
    return {"q": q, "k": k, "v": v}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  save probs = read transformer.h.1.attn.probs
  save z = read transformer.h.1.attn.z
}
""")
def attention_weights_and_what_heads_give(model):
    source = model.transformer.h[1].attn.source
    with model.trace(IDS):
        z, probs = source.attention_interface_1.output
        z = z.transpose(1, 2).save()
        probs.save()
    return {"probs": probs, "z": z}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %s = read transformer.h.1.attn.scores
  save scores = aten::tril(%s)
}
""")
def attention_scores(model):
    source = model.transformer.h[1].attn.source
    with model.trace(IDS):
        scores = source.attention_interface_1.source.attn_weights_1.output.tril().save()
    return {"scores": scores}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %p = read transformer.h.1.attn.probs
  write transformer.h.1.attn.probs[:, 2] = aten::zeros_like(%p[:, 2])
  save logits = read lm_head.output
}
""")
def a_head_without_attention(model):
    source = model.transformer.h[1].attn.source
    with model.trace(IDS):
        probs = source.attention_interface_1.source.nn_functional_softmax_0.output
        probs[:, 2] = 0.0
        logits = model.lm_head.output.save()
    return {"logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  write transformer.h.1.attn.scores[:, :, -1, 2] = -inf
  save probs = read transformer.h.1.attn.probs
  save logits = read lm_head.output
}
""")
def a_token_that_may_not_be_looked_at(model):
    source = model.transformer.h[1].attn.source
    with model.trace(IDS):
        inner = source.attention_interface_1.source
        inner.attn_weights_1.output[:, :, -1, 2] = -torch.inf
        probs = inner.nn_functional_softmax_0.output.save()
        logits = model.lm_head.output.save()
    return {"probs": probs, "logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %z = read transformer.h.1.attn.z
  write transformer.h.1.attn.z[:, 0] = aten::mul(%z[:, 0], 3.0)
  write transformer.h.1.attn.z[:, 3] = 0.0
  save logits = read lm_head.output
}
""")
def heads_are_scaled(model):
    source = model.transformer.h[1].attn.source
    with model.trace(IDS):
        z = source.attention_interface_1.output[0]
        z[:, :, 0] *= 3.0
        z[:, :, 3] = 0.0
        logits = model.lm_head.output.save()
    return {"logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %q = read transformer.h.2.attn.q
  write transformer.h.2.attn.q = aten::mul(%q, 0.5)
  write transformer.h.2.attn.v[:, :, 0] = 0.0
  save probs = read transformer.h.2.attn.probs
  save logits = read lm_head.output
}
""")
def queries_and_values_are_written(model):
    source = model.transformer.h[2].attn.source
    with model.trace(IDS):
        (module, q, k, v, *rest), kwargs = source.attention_interface_1.inputs
        v = v.clone()
        v[:, :, 0] = 0.0
        source.attention_interface_1.inputs = ((module, q * 0.5, k, v, *rest), kwargs)
        probs = source.attention_interface_1.output[1].save()
        logits = model.lm_head.output.save()
    return {"probs": probs, "logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %pattern = read transformer.h.1.attn.probs
}
invoke [87, 28, 19, 17, 26, 5, 40] {
  write transformer.h.1.attn.probs = %pattern
  save logits = read lm_head.output
}
""")
def an_attention_pattern_of_another_prompt(model):
    source = model.transformer.h[1].attn.source
    with model.trace() as tracer:
        barrier = tracer.barrier(2)
        with tracer.invoke(IDS):
            pattern = source.attention_interface_1.source.nn_functional_softmax_0.output
            barrier()
        with tracer.invoke(OTHER):
            barrier()
            source.attention_interface_1.source.nn_functional_softmax_0.output = pattern
            logits = model.lm_head.output.save()
    return {"logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  save c_fc = read transformer.h.1.mlp.c_fc.op(linear_0).output
  save act = read transformer.h.1.mlp.act.op(gelu_0).output
  save into = read transformer.h.1.mlp.act.op(gelu_0).input
}
""")
def operations_of_an_mlp(model):
    source = model.transformer.h[1].mlp.source
    with model.trace(IDS):
        c_fc = source.self_c_fc_0.output.save()
        into = source.self_act_0.input.save()
        act = source.self_act_0.output.save()
    return {"c_fc": c_fc, "act": act, "into": into}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  save after_attention = read transformer.h.1.op(add_0).output
  save after_mlp = read transformer.h.1.op(add_1).output
}
""")
def the_residual_between_attention_and_mlp(model):
    source = model.transformer.h[1].source
    with model.trace(IDS):
        after_attention = source.hidden_states_1.output.save()
        after_mlp = source.hidden_states_5.output.save()
    return {"after_attention": after_attention, "after_mlp": after_mlp}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %r = read transformer.h.1.op(add_0).output
  write transformer.h.1.op(add_0).output = aten::mul(%r, 2.0)
  save logits = read lm_head.output
}
""")
def an_operations_output_is_written(model):
    source = model.transformer.h[1].source
    with model.trace(IDS):
        source.hidden_states_1.output = source.hidden_states_1.output * 2.0
        logits = model.lm_head.output.save()
    return {"logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  write transformer.h.1.mlp.c_proj.op(linear_0).input[:, -1] = 0.0
  save logits = read lm_head.output
}
""")
def an_operations_input_is_written(model):
    source = model.transformer.h[1].mlp.source
    with model.trace(IDS):
        source.self_c_proj_0.input[:, -1] = 0.0
        logits = model.lm_head.output.save()
    return {"logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %x = read transformer.h.1.mlp.act.op(gelu_0).input
  write transformer.h.1.mlp.act.op(gelu_0).output = aten::relu(%x)
  save logits = read lm_head.output
}
""")
def an_operation_is_skipped(model):
    source = model.transformer.h[1].mlp.source
    with model.trace(IDS):
        source.self_act_0.skip(source.self_act_0.input.relu())
        logits = model.lm_head.output.save()
    return {"logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  save joined = read transformer.h.1.attn.op(reshape_0).output
  save output = read transformer.h.1.attn.c_proj.op(linear_0).output
}
""")
def operations_of_attention(model):
    source = model.transformer.h[1].attn.source
    with model.trace(IDS):
        joined = source.attn_output_0.output.save()
        output = source.self_c_proj_0.output.save()
    return {"joined": joined, "output": output}


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %kept = read transformer.h.1.attn.op(linear_9).output
  save kept = %kept
}
""",
    refused="linear_9",
    raises="AttributeError",
)
def an_operation_that_is_not_there(model):
    with model.trace(IDS):
        model.transformer.h[1].attn.source.linear_9.output.save()


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %c = read transformer.h.1.attn.c_attn.output
  %parts = aten::split(%c, 32, -1)
  save q = %parts[0]
  save heads = aten::transpose(aten::unflatten(%parts[2], -1, [4, 8]), 1, 2)
  save v = read transformer.h.1.attn.v
}
""")
def heads_cut_out_of_a_projection(model):
    source = model.transformer.h[1].attn.source
    with model.trace(IDS):
        q, _, v = model.transformer.h[1].attn.c_attn.output.split(32, -1)
        q.save()
        heads = v.unflatten(-1, (4, 8)).transpose(1, 2).save()
        inner = source.attention_interface_1.inputs[0][3].save()
    return {"q": q, "heads": heads, "v": inner}


@scenario("""
invoke [[47, 64, 81, 72, 82, 94, 72, 82], [64, 65, 66], [87, 28, 19, 17, 26]] {
  %p = read transformer.h.2.attn.probs
  save last = %p[:, :, -1, -3:]
  %z = read transformer.h.2.attn.z
  save z = %z[:, :, -3:]
}
""")
def attention_of_padded_prompts(model):
    source = model.transformer.h[2].attn.source
    with model.trace(BATCH):
        z, probs = source.attention_interface_1.output
        last = probs[:, :, -1, -3:].save()
        z = z.transpose(1, 2)[:, :, -3:].save()
    return {"last": last, "z": z}
