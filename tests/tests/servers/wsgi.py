"""An application for gunicorn: files, an echo, and a response in chunks."""

import os
from wsgiref.util import FileWrapper


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if environ["REQUEST_METHOD"] in ("POST", "PUT"):
        body = environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    name = os.environ["ROOT"] + ("/hello" if path == "/stream" else path)
    if not os.path.isfile(name):
        start_response("404 Not Found", [("Content-Length", "5")])
        return [b"none\n"]
    if path == "/stream":
        start_response("200 OK", [])
        return FileWrapper(open(name, "rb"), 7)
    start_response("200 OK", [("Content-Length", str(os.path.getsize(name)))])
    if environ["REQUEST_METHOD"] == "HEAD":
        return []
    return environ["wsgi.file_wrapper"](open(name, "rb"))
