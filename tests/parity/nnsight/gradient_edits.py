"""Gradients that are changed, and what is made of gradients."""

import torch
from common import GRADIENTS, IDS, OTHER, scenario


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h0 = read transformer.h.0.output
  %h1 = read transformer.h.1.output
  %p = read lm_head.output
  backward %p[0, -1, 5] {
    %g1 = grad %h1
    grad %h1 = aten::mul(%g1, 2.0)
    save g0 = grad %h0
  }
}
""",
    tolerance=GRADIENTS,
)
def a_gradient_is_scaled(model):
    with model.trace(IDS):
        h0 = model.transformer.h[0].output
        h1 = model.transformer.h[1].output
        p = model.lm_head.output
        with p[0, -1, 5].backward():
            h1.grad = h1.grad * 2.0
            g0 = h0.grad.save()
    return {"g0": g0}


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h0 = read transformer.h.0.output
  %h1 = read transformer.h.1.output
  %p = read lm_head.output
  backward aten::sum(%p) {
    %g1 = grad %h1
    %z = aten::clone(%g1)
    %z[:, 0:3] = 0.0
    grad %h1 = %z
    save g1 = grad %h1
    save g0 = grad %h0
  }
}
""",
    tolerance=GRADIENTS,
)
def an_edited_gradient_is_read_again(model):
    with model.trace(IDS):
        h0 = model.transformer.h[0].output
        h1 = model.transformer.h[1].output
        p = model.lm_head.output
        with p.sum().backward():
            z = h1.grad.clone()
            z[:, 0:3] = 0.0
            h1.grad = z
            g1 = h1.grad.save()
            g0 = h0.grad.save()
    return {"g1": g1, "g0": g0}


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h0 = read transformer.h.0.output
  %m1 = read transformer.h.1.mlp.output
  %p = read lm_head.output
  backward %p[0, -1, 5] {
    %g = grad %m1
    grad %m1 = aten::zeros_like(%g)
    save g0 = grad %h0
  }
}
""",
    tolerance=GRADIENTS,
)
def a_path_without_gradient(model):
    with model.trace(IDS):
        h0 = model.transformer.h[0].output
        m1 = model.transformer.h[1].mlp.output
        p = model.lm_head.output
        with p[0, -1, 5].backward():
            m1.grad = torch.zeros_like(m1.grad)
            g0 = h0.grad.save()
    return {"g0": g0}


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.0.output
  %x = aten::mul(%h, 1.5)
  write transformer.h.0.output = %x
  %p = read lm_head.output
  backward %p[0, -1, 5] {
    save gx = grad %x
    save gh = grad %h
  }
}
""",
    tolerance=GRADIENTS,
)
def gradients_through_an_edit(model):
    with model.trace(IDS):
        h = model.transformer.h[0].output
        x = h * 1.5
        model.transformer.h[0].output = x
        p = model.lm_head.output
        with p[0, -1, 5].backward():
            gx = x.grad.save()
            gh = h.grad.save()
    return {"gx": gx, "gh": gh}


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  %p = read lm_head.output
  backward %p[0, -1, 5] {
    %g = grad %h
    save attribution = aten::sum(aten::mul(%g, %h), [-1])
  }
}
""",
    tolerance=GRADIENTS,
)
def activation_times_gradient(model):
    with model.trace(IDS):
        h = model.transformer.h[1].output
        p = model.lm_head.output
        with p[0, -1, 5].backward():
            attribution = (h.grad * h).sum(-1).save()
    return {"attribution": attribution}


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %clean = read transformer.h.1.output
}
invoke [87, 28, 19, 17, 26, 5, 40] {
  %h = read transformer.h.1.output
  %p = read lm_head.output
  backward aten::sub(%p[0, -1, 5], %p[0, -1, 9]) {
    %g = grad %h
    save effect = aten::sum(aten::mul(%g, aten::sub(%clean, %h)), [-1])
  }
}
""",
    tolerance=GRADIENTS,
)
def attribution_patching(model):
    with model.trace() as tracer:
        barrier = tracer.barrier(2)
        with tracer.invoke(IDS):
            clean = model.transformer.h[1].output
            barrier()
        with tracer.invoke(OTHER):
            barrier()
            h = model.transformer.h[1].output
            p = model.lm_head.output
            with (p[0, -1, 5] - p[0, -1, 9]).backward():
                effect = (h.grad * (clean - h)).sum(-1).save()
    return {"effect": effect}


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h0 = read transformer.h.0.output
  %h = read transformer.h.1.output
  %p = read lm_head.output
  backward aten::sum(%p) {
    grad %h = aten::mul(grad %h, 2.0)
    save a = grad %h0
  }
}
invoke [87, 28, 19, 17, 26, 5, 40] {
  %i0 = read transformer.h.0.output
  %q = read lm_head.output
  backward aten::sum(%q) {
    save b = grad %i0
  }
}
""",
    tolerance=GRADIENTS,
)
def an_edited_gradient_stays_in_its_invoke(model):
    with model.trace() as tracer:
        with tracer.invoke(IDS):
            h0 = model.transformer.h[0].output
            h = model.transformer.h[1].output
            p = model.lm_head.output
            with p.sum().backward(retain_graph=True):
                h.grad = h.grad * 2.0
                a = h0.grad.save()
        with tracer.invoke(OTHER):
            i0 = model.transformer.h[0].output
            q = model.lm_head.output
            with q.sum().backward():
                b = i0.grad.save()
    return {"a": a, "b": b}


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  %s = aten::detach(%h)
  write transformer.h.1.output = %s
  %p = read lm_head.output
  %t = aten::sum(%p)
  backward aten::add(%t, aten::sum(%h)) {
    save g = grad %h
  }
}
""",
    tolerance=GRADIENTS,
)
def a_detached_value_stops_gradients(model):
    with model.trace(IDS):
        h = model.transformer.h[1].output
        model.transformer.h[1].output = h.detach()
        p = model.lm_head.output
        with (p.sum() + h.sum()).backward():
            g = h.grad.save()
    return {"g": g}


@scenario(
    """
invoke [39, 72, 94, 86, 68, 69, 83] {
  skip transformer.h.1 = read transformer.h.1.input
  %h = read transformer.h.0.output
  %p = read lm_head.output
  backward %p[0, -1, 5] {
    save g = grad %h
  }
}
""",
    tolerance=GRADIENTS,
)
def gradients_past_a_skipped_block(model):
    with model.trace(IDS):
        h = model.transformer.h[0].output
        model.transformer.h[1].skip(model.transformer.h[1].input)
        p = model.lm_head.output
        with p[0, -1, 5].backward():
            g = h.grad.save()
    return {"g": g}
