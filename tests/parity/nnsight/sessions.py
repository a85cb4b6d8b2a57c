"""Sessions of several traces, and edits that are kept."""

import torch
from common import GENERATE, IDS, OTHER, SHORT, scenario


@scenario("""
trace
invoke [39, 72, 94, 86, 68, 69, 83] {
  %clean = read transformer.h.0.output
}
trace
invoke [87, 28, 19, 17, 26, 5, 40] {
  write transformer.h.2.output[:, -1] = %clean[:, -1]
  save patched = read lm_head.output
}
""")
def a_session_of_two_traces(model):
    with model.session():
        with model.trace(IDS):
            clean = model.transformer.h[0].output
        with model.trace(OTHER):
            model.transformer.h[2].output[:, -1] = clean[:, -1]
            patched = model.lm_head.output.save()
    return {"patched": patched}


@scenario("""
trace
invoke [39, 72, 94, 86, 68, 69, 83] {
  %late = read transformer.h.2.output
}
trace
invoke [87, 28, 19, 17, 26, 5, 40] {
  write transformer.h.0.output = %late
  %h = read transformer.h.1.output
}
trace
invoke [65, 66, 67, 68, 69, 70, 71] {
  write transformer.h.0.output[:, 0] = %h[:, 3]
  save logits = read lm_head.output
  save between = %h
}
""")
def a_session_carries_late_values_to_early_layers(model):
    with model.session():
        with model.trace(IDS):
            late = model.transformer.h[2].output
        with model.trace(OTHER):
            model.transformer.h[0].output = late
            between = model.transformer.h[1].output.save()
        with model.trace([65, 66, 67, 68, 69, 70, 71]):
            model.transformer.h[0].output[:, 0] = between[:, 3]
            logits = model.lm_head.output.save()
    return {"logits": logits, "between": between}


@scenario("""
trace
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.0.output
  %scaled = aten::mul(%h, 0.5)
}
trace root=transformer.h.1
invoke (%scaled) {
  save mlp = read transformer.h.1.mlp.output
  save out = read transformer.h.1.output
}
""")
def a_value_of_one_trace_is_the_input_of_the_next(model):
    # What is eager has no mask of its own, where a block is called by itself.
    causal = torch.full((1, 1, len(IDS), len(IDS)), float("-inf")).triu(1)
    with model.session():
        with model.trace(IDS):
            scaled = model.transformer.h[0].output * 0.5
        with model.transformer.h[1].trace(scaled, attention_mask=causal):
            mlp = model.transformer.h[1].mlp.output.save()
            out = model.transformer.h[1].output.save()
    return {"mlp": mlp, "out": out}


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  %ids = read result
}
trace
invoke (input_ids=%ids) {
  save h = read transformer.h.1.output
  save logits = read lm_head.output
}
""")
def generated_tokens_are_the_prompt_of_the_next(model):
    with model.session():
        with model.generate(IDS, **GENERATE) as tracer:
            ids = tracer.result
        with model.trace(ids):
            h = model.transformer.h[1].output.save()
            logits = model.lm_head.output.save()
    return {"h": h, "logits": logits}


@scenario("""
sweep %prompt in [[39, 72, 94, 86, 68, 69, 83], [64, 65, 66], [87, 28, 19, 17, 26, 5, 40]] {
  invoke %prompt {
    %h = read transformer.h.1.output
    save last = %h[:, -1]
  }
}
""")
def one_program_for_several_prompts(model):
    last = []
    for ids in (IDS, SHORT, OTHER):
        with model.trace(ids):
            h = model.transformer.h[1].output[:, -1].save()
        last.append(h)
    return {"last": last}


@scenario("""
trace
invoke [39, 72, 94, 86, 68, 69, 83] {
  %p = read lm_head.output
  %h = read transformer.h.1.output
}
trace
invoke [39, 72, 94, 86, 68, 69, 83] {
  %large = aten::gt(aten::amax(%p), 5.0)
  if %large {
    write transformer.h.1.output = aten::mul(%h, -1.0)
  }
  save logits = read lm_head.output
}
""")
def a_session_that_chooses(model):
    with model.session():
        with model.trace(IDS):
            h = model.transformer.h[1].output
            p = model.lm_head.output
        large = p.amax() > 5.0
        with model.trace(IDS):
            if large:
                model.transformer.h[1].output = h * -1.0
            logits = model.lm_head.output.save()
    return {"logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  write transformer.h.1.output[:, 0] = 0.0
  save before = read lm_head.output
  save h = read transformer.h.1.output
}
""")
def an_edit_acts_in_later_traces(model):
    with model.edit() as (_, edited):
        model.transformer.h[1].output[:, 0] = 0.0
    with edited.trace(IDS):
        h = edited.transformer.h[1].output.save()
        before = edited.lm_head.output.save()
    return {"before": before, "h": h}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  save plain = read lm_head.output
}
""")
def an_edit_of_a_copy_leaves_the_model_alone(model):
    with model.edit():
        model.transformer.h[1].output[:, 0] = 0.0
    with model.trace(IDS):
        plain = model.lm_head.output.save()
    return {"plain": plain}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  write transformer.h.1.output = aten::tanh(%h)
  %g = read transformer.h.1.output
  write transformer.h.1.output = aten::mul(%g, 2.0)
  %x = read transformer.h.1.output
  write transformer.h.1.output[:, -1] = aten::neg(%x[:, -1])
  save logits = read lm_head.output
}
""")
def edits_stack_before_the_traces_own(model):
    with model.edit(inplace=True):
        model.transformer.h[1].output = model.transformer.h[1].output.tanh()
    with model.edit(inplace=True):
        model.transformer.h[1].output = model.transformer.h[1].output * 2.0
    with model.trace(IDS):
        model.transformer.h[1].output[:, -1] = -model.transformer.h[1].output[:, -1]
        logits = model.lm_head.output.save()
    return {"logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  skip transformer.h.1 = read transformer.h.1.input
  save a = read lm_head.output
}
invoke [87, 28, 19, 17, 26, 5, 40] {
  skip transformer.h.1 = read transformer.h.1.input
  save b = read lm_head.output
}
""")
def an_edit_that_skips_in_every_invoke(model):
    with model.edit(inplace=True):
        model.transformer.h[1].skip(model.transformer.h[1].input)
    with model.trace() as tracer:
        with tracer.invoke(IDS):
            a = model.lm_head.output.save()
        with tracer.invoke(OTHER):
            b = model.lm_head.output.save()
    return {"a": a, "b": b}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  save logits = read lm_head.output
}
""")
def cleared_edits(model):
    with model.edit(inplace=True):
        model.transformer.h[1].output[:] = 0.0
    model.clear_edits()
    with model.trace(IDS):
        logits = model.lm_head.output.save()
    return {"logits": logits}


@scenario(
    """
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  write transformer.h.1.output[:, 0:3] = 0.0
  save ids = read result
}
"""
)
def an_edit_acts_in_the_first_step_alone(model):
    with model.edit(inplace=True):
        model.transformer.h[1].output[:, 0:3] = 0.0
    with model.generate(IDS, **GENERATE) as tracer:
        ids = tracer.result.save()
    return {"ids": ids}


@scenario(
    """
trace
invoke [39, 72, 94, 86, 68, 69, 83] {
  save before = read lm_head.output
}
trace
invoke [39, 72, 94, 86, 68, 69, 83] {
  write transformer.h.2.output[:, -1] = 0.25
  save after = read lm_head.output
}
"""
)
def traces_of_a_session_do_not_change_each_other(model):
    with model.session():
        with model.trace(IDS):
            before = model.lm_head.output.save()
        with model.trace(IDS):
            model.transformer.h[2].output[:, -1] = 0.25
            after = model.lm_head.output.save()
    return {"before": before, "after": after}
