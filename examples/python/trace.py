#!/usr/bin/env python3
"""Patch an activation of one prompt into another, with nothing but the .proto files.

usage: WEFT_API_KEY=... trace.py HOST:PORT PROTO_FOLDER
Needs protoc and Python's packages grpc and protobuf.
"""

import os
import struct
import subprocess
import sys
import tempfile

import grpc

target, protos = sys.argv[1:3]
with tempfile.TemporaryDirectory() as made:
    files = ["weft/v1/program.proto", "weft/v1/weft.proto"]
    subprocess.run(["protoc", f"-I{protos}", f"--python_out={made}", *files], check=True)
    sys.path.insert(0, made)
    from weft.v1 import program_pb2 as p
    from weft.v1 import weft_pb2 as w

nodes = []


def add(parent, **kind):
    """A node's id is its place in the list, from 1."""
    nodes.append(p.Node(parent=parent, **kind))
    return len(nodes)


layer = p.Site(module="transformer.h.1", point=p.Site.POINT_OUTPUT)
logits = p.Site(module="lm_head", point=p.Site.POINT_OUTPUT)
last = [p.IndexTerm(slice=p.Slice()), p.IndexTerm(integer=-1)]  # [:, -1]

trace = add(0, trace=p.Trace(mode=p.Trace.MODE_FORWARD))
rome = add(trace, invoke=p.Invoke(prompts=p.Prompts(texts=["The Colosseum is in the city of"])))
hidden = add(rome, index=p.Index(target=add(rome, read=p.Read(site=layer)), terms=last))
paris = add(trace, invoke=p.Invoke(prompts=p.Prompts(texts=["The Eiffel Tower is in the city of"])))
add(paris, write=p.Write(site=layer, index=last, value=hidden))
answer = add(paris, index=p.Index(target=add(paris, read=p.Read(site=logits)), terms=last))
dimension = p.Argument(name="dim", integer=-1)
best = p.Operator(name="aten::argmax", arguments=[p.Argument(node=answer), dimension])
add(paris, save=p.Save(name="token", value=add(paris, op=best)))

channel = grpc.insecure_channel(target)
key = [("authorization", "Bearer " + os.environ["WEFT_API_KEY"])]
bytes_of, weft = lambda message: message.SerializeToString(), "/weft.v1.Weft/"
run = channel.unary_stream(weft + "Run", bytes_of, w.RunEvents.FromString)
request = w.RunRequest(model="atlas", program=p.Program(nodes=nodes))
data = b""  # a larger result comes in several chunks, and each names its tensor
for message in run(request, metadata=key, timeout=60):
    data += b"".join(event.chunk.data for event in message.events)
token = p.TokenRow(ids=struct.unpack("<q", data))
detokenize = channel.unary_unary(weft + "Detokenize", bytes_of, w.DetokenizeResponse.FromString)
print(detokenize(w.DetokenizeRequest(model="atlas", rows=[token]), metadata=key).texts[0])
