"""A gRPC server with a method of each kind, and with each way to fail. Messages are plain bytes."""

from concurrent import futures

import grpc

METADATA = (("x-trailer", "one"), ("x-trailer", "two"), ("x-bytes-bin", bytes(range(256))))


def unary(request, context):
    context.send_initial_metadata((("x-header", "first"),))
    context.set_trailing_metadata(METADATA)
    return b"echo " + request


def countdown(request, context):
    context.set_trailing_metadata(METADATA)
    for number in range(int(request), 0, -1):
        yield b"%d" % number


def total(requests, context):
    return b"%d" % sum(int(request) for request in requests)


def chat(requests, context):
    for request in requests:
        yield b"heard " + request


def large(request, context):
    return request * 1000


def refused(request, context):
    context.set_trailing_metadata(METADATA)
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: ü %")


def refused_late(request, context):
    context.send_initial_metadata((("x-header", "first"),))
    context.abort(grpc.StatusCode.PERMISSION_DENIED, "after its head")


def broken(request, context):
    yield b"first"
    yield b"second"
    context.abort(grpc.StatusCode.DATA_LOSS, "after two messages")


METHODS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Countdown": grpc.unary_stream_rpc_method_handler(countdown),
    "Total": grpc.stream_unary_rpc_method_handler(total),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
    "Large": grpc.unary_unary_rpc_method_handler(large),
    "Refused": grpc.unary_unary_rpc_method_handler(refused),
    "RefusedLate": grpc.unary_unary_rpc_method_handler(refused_late),
    "Broken": grpc.unary_stream_rpc_method_handler(broken),
}

server = grpc.server(futures.ThreadPoolExecutor(4), options=(("grpc.so_reuseport", 0),))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Test", METHODS),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print("listening on", port, flush=True)
server.wait_for_termination()
