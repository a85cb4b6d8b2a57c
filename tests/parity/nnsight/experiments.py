"""Experiments that are made of reads and writes: ablation, steering, choices, sweeps."""

import torch
from common import IDS, OTHER, scenario


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %a = read transformer.h.0.output
  aten::mul_(%a, 1.5)
  %b = read transformer.h.1.output
  aten::mul_(%b, 1.5)
  %c = read transformer.h.2.output
  aten::mul_(%c, 1.5)
  save last = %c
  save logits = read lm_head.output
}
""")
def a_write_in_every_layer(model):
    with model.trace(IDS):
        for layer in model.transformer.h:
            layer.output[:] = layer.output * 1.5
        last = layer.output.save()
        logits = model.lm_head.output.save()
    return {"last": last, "logits": logits}


@scenario("""
%neurons = tensor(int64, [4], [3, 50, 77, 120])
invoke [39, 72, 94, 86, 68, 69, 83] {
  write transformer.h.1.mlp.act.output[..., %neurons] = 0.0
  save logits = read lm_head.output
}
""")
def ablation_of_neurons(model):
    with model.trace(IDS):
        model.transformer.h[1].mlp.act.output[..., [3, 50, 77, 120]] = 0.0
        logits = model.lm_head.output.save()
    return {"logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  write transformer.h.1.attn.c_proj.input[..., 8:16] = 0.0
  save logits = read lm_head.output
}
""")
def ablation_of_a_head(model):
    with model.trace(IDS):
        model.transformer.h[1].attn.c_proj.input[..., 8:16] = 0.0
        logits = model.lm_head.output.save()
    return {"logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.mlp.output
  write transformer.h.1.mlp.output = aten::expand_as(aten::mean(%h, [1], true), %h)
  save logits = read lm_head.output
}
""")
def ablation_by_the_mean(model):
    with model.trace(IDS):
        h = model.transformer.h[1].mlp.output
        model.transformer.h[1].mlp.output = h.mean(1, keepdim=True).expand_as(h)
        logits = model.lm_head.output.save()
    return {"logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.0.output
  %v = %h[:, -1]
  %unit = aten::div(%v, aten::linalg_vector_norm(%v, 2, [-1], true))
  %x = read transformer.h.1.output
  %along = aten::matmul(%x, aten::unsqueeze(%unit, -1))
  write transformer.h.1.output = aten::sub(%x, aten::mul(%along, aten::unsqueeze(%unit, 1)))
  save logits = read lm_head.output
}
""")
def a_direction_projected_out(model):
    with model.trace(IDS):
        v = model.transformer.h[0].output[:, -1]
        unit = v / v.norm(dim=-1, keepdim=True)
        x = model.transformer.h[1].output
        along = x @ unit.unsqueeze(-1)
        model.transformer.h[1].output = x - along * unit.unsqueeze(1)
        logits = model.lm_head.output.save()
    return {"logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %happy = read transformer.h.1.output
}
invoke [87, 28, 19, 17, 26, 5, 40] {
  %sad = read transformer.h.1.output
}
invoke [65, 66, 67, 68, 69, 70, 71] {
  %h = read transformer.h.1.output
  %steer = aten::sub(%happy[:, -1], %sad[:, -1])
  write transformer.h.1.output = aten::add(%h, %steer, alpha=4)
  save logits = read lm_head.output
}
""")
def steering_by_a_difference(model):
    with model.trace() as tracer:
        with tracer.invoke(IDS):
            happy = model.transformer.h[1].output[:, -1].save()
        with tracer.invoke(OTHER):
            sad = model.transformer.h[1].output[:, -1].save()
    with model.trace([65, 66, 67, 68, 69, 70, 71]):
        model.transformer.h[1].output[:] += 4 * (happy - sad)
        logits = model.lm_head.output.save()
    return {"logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  %first = aten::clone(%h[:, 1])
  write transformer.h.1.output[:, 1] = %h[:, 5]
  write transformer.h.1.output[:, 5] = %first
  save h = read transformer.h.1.output
  save logits = read lm_head.output
}
""")
def two_tokens_change_places(model):
    with model.trace(IDS):
        h = model.transformer.h[1].output
        first = h[:, 1].clone()
        h[:, 1] = h[:, 5]
        h[:, 5] = first
        h.save()
        logits = model.lm_head.output.save()
    return {"h": h, "logits": logits}


@scenario("""
%u = tensor(float32, [2, 32], [0.1, -0.2, 0.3, -0.4, 0.5, -0.6, 0.7, -0.8, 0.1, -0.2, 0.3, -0.4, 0.5, -0.6, 0.7, -0.8, 0.1, -0.2, 0.3, -0.4, 0.5, -0.6, 0.7, -0.8, 0.1, -0.2, 0.3, -0.4, 0.5, -0.6, 0.7, -0.8, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0])
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  %code = aten::relu(aten::matmul(%h, aten::t(%u)))
  write transformer.h.1.output = aten::matmul(%code, %u)
  save code = %code
  save logits = read lm_head.output
}
""")
def a_small_autoencoder(model):
    wave = [0.1, -0.2, 0.3, -0.4, 0.5, -0.6, 0.7, -0.8] * 4
    u = torch.tensor([wave, [1.0] * 16 + [-1.0] * 16])
    with model.trace(IDS):
        code = torch.relu(model.transformer.h[1].output @ u.T).save()
        model.transformer.h[1].output = code @ u
        logits = model.lm_head.output.save()
    return {"code": code, "logits": logits}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %h = read transformer.h.1.output
  %large = aten::gt(aten::linalg_vector_norm(%h), 1.0)
  %next = if %large {
    yield aten::mul(%h, 0.5)
  } else {
    yield aten::mul(%h, 2.0)
  }
  write transformer.h.1.output = %next
  %small = aten::lt(aten::linalg_vector_norm(%h), 1.0)
  if %small {
    write lm_head.output = aten::zeros([1, 7, 97])
  }
  save logits = read lm_head.output
}
""")
def choices_by_a_value(model):
    with model.trace(IDS):
        h = model.transformer.h[1].output
        norm = h.norm()
        model.transformer.h[1].output = h * 0.5 if norm > 1.0 else h * 2.0
        if norm < 1.0:
            model.lm_head.output = torch.zeros(1, 7, 97)
        logits = model.lm_head.output.save()
    return {"logits": logits}


@scenario("""
sweep %l in [0:3], %v in [0.0, 0.5, 2.0] {
  invoke [39, 72, 94, 86, 68, 69, 83] {
    %h = read transformer.h.$l.output
    write transformer.h.$l.output[:, -1] = aten::mul(%h[:, -1], %v)
    %p = read lm_head.output
    save last = %p[:, -1]
  }
}
""")
def a_loop_of_traces_is_a_sweep(model):
    values = []
    for layer, factor in enumerate([0.0, 0.5, 2.0]):
        with model.trace(IDS):
            model.transformer.h[layer].output[:, -1] *= factor
            last = model.lm_head.output[:, -1].save()
        values.append(last)
    return {"last": values}


@scenario("""
invoke [39, 72, 94, 86, 68, 69, 83] {
  %m = read transformer.h.2.mlp.output
  %h = read transformer.h.1.output
  write transformer.h.2.mlp.output = aten::mul(aten::add(%m, %h), 0.5)
  save logits = read lm_head.output
}
""")
def a_write_from_an_earlier_layer(model):
    with model.trace(IDS):
        h = model.transformer.h[1].output
        m = model.transformer.h[2].mlp.output
        model.transformer.h[2].mlp.output = (m + h) * 0.5
        logits = model.lm_head.output.save()
    return {"logits": logits}
