"""Gradients: of several layers, edited, of several backward passes, across invokes."""

import torch
from common import BATCH, GENERATE, GRADIENTS, IDS, OTHER, scenario


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  %p = read lm_head.output
  backward aten::sum(%p) {
    save g = grad %h
  }
}
""",
    tolerance=GRADIENTS,
)
def gradient_of_an_output(model):
    with model.trace(IDS):
        h = model.transformer.h[1].output
        p = model.lm_head.output
        with p.sum().backward():
            g = h.grad.save()
    return {"g": g}


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h0 = read transformer.h.0.output
  %h1 = read transformer.h.1.output
  %h2 = read transformer.h.2.output
  %p = read lm_head.output
  backward %p[0, -1, 5] {
    save g0 = grad %h0
    save g1 = grad %h1
    save g2 = grad %h2
  }
}
""",
    tolerance=GRADIENTS,
)
def gradients_of_every_layer(model):
    with model.trace(IDS):
        h0 = model.transformer.h[0].output
        h1 = model.transformer.h[1].output
        h2 = model.transformer.h[2].output
        p = model.lm_head.output
        with p[0, -1, 5].backward():
            g2 = h2.grad.save()
            g1 = h1.grad.save()
            g0 = h0.grad.save()
    return {"g0": g0, "g1": g1, "g2": g2}


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %wte = read transformer.wte.output
  %x = read transformer.h.0.input
  %p = read lm_head.output
  backward aten::logsumexp(%p[0, -1], [0]) {
    save embedding = grad %wte
    save block = grad %x
  }
}
""",
    tolerance=GRADIENTS,
)
def gradients_of_embeddings_and_inputs(model):
    with model.trace(IDS):
        wte = model.transformer.wte.output
        x = model.transformer.h[0].input
        p = model.lm_head.output
        with p[0, -1].logsumexp(0).backward():
            block = x.grad.save()
            embedding = wte.grad.save()
    return {"embedding": embedding, "block": block}


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %ln = read transformer.h.1.ln_1.output
  %qkv = read transformer.h.1.attn.c_attn.output
  %act = read transformer.h.1.mlp.act.output
  %mlp = read transformer.h.1.mlp.output
  %p = read lm_head.output
  %loss = aten::cross_entropy_loss(%p[0, 0:6], tensor(int64, [6], [72, 94, 86, 68, 69, 83]))
  backward %loss {
    save mlp = grad %mlp
    save act = grad %act
    save qkv = grad %qkv
    save ln = grad %ln
  }
}
""",
    tolerance=GRADIENTS,
)
def gradients_inside_a_block(model):
    with model.trace(IDS):
        ln = model.transformer.h[1].ln_1.output
        qkv = model.transformer.h[1].attn.c_attn.output
        act = model.transformer.h[1].mlp.act.output
        mlp = model.transformer.h[1].mlp.output
        p = model.lm_head.output
        loss = torch.nn.functional.cross_entropy(p[0, :6], torch.tensor(IDS[1:]))
        with loss.backward():
            g_mlp = mlp.grad.save()
            g_act = act.grad.save()
            g_qkv = qkv.grad.save()
            g_ln = ln.grad.save()
    return {"mlp": g_mlp, "act": g_act, "qkv": g_qkv, "ln": g_ln}


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %a = read transformer.h.1.attn.output
  %p = read lm_head.output
  %a0 = %a[0]
  backward %p[0, -1, 5] {
    save g = grad %a0
  }
}
""",
    tolerance=GRADIENTS,
)
def gradient_of_a_tuples_item(model):
    with model.trace(IDS):
        a = model.transformer.h[1].attn.output[0]
        p = model.lm_head.output
        with p[0, -1, 5].backward():
            g = a.grad.save()
    return {"g": g}


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  %p = read lm_head.output
  backward %p[0, -1, 5] {
    save first = grad %h
  }
  backward %p[0, -1, 9] {
    save second = grad %h
  }
}
""",
    tolerance=GRADIENTS,
)
def two_backward_passes(model):
    with model.trace(IDS):
        h = model.transformer.h[1].output
        p = model.lm_head.output
        with p[0, -1, 5].backward(retain_graph=True):
            first = h.grad.save()
        with p[0, -1, 9].backward():
            second = h.grad.save()
    return {"first": first, "second": second}


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  %p = read lm_head.output
  %like = aten::softmax(%p, -1)
  backward %p from %like {
    save g = grad %h
  }
}
""",
    tolerance=GRADIENTS,
)
def backward_from_a_gradient(model):
    with model.trace(IDS):
        h = model.transformer.h[1].output
        p = model.lm_head.output
        like = p.softmax(-1).detach()
        with p.backward(gradient=like):
            g = h.grad.save()
    return {"g": g}


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  %n = aten::linalg_vector_norm(%h)
  backward %n {
    save g = grad %h
  }
}
""",
    tolerance=GRADIENTS,
)
def gradient_of_a_loss_in_the_middle(model):
    with model.trace(IDS):
        h = model.transformer.h[1].output
        with h.norm().backward():
            g = h.grad.save()
    return {"g": g}


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  %p = read lm_head.output
  backward aten::sum(%p) {
    save a = grad %h
  }
}
invoke [87, 28, 19, 17, 26, 5, 40] {
  %i = read transformer.h.1.output
  %q = read lm_head.output
  backward aten::mul(aten::sum(%q), 3.0) {
    save b = grad %i
  }
}
""",
    tolerance=GRADIENTS,
)
def gradients_in_two_invokes(model):
    with model.trace() as tracer:
        with tracer.invoke(IDS):
            h = model.transformer.h[1].output
            p = model.lm_head.output
            with p.sum().backward(retain_graph=True):
                a = h.grad.save()
        with tracer.invoke(OTHER):
            i = model.transformer.h[1].output
            q = model.lm_head.output
            with (q.sum() * 3.0).backward():
                b = i.grad.save()
    return {"a": a, "b": b}


@scenario(
    """
invoke [[47, 64, 81, 72, 82, 94, 72, 82], [64, 65, 66], [87, 28, 19, 17, 26]] {
  %h = read transformer.h.1.output
  %p = read lm_head.output
  backward aten::sum(%p[:, -1, 5]) {
    %g = grad %h
    save g = %g[:, -3:]
  }
}
""",
    tolerance=GRADIENTS,
)
def gradients_of_padded_prompts(model):
    with model.trace(BATCH):
        h = model.transformer.h[1].output
        p = model.lm_head.output
        with p[:, -1, 5].sum().backward():
            g = h.grad[:, -3:].save()
    return {"g": g}


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h0 = read transformer.h.0.output
  %h2 = read transformer.h.2.output
  %p = read lm_head.output
  backward %p[0, -1, 5] {
    save g0 = grad %h0
    save g2 = grad %h2
  }
}
""",
    tolerance=GRADIENTS,
)
def gradients_read_in_any_order(model):
    # nnsight wants them in reverse order of the forward.
    try:
        with model.trace(IDS):
            h0 = model.transformer.h[0].output
            h2 = model.transformer.h[2].output
            p = model.lm_head.output
            with p[0, -1, 5].backward():
                h0.grad.save()
                h2.grad.save()
        raise AssertionError("nnsight runs it")
    except Exception as error:
        if type(error).__name__ != "OutOfOrderError":
            raise
    with model.trace(IDS):
        h0 = model.transformer.h[0].output
        h2 = model.transformer.h[2].output
        p = model.lm_head.output
        with p[0, -1, 5].backward():
            g2 = h2.grad.save()
            g0 = h0.grad.save()
    return {"g0": g0, "g2": g2}


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  %t = aten::argmax(%h, dim=-1)
  %p = aten::sum(%t)
  backward %p {
    save g = grad %h
  }
}
""",
    refused="a loss is a floating-point tensor",
    raises="Error",
)
def no_gradient_flows_from_integers(model):
    with model.trace(IDS):
        h = model.transformer.h[1].output
        with h.argmax(-1).sum().backward():
            h.grad.save()


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %q = read transformer.h.1.attn.q
  %z = read transformer.h.1.attn.z
  %p = read lm_head.output
  backward %p[0, -1, 5] {
    save z = grad %z
    save q = grad %q
  }
}
""",
    tolerance=GRADIENTS,
)
def gradients_inside_attention(model):
    source = model.transformer.h[1].attn.source
    with model.trace(IDS):
        q = source.attention_interface_1.inputs[0][1]
        z = source.attention_interface_1.output[0]
        p = model.lm_head.output
        with p[0, -1, 5].backward():
            gz = z.grad.transpose(1, 2).save()
            gq = q.grad.save()
    return {"z": gz, "q": gq}


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.0.output
  %g = read transformer.h.1.output
  backward aten::sum(%h) {
    save g = grad %g
  }
}
""",
    refused="depends on none of the values",
    raises="OutOfOrderError",
)
def a_gradient_off_the_path_of_the_loss(model):
    with model.trace(IDS):
        h = model.transformer.h[0].output
        g = model.transformer.h[1].output
        with h.sum().backward():
            g.grad.save()


@scenario(
    """
generate max_new_tokens=2 eos_token_ids=[96]
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.0.output
  backward aten::sum(%h) {
    save g = grad %h
  }
}
""",
    refused="a generation has no gradients",
    raises="NotImplementedError",
)
def a_gradient_in_a_generation(model):
    with model.generate(IDS, **GENERATE):
        h = model.transformer.h[0].output
        with h.sum().backward():
            h.grad.save()


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  %last = %h[:, -1]
  %p = read lm_head.output
  backward %p[0, -1, 5] {
    save last = grad %last
  }
}
""",
    tolerance=GRADIENTS,
)
def gradient_of_a_slice(model):
    # nnsight has no gradient of a view that the model did not use, so it is cut here.
    with model.trace(IDS):
        h = model.transformer.h[1].output
        p = model.lm_head.output
        with p[0, -1, 5].backward():
            last = h.grad[:, -1].save()
    return {"last": last}
