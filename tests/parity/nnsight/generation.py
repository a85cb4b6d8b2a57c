"""Generations: their results, several prompts, caches and edits in them."""

import nnsight
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


@scenario(
    """
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
""",
    missing={"logits": "step"},
)
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
