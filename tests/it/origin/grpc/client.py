"""Calls every method of server.py at the address it is given, and prints what came of each: a line of JSON per call."""

import json
import queue
import sys

import grpc

OPTIONS = (("grpc.default_authority", "www.example.test"), ("grpc.enable_http_proxy", 0))


def plain(metadata):
    # The versions and encodings that the library itself announces are no metadata of the application's.
    pairs = [(key, value) for key, value in metadata or () if key.startswith("x-")]
    return [[key, value.hex() if isinstance(value, bytes) else value] for key, value in pairs]


def tell(name, messages, call):
    result = {
        "call": name,
        "messages": messages,
        "status": call.code().name,
        "details": call.details(),
        "headers": plain(call.initial_metadata()),
        "trailers": plain(call.trailing_metadata()),
    }
    print(json.dumps(result), flush=True)


def one(name, request):
    try:
        response, call = channel.unary_unary("/test.Test/" + name).with_call(request, timeout=30)
        messages = [response.decode() if len(response) < 100 else len(response)]
    except grpc.RpcError as error:
        messages, call = [], error
    tell(name, messages, call)


def many(name, request):
    call = channel.unary_stream("/test.Test/" + name)(request, timeout=30)
    messages = []
    try:
        for message in call:
            messages.append(message.decode())
    except grpc.RpcError:
        pass
    tell(name, messages, call)


def chat():
    # Each message is sent only when the one before was answered.
    waiting = queue.Queue()
    call = channel.stream_stream("/test.Test/Chat")(iter(waiting.get, None), timeout=30)
    messages = []
    for word in (b"one", b"two", b"three"):
        waiting.put(word)
        messages.append(next(call).decode())
    waiting.put(None)
    messages += [message.decode() for message in call]
    tell("Chat", messages, call)


with grpc.insecure_channel(sys.argv[1], options=OPTIONS) as channel:
    one("Unary", b"hello")
    many("Countdown", b"3")
    many("Countdown", b"0")
    response, call = channel.stream_unary("/test.Test/Total").with_call(
        iter((b"1", b"20", b"300")), timeout=30
    )
    tell("Total", [response.decode()], call)
    chat()
    one("Large", b"x" * 2000)
    one("Refused", b"")
    one("RefusedLate", b"")
    many("Broken", b"")
    one("Unknown", b"")
