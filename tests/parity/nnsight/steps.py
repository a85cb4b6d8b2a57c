"""Steps of a generation: which are read, edits in them, values that go from one to the next."""

import nnsight
import torch
from common import GENERATE, IDS, NEW, from_step, scenario


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  steps [:] {
    %p = read lm_head.output
    save logits = %p[:, -1]
  }
}
""")
def logits_of_every_step(model):
    with model.generate(IDS, **GENERATE) as tracer:
        logits = nnsight.save([])
        for _ in tracer.iter[:]:
            logits.append(model.lm_head.output[:, -1])
    return {"logits": logits}


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  steps [:] {
    save hidden = read transformer.h.1.output
  }
}
""")
def hidden_states_of_every_step(model):
    with model.generate(IDS, **GENERATE) as tracer:
        hidden = nnsight.save([])
        for _ in tracer.all():
            hidden.append(model.transformer.h[1].output)
    return {"hidden": hidden}


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  steps [:] {
    %p = read lm_head.output
    save tokens = aten::argmax(%p[:, -1], dim=-1)
  }
  save ids = read result
}
""")
def tokens_of_every_step_and_the_result(model):
    with model.generate(IDS, **GENERATE) as tracer:
        tokens = nnsight.save([])
        for _ in tracer.iter[:NEW]:
            tokens.append(model.lm_head.output[:, -1].argmax(-1))
        ids = tracer.result.save()
    return {"tokens": tokens, "ids": ids}


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  steps [2] {
    save hidden = read transformer.h.2.output
  }
}
""")
def one_step(model):
    with model.generate(IDS, **GENERATE) as tracer:
        hidden = nnsight.save([])
        for _ in tracer.iter[2]:
            hidden.append(model.transformer.h[2].output)
    return {"hidden": from_step(2, hidden)}


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  steps [1:3] {
    save hidden = read transformer.h.2.output
  }
}
""")
def a_slice_of_steps(model):
    with model.generate(IDS, **GENERATE) as tracer:
        hidden = nnsight.save([])
        for _ in tracer.iter[1:3]:
            hidden.append(model.transformer.h[2].output)
    return {"hidden": from_step(1, hidden)}


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  steps [0, 2, 4] {
    save hidden = read transformer.h.2.output
  }
}
""")
def a_list_of_steps(model):
    with model.generate(IDS, **GENERATE) as tracer:
        hidden = {}
        nnsight.save(hidden)
        for step in tracer.iter[[0, 2, 4]]:
            hidden[step] = model.transformer.h[2].output
    return {"hidden": hidden}


@scenario(
    """
generate max_new_tokens=3 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  steps [0:6] {
    %p = read lm_head.output
    save tokens = aten::argmax(%p[:, -1], dim=-1)
  }
}
""",
    missing={"tokens": "step"},
)
def steps_beyond_the_end(model):
    with model.generate(IDS, **(GENERATE | {"max_new_tokens": 3})) as tracer:
        tokens = nnsight.save([])
        for _ in tracer.iter[0:6]:
            tokens.append(model.lm_head.output[:, -1].argmax(-1))
    return {"tokens": tokens}


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  steps [:] {
    %h = read transformer.h.1.output
    write transformer.h.1.output = aten::mul(%h, 1.5)
  }
  save ids = read result
}
""")
def an_edit_in_every_step(model):
    with model.generate(IDS, **GENERATE) as tracer:
        for _ in tracer.iter[:NEW]:
            model.transformer.h[1].output = model.transformer.h[1].output * 1.5
        ids = tracer.result.save()
    return {"ids": ids}


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  write transformer.h.1.output = aten::neg(%h)
  save ids = read result
}
""")
def an_edit_outside_of_steps_is_of_the_first(model):
    with model.generate(IDS, **GENERATE) as tracer:
        model.transformer.h[1].output = -model.transformer.h[1].output
        ids = tracer.result.save()
    return {"ids": ids}


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  steps [2] {
    %h = read transformer.h.1.output
    write transformer.h.1.output = aten::neg(%h)
  }
  steps [:] {
    %p = read lm_head.output
    save logits = %p[:, -1]
  }
}
""")
def an_edit_in_one_step(model):
    with model.generate(IDS, **GENERATE) as tracer:
        logits = nnsight.save([])
        for step in tracer.iter[:]:
            if step == 2:
                model.transformer.h[1].output = -model.transformer.h[1].output
            logits.append(model.lm_head.output[:, -1])
    return {"logits": logits}


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  steps [1:] {
    write transformer.h.0.output[:, -1, 0:4] = 2.0
  }
  save ids = read result
  steps [:] {
    %p = read lm_head.output
    save logits = %p[:, -1]
  }
}
""")
def an_edit_of_new_tokens_alone(model):
    with model.generate(IDS, **GENERATE) as tracer:
        logits = nnsight.save([])
        for step in tracer.iter[:NEW]:
            if step >= 1:
                model.transformer.h[0].output[:, -1, 0:4] = 2.0
            logits.append(model.lm_head.output[:, -1])
        ids = tracer.result.save()
    return {"ids": ids, "logits": logits}


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  steps [:] {
    skip transformer.h.1 = read transformer.h.1.input
    %p = read lm_head.output
    save logits = %p[:, -1]
  }
}
""")
def a_block_skipped_in_every_step(model):
    # transformers' cache wants keys and values of every layer, so the block is left out by hand.
    with model.generate(IDS, **(GENERATE | {"use_cache": False})) as tracer:
        logits = nnsight.save([])
        for _ in tracer.iter[:]:
            model.transformer.h[1].skip(model.transformer.h[1].input)
            logits.append(model.lm_head.output[:, -1])
    return {"logits": logits}


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  steps [:] {
    skip transformer.h.1.mlp = aten::zeros_like(read transformer.h.1.mlp.input)
    %p = read lm_head.output
    save logits = %p[:, -1]
  }
}
""")
def an_mlp_skipped_in_every_step(model):
    with model.generate(IDS, **GENERATE) as tracer:
        logits = nnsight.save([])
        for _ in tracer.iter[:]:
            model.transformer.h[1].mlp.skip(torch.zeros_like(model.transformer.h[1].mlp.input))
            logits.append(model.lm_head.output[:, -1])
    return {"logits": logits}


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  steps [:] {
    write lm_head.output[:, :, 7] = 1000.0
  }
  save ids = read result
}
""")
def a_token_that_is_always_chosen(model):
    with model.generate(IDS, **GENERATE) as tracer:
        for _ in tracer.iter[:NEW]:
            model.lm_head.output[:, :, 7] = 1000.0
        ids = tracer.result.save()
    return {"ids": ids}


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  %first = read transformer.h.1.output
  %last = %first[:, -1:]
  steps [1:] {
    %h = read transformer.h.1.output
    write transformer.h.1.output = aten::add(%h, %last)
  }
  save ids = read result
}
""")
def a_value_of_the_first_step_in_later_ones(model):
    with model.generate(IDS, **GENERATE) as tracer:
        for step in tracer.iter[:NEW]:
            if step == 0:
                last = model.transformer.h[1].output[:, -1:].clone()
            else:
                model.transformer.h[1].output = model.transformer.h[1].output + last
        ids = tracer.result.save()
    return {"ids": ids}


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  %zero = aten::zeros([1, 32])
  %total = steps [:] carry %sum = %zero {
    %h = read transformer.h.1.output
    yield aten::add(%sum, %h[:, -1])
  }
  save total = %total
}
""")
def a_sum_over_steps(model):
    with model.generate(IDS, **GENERATE) as tracer:
        total = torch.zeros(1, 32)
        for _ in tracer.iter[:NEW]:
            total = total + model.transformer.h[1].output[:, -1]
        total.save()
    return {"total": total}


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  %zero = aten::zeros([1, 1, 32])
  %last = steps [:] carry %before = %zero {
    %h = read transformer.h.0.output
    %x = %h[:, -1:]
    write transformer.h.0.output[:, -1:] = aten::add(%x, aten::mul(%before, 0.5))
    yield %x
  }
  save ids = read result
  save last = %last
}
""")
def each_step_gets_the_last_ones_value(model):
    with model.generate(IDS, **GENERATE) as tracer:
        before = torch.zeros(1, 1, 32)
        for _ in tracer.iter[:NEW]:
            x = model.transformer.h[0].output[:, -1:].clone()
            model.transformer.h[0].output[:, -1:] = x + before * 0.5
            before = x
        before.save()
        ids = tracer.result.save()
    return {"ids": ids, "last": before}


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  steps [:] {
    %h = read transformer.h.1.output
    %large = aten::gt(aten::sum(%h[:, -1]), 0.0)
    %next = if %large {
      yield aten::mul(%h, 0.5)
    } else {
      yield aten::mul(%h, 2.0)
    }
    write transformer.h.1.output = %next
    %p = read lm_head.output
    save logits = %p[:, -1]
  }
}
""")
def a_choice_in_every_step(model):
    with model.generate(IDS, **GENERATE) as tracer:
        logits = nnsight.save([])
        for _ in tracer.iter[:]:
            h = model.transformer.h[1].output
            model.transformer.h[1].output = h * 0.5 if h[:, -1].sum() > 0 else h * 2.0
            logits.append(model.lm_head.output[:, -1])
    return {"logits": logits}


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  steps [:] {
    %h = read transformer.h.1.output
    save lens = aten::argmax(call lm_head(call transformer.ln_f(%h[:, -1])), dim=-1)
  }
}
""")
def a_logit_lens_in_every_step(model):
    with model.generate(IDS, **GENERATE) as tracer:
        lens = nnsight.save([])
        for _ in tracer.iter[:]:
            h = model.transformer.h[1].output[:, -1]
            lens.append(model.lm_head(model.transformer.ln_f(h)).argmax(-1))
    return {"lens": lens}


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  steps [:] {
    %h = read transformer.h.1.output
    save hidden = %h[:, -1]
    %enough = aten::gt(aten::sum(aten::abs(%h)), -1.0)
    if %enough {
      stop
    }
  }
}
""")
def stop_in_a_step(model):
    with model.generate(IDS, **GENERATE) as tracer:
        hidden = nnsight.save([])
        for _ in tracer.iter[:]:
            h = model.transformer.h[1].output
            hidden.append(h[:, -1])
            if h.abs().sum() > -1.0:
                tracer.stop()
    return {"hidden": hidden}


@scenario(
    """
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  steps [0:5:2] {
    %p = read lm_head.output
    save logits = %p[:, -1]
  }
}
"""
)
def a_stride_of_steps(model):
    # nnsight leaves out the stride of a slice; a list of steps does what it says.
    with model.generate(IDS, **GENERATE) as tracer:
        every = nnsight.save([])
        for step in tracer.iter[0:5:2]:
            every.append(step)
            model.transformer.h[0].output.sum()
    assert every == [0, 1, 2, 3, 4]
    with model.generate(IDS, **GENERATE) as tracer:
        logits = nnsight.save({})
        for step in tracer.iter[[0, 2, 4]]:
            logits[step] = model.lm_head.output[:, -1]
    return {"logits": logits}


@scenario(
    """
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  steps [0:3] {
    save one = aten::ones([2])
  }
}
"""
)
def steps_without_a_site(model):
    # nnsight would go round for ever with `iter[:]`, so the bound is its own.
    with model.generate(IDS, **GENERATE) as tracer:
        ones = nnsight.save([])
        for _ in tracer.iter[0:3]:
            ones.append(torch.ones(2))
    return {"one": ones}


@scenario(
    """
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  steps [-1] {
    save h = read transformer.h.1.output
  }
}
""",
    refused="counted from 0",
    raises="ValueError",
)
def a_negative_step(model):
    with model.generate(IDS, **GENERATE) as tracer:
        for _ in tracer.iter[-1]:
            model.transformer.h[1].output.save()


@scenario(
    """
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  steps [1:3] {
    %h = read transformer.h.1.output
    %early = read transformer.h.0.output
    save late = %h[:, -1]
    save early = %early[:, -1]
  }
}
"""
)
def sites_of_a_step_read_in_any_order(model):
    # In nnsight the second would be that of the step after, so it is read first.
    with model.generate(IDS, **GENERATE) as tracer:
        late, early = nnsight.save([]), nnsight.save([])
        for _ in tracer.iter[1:3]:
            early.append(model.transformer.h[0].output[:, -1])
            late.append(model.transformer.h[1].output[:, -1])
    return {"late": from_step(1, late), "early": from_step(1, early)}


@scenario(
    """
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  steps [0:8] {
    %p = read lm_head.output
    save logits = %p[:, -1]
  }
  save after = aten::ones([3])
}
""",
    missing={"logits": "step"},
)
def what_follows_steps_that_never_came(model):
    # nnsight leaves out what stands behind a loop that was cut short; Weft runs it.
    with model.generate(IDS, **GENERATE) as tracer:
        logits = nnsight.save([])
        for _ in tracer.iter[0:8]:
            logits.append(model.lm_head.output[:, -1])
        after = torch.ones(3).save()
    assert "after" not in locals()
    return {"logits": logits, "after": torch.ones(3)}


@scenario(
    """
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  steps [:] {
    %h = read transformer.h.1.output
  }
  save embedded = read transformer.wte.output
}
"""
)
def a_site_read_after_steps_is_of_the_first(model):
    with model.generate(IDS, **GENERATE):
        embedded = model.transformer.wte.output.save()
    return {"embedded": embedded}
