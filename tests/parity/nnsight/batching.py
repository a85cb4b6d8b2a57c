"""Several invokes: their rows, patches between them, padding."""

import torch
from common import BATCH, IDS, OTHER, SHORT, scenario


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  save a = read transformer.h.1.output
  save a_logits = read lm_head.output
}
invoke [87, 28, 19, 17, 26, 5, 40] {
  save b = read transformer.h.1.output
  save b_logits = read lm_head.output
}
""")
def two_invokes_see_their_rows(model):
    with model.trace() as tracer:
        with tracer.invoke(IDS):
            a = model.transformer.h[1].output.save()
            a_logits = model.lm_head.output.save()
        with tracer.invoke(OTHER):
            b = model.transformer.h[1].output.save()
            b_logits = model.lm_head.output.save()
    return {"a": a, "a_logits": a_logits, "b": b, "b_logits": b_logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  save long = read transformer.h.1.output
}
invoke [64, 65, 66] {
  save short = read transformer.h.1.output
  save logits = read lm_head.output
}
""")
def invokes_of_different_lengths(model):
    # nnsight pads the second on the left, Weft does not: only its own tokens are compared.
    with model.trace() as tracer:
        with tracer.invoke(IDS):
            long = model.transformer.h[1].output.save()
        with tracer.invoke(SHORT):
            short = model.transformer.h[1].output[:, -3:].save()
            logits = model.lm_head.output[:, -3:].save()
    return {"long": long, "short": short, "logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  write transformer.h.0.output[:] = 0.0
  save edited = read lm_head.output
}
invoke [39, 72, 94, 86, 68, 69, 83] {
  save plain = read lm_head.output
}
""")
def a_write_leaves_other_invokes_alone(model):
    with model.trace() as tracer:
        with tracer.invoke(IDS):
            model.transformer.h[0].output[:] = 0.0
            edited = model.lm_head.output.save()
        with tracer.invoke(IDS):
            plain = model.lm_head.output.save()
    return {"edited": edited, "plain": plain}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %clean = read transformer.h.1.output
}
invoke [87, 28, 19, 17, 26, 5, 40] {
  write transformer.h.1.output[:, -1] = %clean[:, -1]
  save patched = read lm_head.output
}
""")
def patch_of_a_token(model):
    with model.trace() as tracer:
        barrier = tracer.barrier(2)
        with tracer.invoke(IDS):
            clean = model.transformer.h[1].output[:, -1]
            barrier()
        with tracer.invoke(OTHER):
            barrier()
            model.transformer.h[1].output[:, -1] = clean
            patched = model.lm_head.output.save()
    return {"patched": patched}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %clean = read transformer.h.1.output
}
invoke [87, 28, 19, 17, 26, 5, 40] {
  write transformer.h.1.output = %clean
  save patched = read lm_head.output
}
""")
def patch_of_a_whole_site(model):
    with model.trace() as tracer:
        barrier = tracer.barrier(2)
        with tracer.invoke(IDS):
            clean = model.transformer.h[1].output
            barrier()
        with tracer.invoke(OTHER):
            barrier()
            model.transformer.h[1].output = clean
            patched = model.lm_head.output.save()
    return {"patched": patched}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %early = read transformer.h.0.output
}
invoke [87, 28, 19, 17, 26, 5, 40] {
  write transformer.h.2.output[:, 2:4] = %early[:, 2:4]
  save patched = read lm_head.output
}
""")
def patch_into_a_later_layer_needs_no_barrier(model):
    with model.trace() as tracer:
        with tracer.invoke(IDS):
            early = model.transformer.h[0].output[:, 2:4]
        with tracer.invoke(OTHER):
            h = model.transformer.h[2].output
            h[:, 2:4] = early
            patched = model.lm_head.output.save()
    return {"patched": patched}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %clean = read transformer.h.1.output
}
invoke [64, 65, 66] {
  write transformer.h.1.output[:, -2:] = %clean[:, -2:]
  save patched = read lm_head.output
}
""")
def patch_between_prompts_of_different_lengths(model):
    with model.trace() as tracer:
        barrier = tracer.barrier(2)
        with tracer.invoke(IDS):
            clean = model.transformer.h[1].output[:, -2:]
            barrier()
        with tracer.invoke(SHORT):
            barrier()
            model.transformer.h[1].output[:, -2:] = clean
            patched = model.lm_head.output[:, -3:].save()
    return {"patched": patched}


@scenario("""
invoke [87, 28, 19, 17, 26, 5, 40] {
  %other = read transformer.h.1.output
}
invoke [39, 72, 94, 86, 68, 69, 83] {
  write transformer.h.1.output[:, -1] = %other[:, -1]
  save patched = read lm_head.output
}
""")
def patch_whose_source_is_declared_later(model):
    # In nnsight a barrier lets the first invoke wait for the second; in Weft the source stands first.
    with model.trace() as tracer:
        barrier = tracer.barrier(2)
        with tracer.invoke(IDS):
            barrier()
            model.transformer.h[1].output[:, -1] = other  # noqa: F821
            patched = model.lm_head.output.save()
        with tracer.invoke(OTHER):
            other = model.transformer.h[1].output[:, -1]  # noqa: F841
            barrier()
    return {"patched": patched}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %a = read transformer.h.1.mlp.output
}
invoke [87, 28, 19, 17, 26, 5, 40] {
  %b = read transformer.h.1.mlp.output
}
invoke [65, 66, 67, 68, 69, 70, 71] {
  write transformer.h.1.mlp.output = aten::mul(aten::add(%a, %b), 0.5)
  save patched = read lm_head.output
}
""")
def patch_from_two_sources(model):
    with model.trace() as tracer:
        barrier = tracer.barrier(3)
        with tracer.invoke(IDS):
            a = model.transformer.h[1].mlp.output
            barrier()
        with tracer.invoke(OTHER):
            b = model.transformer.h[1].mlp.output
            barrier()
        with tracer.invoke([65, 66, 67, 68, 69, 70, 71]):
            barrier()
            model.transformer.h[1].mlp.output = (a + b) * 0.5
            patched = model.lm_head.output.save()
    return {"patched": patched}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %a0 = read transformer.h.0.output
}
invoke [87, 28, 19, 17, 26, 5, 40] {
  write transformer.h.0.output[:, 0] = %a0[:, 0]
  %b1 = read transformer.h.1.output
}
invoke [65, 66, 67, 68, 69, 70, 71] {
  write transformer.h.1.output[:, 1] = %b1[:, 0]
  save patched = read lm_head.output
}
""")
def patches_in_a_chain(model):
    with model.trace() as tracer:
        first = tracer.barrier(2)
        second = tracer.barrier(2)
        with tracer.invoke(IDS):
            a0 = model.transformer.h[0].output[:, 0]
            first()
        with tracer.invoke(OTHER):
            first()
            model.transformer.h[0].output[:, 0] = a0
            b1 = model.transformer.h[1].output[:, 0]
            second()
        with tracer.invoke([65, 66, 67, 68, 69, 70, 71]):
            second()
            model.transformer.h[1].output[:, 1] = b1
            patched = model.lm_head.output.save()
    return {"patched": patched}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {}
invoke [87, 28, 19, 17, 26, 5, 40] {}
invoke {
  save all = read transformer.h.1.output
  save logits = read lm_head.output
}
""")
def an_empty_invoke_sees_all_rows(model):
    with model.trace() as tracer:
        with tracer.invoke(IDS):
            pass
        with tracer.invoke(OTHER):
            pass
        with tracer.invoke():
            everything = model.transformer.h[1].output.save()
            logits = model.lm_head.output.save()
    return {"all": everything, "logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  write transformer.h.1.output[:, 0] = 1.0
}
invoke [87, 28, 19, 17, 26, 5, 40] {
  save b = read lm_head.output
}
invoke {
  save seen = read transformer.h.1.output
  write transformer.h.1.output[:, 1] = 2.0
  save logits = read lm_head.output
}
""")
def an_empty_invoke_writes_all_rows(model):
    with model.trace() as tracer:
        with tracer.invoke(IDS):
            model.transformer.h[1].output[:, 0] = 1.0
        with tracer.invoke(OTHER):
            b = model.lm_head.output.save()
        with tracer.invoke():
            seen = model.transformer.h[1].output.clone().save()
            model.transformer.h[1].output[:, 1] = 2.0
            logits = model.lm_head.output.save()
    return {"b": b, "seen": seen, "logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {}
invoke [64, 65, 66] {}
invoke {
  %h = read transformer.h.1.output
  %mask = read mask
  %m = aten::unsqueeze(aten::to(%mask, dtype=float32), -1)
  save mean = aten::div(aten::sum(aten::mul(%h, %m), [1]), aten::sum(%m, [1]))
}
""")
def the_mask_in_an_empty_invoke(model):
    with model.trace() as tracer:
        with tracer.invoke(IDS):
            pass
        with tracer.invoke(SHORT):
            pass
        with tracer.invoke():
            m = model.inputs[1]["attention_mask"].unsqueeze(-1).float()
            h = model.transformer.h[1].output
            mean = ((h * m).sum(1) / m.sum(1)).save()
    return {"mean": mean}


@scenario("""
invoke [[47, 64, 81, 72, 82, 94, 72, 82], [64, 65, 66], [87, 28, 19, 17, 26]] {
  %h = read transformer.h.1.output
  save last = %h[:, -1]
  %p = read lm_head.output
  save tokens = aten::argmax(%p[:, -1], dim=-1)
  save logits = %p[:, -1]
}
""")
def prompts_padded_on_the_left(model):
    with model.trace(BATCH):
        last = model.transformer.h[1].output[:, -1].save()
        tokens = model.lm_head.output[:, -1].argmax(-1).save()
        logits = model.lm_head.output[:, -1].save()
    return {"last": last, "tokens": tokens, "logits": logits}


@scenario("""
invoke ["Ab c", "defg"] {
  save both = read lm_head.output
}
invoke "xyz!" {
  save one = read lm_head.output
}
invoke [7, 8, 9, 10] {
  save ids = read lm_head.output
}
""")
def inputs_of_several_kinds(model):
    with model.trace() as tracer:
        with tracer.invoke(["Ab c", "defg"]):
            both = model.lm_head.output.save()
        with tracer.invoke("xyz!"):
            one = model.lm_head.output.save()
        with tracer.invoke(torch.tensor([7, 8, 9, 10])):
            ids = model.lm_head.output.save()
    return {"both": both, "one": one, "ids": ids}


@scenario("""
invoke [[47, 64, 81, 72], [64, 65, 66, 67]] {
  save two = read transformer.h.2.output
}
invoke [[1, 2, 3, 4]] {
  save one = read transformer.h.2.output
}
""")
def invokes_of_several_rows(model):
    with model.trace() as tracer:
        with tracer.invoke([[47, 64, 81, 72], [64, 65, 66, 67]]):
            two = model.transformer.h[2].output.save()
        with tracer.invoke([[1, 2, 3, 4]]):
            one = model.transformer.h[2].output.save()
    return {"two": two, "one": one}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  cache [transformer.h.1] as a
}
invoke [87, 28, 19, 17, 26, 5, 40] {
  cache [transformer.h.1] as b
}
""")
def a_cache_holds_its_invokes_rows(model):
    with model.trace() as tracer:
        with tracer.invoke(IDS):
            a = tracer.cache(modules=[model.transformer.h[1]])
        with tracer.invoke(OTHER):
            b = tracer.cache(modules=[model.transformer.h[1]])
    path = "model.transformer.h.1"
    key = "transformer.h.1.output"
    return {"a": {key: a[path].output}, "b": {key: b[path].output}}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  save result = read result
}
invoke [87, 28, 19, 17, 26, 5, 40] {
  save other = read result
}
""")
def the_result_of_an_invoke(model):
    with model.trace() as tracer:
        with tracer.invoke(IDS):
            result = tracer.result.logits.save()
        with tracer.invoke(OTHER):
            other = tracer.result.logits.save()
    return {"result": result, "other": other}
