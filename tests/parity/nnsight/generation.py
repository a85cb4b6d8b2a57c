"""Generations: results, steps, edits in them, several prompts."""

import nnsight
import torch
from common import BATCH, GENERATE, IDS, NEW, OTHER, SHORT, from_step, scenario


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  save ids = read result
}
""")
def generated_ids(model):
    with model.generate(IDS, **GENERATE) as tracer:
        ids = tracer.result.save()
    return {"ids": ids}


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke "Hi weft" {
  save ids = read result
}
""")
def generation_from_a_string(model):
    with model.generate("Hi weft", **GENERATE) as tracer:
        ids = tracer.result.save()
    return {"ids": ids}


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
  steps [:] {
    %p = read lm_head.output
    save tokens = aten::argmax(%p[:, -1], dim=-1)
  }
}
""")
def a_streamers_tokens(model):
    with model.generate(IDS, **GENERATE) as tracer:
        pieces = nnsight.save([])
        for _ in tracer.iter[:]:
            pieces.append(model.generator.streamer.output)
    # The first piece is the prompt; each other is the token of the step before it.
    return {"tokens": [piece.flatten() for piece in pieces[1:]]}


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


@scenario("""
generate max_new_tokens=3 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  steps [0:6] {
    %p = read lm_head.output
    save tokens = aten::argmax(%p[:, -1], dim=-1)
  }
}
""", missing={"tokens": "step"})
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
  steps [2] {
    write lm_head.output[:, -1, 96] = 1000.0
  }
  save ids = read result
  steps [0:5] {
    %p = read lm_head.output
    save logits = %p[:, -1]
  }
}
""", missing={"logits": "step"})
def a_generation_that_ends_early(model):
    with model.generate(IDS, **GENERATE) as tracer:
        logits = nnsight.save([])
        for step in tracer.iter[:3]:
            if step == 2:
                model.lm_head.output[:, -1, 96] = 1000.0
            logits.append(model.lm_head.output[:, -1])
        ids = tracer.result.save()
    return {"ids": ids, "logits": logits}


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
generate max_new_tokens=3 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  steps [:] {
    save probs = read transformer.h.1.attn.probs
  }
}
""")
def attention_of_every_step(model):
    source = model.transformer.h[1].attn.source
    with model.generate(IDS, **(GENERATE | {"max_new_tokens": 3})) as tracer:
        probs = nnsight.save([])
        for _ in tracer.iter[:]:
            probs.append(source.attention_interface_1.output[1])
    return {"probs": probs}


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  cache [transformer.h.1] as acts
}
""")
def a_cache_of_a_generation(model):
    with model.generate(IDS, **GENERATE) as tracer:
        cache = tracer.cache(modules=[model.transformer.h[1]])
    visits = cache["model.transformer.h.1"].output
    assert len(visits) == NEW
    names = ["transformer.h.1.output"] + [f"transformer.h.1@{i}.output" for i in range(1, NEW)]
    return {"acts": dict(zip(names, visits, strict=True))}


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  save a = read result
}
invoke [87, 28, 19, 17, 26, 5, 40] {
  save b = read result
}
""")
def invokes_generate_side_by_side(model):
    with model.generate(**GENERATE) as tracer:
        with tracer.invoke(IDS):
            a = tracer.result.save()
        with tracer.invoke(OTHER):
            b = tracer.result.save()
    return {"a": a, "b": b}


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  steps [:] {
    %h = read transformer.h.1.output
    write transformer.h.1.output = aten::mul(%h, 2.0)
    %p = read lm_head.output
    save edited = %p[:, -1]
  }
}
invoke [87, 28, 19, 17, 26, 5, 40] {
  steps [1:4] {
    %q = read lm_head.output
    save plain = %q[:, -1]
  }
}
""")
def each_invoke_counts_its_own_steps(model):
    with model.generate(**GENERATE) as tracer:
        with tracer.invoke(IDS):
            edited = nnsight.save([])
            for _ in tracer.iter[:]:
                model.transformer.h[1].output = model.transformer.h[1].output * 2.0
                edited.append(model.lm_head.output[:, -1])
        with tracer.invoke(OTHER):
            plain = nnsight.save([])
            for _ in tracer.iter[1:4]:
                plain.append(model.lm_head.output[:, -1])
    return {"edited": edited, "plain": from_step(1, plain)}


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  save long = read result
}
invoke [64, 65, 66] {
  save short = read result
}
""")
def prompts_of_different_lengths_generate(model):
    # nnsight's second result begins with the pads that Weft does not have.
    with model.generate(**GENERATE) as tracer:
        with tracer.invoke(IDS):
            long = tracer.result.save()
        with tracer.invoke(SHORT):
            short = tracer.result[:, 4:].save()
    return {"long": long, "short": short}


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [[47, 64, 81, 72, 82, 94, 72, 82], [64, 65, 66], [87, 28, 19, 17, 26]] {
  %ids = read result
  save new = %ids[:, 8:]
  steps [:] {
    %p = read lm_head.output
    save logits = %p[:, -1]
  }
}
""")
def a_padded_batch_generates(model):
    with model.generate(BATCH, **GENERATE) as tracer:
        logits = nnsight.save([])
        for _ in tracer.iter[:NEW]:
            logits.append(model.lm_head.output[:, -1])
        new = tracer.result[:, 8:].save()
    return {"new": new, "logits": logits}


@scenario("""
trace
invoke [87, 28, 19, 17, 26, 5, 40] {
  %h = read transformer.h.1.output
}
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  write transformer.h.1.output[:, -1] = %h[:, -1]
  save ids = read result
}
""")
def a_session_that_ends_in_a_generation(model):
    with model.session():
        with model.trace(OTHER):
            h = model.transformer.h[1].output[:, -1]
        with model.generate(IDS, **GENERATE) as tracer:
            model.transformer.h[1].output[:, -1] = h
            ids = tracer.result.save()
    return {"ids": ids}


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  steps [:] {
    write transformer.h.1.output[:, -1, 0:8] = 0.0
  }
  save ids = read result
  steps [:] {
    %p = read lm_head.output
    save logits = %p[:, -1]
  }
}
""")
def an_edit_with_all_steps_acts_in_a_generation(model):
    with model.edit(inplace=True) as tracer:
        for _ in tracer.iter[:]:
            model.transformer.h[1].output[:, -1, 0:8] = 0.0
    with model.generate(IDS, **GENERATE) as tracer:
        logits = nnsight.save([])
        for _ in tracer.iter[:NEW]:
            logits.append(model.lm_head.output[:, -1])
        ids = tracer.result.save()
    return {"ids": ids, "logits": logits}


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


@scenario("""
generate max_new_tokens=4 min_new_tokens=4 eos_token_ids=[7]
invoke [39, 72, 94, 86, 68, 69, 83] {
  steps [:] {
    write lm_head.output[:, :, 7] = 1000.0
  }
  save ids = read result
}
""")
def a_least_number_of_new_tokens(model):
    options = GENERATE | {"max_new_tokens": 4, "min_new_tokens": 4, "eos_token_id": 7}
    with model.generate(IDS, **options) as tracer:
        for _ in tracer.iter[:4]:
            model.lm_head.output[:, :, 7] = 1000.0
        ids = tracer.result.save()
    return {"ids": ids}


@scenario("""
generate max_new_tokens=5 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  %clean = read transformer.h.1.output
}
invoke [87, 28, 19, 17, 26, 5, 40] {
  write transformer.h.1.output[:, -1] = %clean[:, -1]
  save ids = read result
}
""")
def a_patch_before_a_generation(model):
    with model.generate(**GENERATE) as tracer:
        barrier = tracer.barrier(2)
        with tracer.invoke(IDS):
            clean = model.transformer.h[1].output[:, -1]
            barrier()
        with tracer.invoke(OTHER):
            barrier()
            model.transformer.h[1].output[:, -1] = clean
            ids = tracer.result.save()
    return {"ids": ids}
