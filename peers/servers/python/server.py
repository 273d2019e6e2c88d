"""Python's http.server and grpcio (the C core of gRPC) as servers: `server.py KIND PORT RECORD`.

The file RECORD gets a line of JSON for each request, when the server has done with it.
"""

import hashlib
import http.server
import json
import socket
import sys
from concurrent import futures

KIND, PORT, RECORD = sys.argv[1], int(sys.argv[2]), open(sys.argv[3], "a", buffering=1)


def summary(body):
    """A short body as it is, a long one by its length and checksum."""
    if len(body) <= 200:
        return body.decode("latin-1")
    return f"{len(body)} bytes, SHA-256 {hashlib.sha256(body).hexdigest()}"


def record(**seen):
    RECORD.write(json.dumps(seen) + "\n")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Otherwise each response takes 40 ms, since the server sends it in two pieces.
    disable_nagle_algorithm = True

    def serve(self):
        body, error = b"", ""
        try:
            if self.path.startswith("/early"):
                self.close_connection = True
                return self.answer(413, b"too large\n")
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                body = self.chunks()
            else:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.close_connection |= self.path.startswith("/close")
            self.answer(200, f"{self.command} {len(body)}\n".encode())
        except (OSError, ValueError) as problem:
            error = repr(problem)
            raise
        finally:
            record(
                protocol=self.request_version,
                method=self.command,
                target=self.path,
                user=self.headers.get("x-user", ""),
                fields=[f"{name}: {value}" for name, value in self.headers.items()],
                body=summary(body),
                error=error,
            )

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_SOURCE = serve

    def answer(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def chunks(self):
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET


def serve_grpc():
    import grpc

    def echo(method, head):
        def serve(messages, context):
            got, error = [], ""
            context.set_trailing_metadata([("x-end", "yes")])
            try:
                for message in messages:
                    got.append(message)
                    yield message
            except Exception as problem:
                error = type(problem).__name__
                raise
            finally:
                record(
                    protocol="gRPC",
                    target=method,
                    # grpcio shows the authority to no handler, only in its own structure.
                    authority=context._rpc_event.call_details.host.decode("latin-1"),
                    user=dict(head).get("x-user", ""),
                    fields=sorted(f"{name}: {value}" for name, value in head),
                    body=summary(b"".join(got)),
                    error=error,
                )
            if method.endswith("Fail"):
                context.abort(grpc.StatusCode.DATA_LOSS, "lost: 100 % of it")

        return serve

    class Handler(grpc.GenericRpcHandler):
        def service(self, details):
            serve = echo(details.method, details.invocation_metadata)
            return grpc.stream_stream_rpc_method_handler(serve)

    server = grpc.server(futures.ThreadPoolExecutor(32), handlers=[Handler()])
    server.add_insecure_port(f"0.0.0.0:{PORT}")
    server.start()
    server.wait_for_termination()


if KIND == "grpc":
    serve_grpc()
else:
    Server(("0.0.0.0", PORT), Handler).serve_forever()
