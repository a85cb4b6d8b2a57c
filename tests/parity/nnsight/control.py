"""Skipping, stopping, order, and what is refused."""

import nnsight
import torch
from common import IDS, OTHER, scenario


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  skip transformer.h.1 = read transformer.h.1.input
  save output = read transformer.h.1.output
  save logits = read lm_head.output
}
""")
def skip_a_block_with_its_input(model):
    with model.trace(IDS):
        model.transformer.h[1].skip(model.transformer.h[1].input)
        output = model.transformer.h[1].output.save()
        logits = model.lm_head.output.save()
    return {"output": output, "logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %x = read transformer.h.0.output
  skip transformer.h.2 = aten::mul(%x, 2.0)
  save logits = read lm_head.output
}
""")
def skip_a_block_with_an_earlier_value(model):
    with model.trace(IDS):
        x = model.transformer.h[0].output
        model.transformer.h[2].skip(x * 2.0)
        logits = model.lm_head.output.save()
    return {"logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  skip transformer.h.1.mlp = aten::zeros([1, 7, 32])
  save block = read transformer.h.1.output
  save logits = read lm_head.output
}
""")
def skip_an_mlp(model):
    with model.trace(IDS):
        model.transformer.h[1].mlp.skip(torch.zeros(1, 7, 32))
        block = model.transformer.h[1].output.save()
        logits = model.lm_head.output.save()
    return {"block": block, "logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %x = read transformer.h.1.attn.input
  skip transformer.h.1.attn = aten::mul(%x, 0.1)
  save logits = read lm_head.output
}
""")
def skip_attention_with_a_tensor(model):
    with model.trace(IDS):
        x = model.transformer.h[1].attn.input
        model.transformer.h[1].attn.skip((x * 0.1, None))
        logits = model.lm_head.output.save()
    return {"logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  skip transformer.h.0 = read transformer.h.0.input
  skip transformer.h.1 = read transformer.h.1.input
  skip transformer.h.2 = read transformer.h.2.input
  save logits = read lm_head.output
}
""")
def skip_every_block(model):
    with model.trace(IDS):
        for layer in model.transformer.h:
            layer.skip(layer.input)
        logits = model.lm_head.output.save()
    return {"logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  skip transformer.ln_f = read transformer.ln_f.input
  save logits = read lm_head.output
}
""")
def skip_the_last_norm(model):
    with model.trace(IDS):
        model.transformer.ln_f.skip(model.transformer.ln_f.input)
        logits = model.lm_head.output.save()
    return {"logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  skip lm_head = aten::ones([1, 7, 97])
  save result = read result
}
""")
def skip_the_head(model):
    with model.trace(IDS) as tracer:
        model.lm_head.skip(torch.ones(1, 7, 97))
        result = tracer.result.logits.save()
    return {"result": result}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  skip transformer.h.1 = aten::neg(read transformer.h.1.input)
  write transformer.h.1.output[:, 0] = 1.0
  save output = read transformer.h.1.output
  save logits = read lm_head.output
}
""")
def a_skipped_output_can_be_written(model):
    with model.trace(IDS):
        model.transformer.h[1].skip(-model.transformer.h[1].input)
        model.transformer.h[1].output[:, 0] = 1.0
        output = model.transformer.h[1].output.save()
        logits = model.lm_head.output.save()
    return {"output": output, "logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  skip transformer.h.1 = read transformer.h.1.input
  save a = read lm_head.output
}
invoke [87, 28, 19, 17, 26, 5, 40] {
  skip transformer.h.1 = aten::mul(read transformer.h.1.input, 2.0)
  save b = read lm_head.output
}
""")
def skips_in_every_invoke(model):
    with model.trace() as tracer:
        with tracer.invoke(IDS):
            model.transformer.h[1].skip(model.transformer.h[1].input)
            a = model.lm_head.output.save()
        with tracer.invoke(OTHER):
            model.transformer.h[1].skip(model.transformer.h[1].input * 2.0)
            b = model.lm_head.output.save()
    return {"a": a, "b": b}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  skip transformer.h.1 = read transformer.h.1.input
  save skipped = read lm_head.output
}
invoke [87, 28, 19, 17, 26, 5, 40] {
  save plain = read lm_head.output
}
""")
def a_skip_in_one_invoke_alone(model):
    # nnsight refuses this; what it gives for each invoke by itself is compared.
    try:
        with model.trace() as tracer:
            with tracer.invoke(IDS):
                model.transformer.h[1].skip(model.transformer.h[1].input)
            with tracer.invoke(OTHER):
                model.lm_head.output.save()
        raise AssertionError("nnsight runs it")
    except ValueError:
        pass
    with model.trace(IDS):
        model.transformer.h[1].skip(model.transformer.h[1].input)
        skipped = model.lm_head.output.save()
    with model.trace(OTHER):
        plain = model.lm_head.output.save()
    return {"skipped": skipped, "plain": plain}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  skip transformer.h.1 = read transformer.h.1.input
  cache [transformer.h.1, transformer.h.2] as acts
}
""")
def a_cache_of_a_skipped_module(model):
    with model.trace(IDS) as tracer:
        cache = tracer.cache(modules=[model.transformer.h[1], model.transformer.h[2]])
        model.transformer.h[1].skip(model.transformer.h[1].input)
    return {
        "acts": {
            f"transformer.h.{i}.output": cache[f"model.transformer.h.{i}"].output for i in (1, 2)
        }
    }


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  save h = read transformer.h.1.output
  stop
}
""")
def stop_after_a_layer(model):
    with model.trace(IDS) as tracer:
        h = model.transformer.h[1].output.save()
        tracer.stop()
    return {"h": h}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.0.output
  write transformer.h.0.output = aten::mul(%h, 2.0)
  save h = read transformer.h.1.mlp.output
  stop
}
""")
def stop_after_an_edit(model):
    with model.trace(IDS) as tracer:
        model.transformer.h[0].output = model.transformer.h[0].output * 2.0
        h = model.transformer.h[1].mlp.output.save()
        tracer.stop()
    return {"h": h}


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  save h = %h
  %big = aten::gt(aten::linalg_vector_norm(%h), 0.0)
  if %big {
    stop
  }
  save logits = read lm_head.output
}
""",
    missing={"logits": "stop"},
)
def stop_where_a_value_says_so(model):
    with model.trace(IDS) as tracer:
        h = model.transformer.h[1].output.save()
        if h.norm() > 0:
            tracer.stop()
        model.lm_head.output.save()
    return {"h": h}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  save a = read transformer.h.0.output
}
invoke [87, 28, 19, 17, 26, 5, 40] {
  save b = read transformer.h.1.output
  stop
}
""")
def stop_ends_the_run_of_all_invokes(model):
    with model.trace() as tracer:
        with tracer.invoke(IDS):
            a = model.transformer.h[0].output.save()
        with tracer.invoke(OTHER):
            b = model.transformer.h[1].output.save()
            tracer.stop()
    return {"a": a, "b": b}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  save early = read transformer.h.0.mlp.output
}
""")
def an_early_read_alone(model):
    with model.trace(IDS):
        early = model.transformer.h[0].mlp.output.save()
    return {"early": early}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  save late = read transformer.h.2.output
  save early = read transformer.h.0.output
}
""")
def reads_written_out_of_order(model):
    # nnsight refuses this order; Weft takes the model's.
    try:
        with model.trace(IDS):
            model.transformer.h[2].output.save()
            model.transformer.h[0].output.save()
        raise AssertionError("nnsight runs it")
    except Exception as error:
        if type(error).__name__ != "OutOfOrderError":
            raise
    with model.trace(IDS):
        early = model.transformer.h[0].output.save()
        late = model.transformer.h[2].output.save()
    return {"late": late, "early": early}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  save block = read transformer.h.0.output
  save attention = read transformer.h.0.attn.c_proj.output
}
""")
def a_child_read_after_its_parent(model):
    with model.trace(IDS):
        attention = model.transformer.h[0].attn.c_proj.output.save()
        block = model.transformer.h[0].output.save()
    return {"block": block, "attention": attention}


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %late = read transformer.h.2.output
  write transformer.h.0.output = %late
  save logits = read lm_head.output
}
""",
    refused="transformer.h.0.output is visited before",
    raises="OutOfOrderError",
)
def a_write_that_needs_a_later_layer(model):
    with model.trace(IDS):
        late = model.transformer.h[2].output
        model.transformer.h[0].output = late
        model.lm_head.output.save()


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  skip transformer.h.1 = read transformer.h.1.input
  save inner = read transformer.h.1.mlp.output
}
""",
    refused="transformer.h.1",
    raises="OutOfOrderError",
)
def a_read_inside_a_skipped_module(model):
    with model.trace(IDS):
        model.transformer.h[1].skip(model.transformer.h[1].input)
        model.transformer.h[1].mlp.output.save()


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  save never = read transformer.h.0.attn.attn_dropout.output
}
""",
    refused="never calls this module",
    raises="OutOfOrderError",
)
def a_module_that_is_never_called(model):
    with model.trace(IDS):
        model.transformer.h[0].attn.attn_dropout.output.save()


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  save never = read transformer.h.7.output
}
""",
    refused="transformer.h.7",
    raises="Error",
)
def a_module_that_is_not_there(model):
    with model.trace(IDS):
        model.transformer.h[7].output.save()


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  write transformer.h.1.output = aten::zeros([1, 7, 31])
  save logits = read lm_head.output
}
""",
    refused="[1, 7, 31]",
    raises="RuntimeError",
)
def a_replacement_of_another_shape(model):
    with model.trace(IDS):
        model.transformer.h[1].output = torch.zeros(1, 7, 31)
        model.lm_head.output.save()


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  save no = aten::matmul(%h, %h)
}
""",
    refused="matmul",
    raises="RuntimeError",
)
def an_operator_on_shapes_that_do_not_fit(model):
    with model.trace(IDS):
        h = model.transformer.h[1].output
        (h @ h).save()


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  save no = %h[:, 9]
}
""",
    refused="9",
    raises="IndexError",
)
def an_index_beyond_the_end(model):
    with model.trace(IDS):
        model.transformer.h[1].output[:, 9].save()


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  save one = aten::ones([2])
  stop
}
"""
)
def stop_before_any_site(model):
    with model.trace(IDS) as tracer:
        one = torch.ones(2).save()
        tracer.stop()
    return {"one": one}


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  save h = %h
  stop
  save result = read result
}
""",
    refused="written after `stop`",
)
def the_result_after_a_stop(model):
    # nnsight does not run what stands behind a stop.
    with model.trace(IDS) as tracer:
        model.transformer.h[1].output.save()
        tracer.stop()
        result = tracer.result.save()
    assert "result" not in locals()


@scenario(
    """
trace
""",
    refused="the trace has no invoke",
    raises="ValueError",
)
def a_trace_without_input(model):
    with model.trace():
        pass


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  save h = read transformer.h.1@1.output
}
""",
    refused="fewer times",
)
def a_visit_that_never_comes(model):
    # nnsight warns when the run has ended, and gives nothing.
    with model.trace(IDS) as tracer:
        visits = nnsight.save([])
        for _ in tracer.iter[1]:
            visits.append(model.transformer.h[1].output)
    assert visits == []


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  save h = read transformer.h.1.output
  save h = read transformer.h.2.output
}
""",
    refused="already saved",
)
def a_name_saved_twice(model):
    # In Python the name is bound anew, and the last value comes back.
    with model.trace(IDS):
        h = model.transformer.h[1].output.save()
        first = h.save()
        h = model.transformer.h[2].output.save()
    assert first is not h


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  skip transformer.h.1 = aten::zeros([1, 7, 31])
  save logits = read lm_head.output
}
""",
    refused="[1, 7, 31]",
    raises="RuntimeError",
)
def a_skip_of_another_shape(model):
    with model.trace(IDS):
        model.transformer.h[1].skip(torch.zeros(1, 7, 31))
        model.lm_head.output.save()


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %late = read transformer.h.2.output
  skip transformer.h.1 = %late
  save logits = read lm_head.output
}
""",
    refused="is visited before transformer.h.2.output",
    raises="OutOfOrderError",
)
def a_skip_that_comes_too_late(model):
    with model.trace(IDS):
        late = model.transformer.h[2].output
        model.transformer.h[1].skip(late)
        model.lm_head.output.save()
