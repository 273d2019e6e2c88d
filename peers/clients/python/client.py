"""Python's http.client and grpcio (the C core of gRPC) as clients.

Each line of standard input is a job in JSON, each line of standard output its record. Jobs run side
by side, and each has connections of its own.
"""

import hashlib
import http.client
import json
import sys
import threading

import grpc

MAXIMUM_TIME = 6
OUTPUT = threading.Lock()


def summary(body):
    """A short body as it is, a long one by its length and checksum."""
    if len(body) <= 200:
        return body.decode("latin-1")
    return f"{len(body)} bytes, SHA-256 {hashlib.sha256(body).hexdigest()}"


def content(call):
    return (call["body"] * call["times"]).encode()


def by_http(job):
    connection = http.client.HTTPConnection(job["host"], job["port"], timeout=MAXIMUM_TIME)

    def perform(call):
        headers, body = call["headers"], content(call)
        try:
            names = [name.lower() for name, _ in headers]
            connection.putrequest(
                call["method"], call["path"], skip_host="host" in names, skip_accept_encoding=True
            )
            for name, value in headers:
                connection.putheader(name, value)
            if call["without_length"]:
                connection.putheader("Transfer-Encoding", "chunked")
                connection.endheaders(iter([body]), encode_chunked=True)
            elif body:
                connection.putheader("Content-Length", str(len(body)))
                connection.endheaders(body)
            else:
                connection.endheaders()
            response = connection.getresponse()
            fields = sorted(f"{name.lower()}: {value}" for name, value in response.getheaders())
            status = f"{response.version} {response.status} {response.reason}"
            return {"status": status, "fields": fields, "body": summary(response.read())}
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            return {"error": repr(error)}

    return perform, connection.close


def by_grpc(job):
    target = job.get("target") or "ipv4:{host}:{port}"
    # A channel of its own, even if another job has one with the same target.
    options = [("grpc.use_local_subchannel_pool", 1)]
    if "authority" in job:
        options.append(("grpc.default_authority", job["authority"]))
    channel = grpc.insecure_channel(
        target.replace("{host}", job["host"]).replace("{port}", str(job["port"])), options
    )

    def fields(metadata):
        return sorted(f"{name}: {value}" for name, value in metadata or ())

    def perform(call):
        messages = iter([content(call)] * call["messages"])
        stream = channel.stream_stream(call["path"])(
            messages,
            timeout=MAXIMUM_TIME,
            metadata=[(name.lower(), value) for name, value in call["headers"]],
        )
        parts = []
        try:
            for part in stream:
                parts.append(part)
        except grpc.RpcError:
            pass
        return {
            "status": stream.code().name,
            "error": stream.details(),
            "fields": fields(stream.initial_metadata()),
            "trailers": fields(stream.trailing_metadata()),
            "body": summary(b"".join(parts)),
        }

    return perform, channel.close


def run(job):
    perform, end = (by_grpc if job["protocol"] == "grpc" else by_http)(job)
    answers = [None] * len(job["calls"])

    def one(index):
        answers[index] = perform(job["calls"][index])

    if job["parallel"]:
        threads = [threading.Thread(target=one, args=[index]) for index in range(len(answers))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    else:
        for index in range(len(answers)):
            one(index)
    end()
    with OUTPUT:
        print(json.dumps({"id": job["id"], "answers": answers}), flush=True)


for line in sys.stdin:
    threading.Thread(target=run, args=[json.loads(line)], daemon=True).start()
