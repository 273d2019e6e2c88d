"""Answers `app <client> <server>`."""

import http.server
import ipaddress
import socket


def name(address):
    ip = ipaddress.ip_address(address[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return f"{ip}:{address[1]}" if ip.version == 4 else f"[{ip}]:{address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        # accept and getpeername must return the same address.
        assert self.client_address == self.connection.getpeername()
        body = f"app {name(self.client_address)} {name(self.connection.getsockname())}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 128

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


Server(("::", 8080), Handler).serve_forever()
