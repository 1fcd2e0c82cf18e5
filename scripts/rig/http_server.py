"""One HTTP backend for scripts/real-clients: http_server.py NAME PORT DIRECTORY.

It names itself in X-Backend. Some of its paths misbehave, so that the client's view of an end can
be compared: what closes early, what resets, what answers without headers.
"""

import hashlib
import os
import socket
import struct
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME, PORT, DIRECTORY = sys.argv[1], int(sys.argv[2]), sys.argv[3]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/who":
            self.answer(f"{NAME} {self.request_version}\n".encode())
        elif path == "/peer":
            self.answer(f"{self.client_address[1]}\n".encode())
        elif path == "/bare":
            # The answer of HTTP/0.9: bytes, and the end of the connection is their end.
            self.send_file("small")
            self.close_connection = True
        elif path in ("/cut", "/reset"):
            self.head(1_000_000)
            self.wfile.write(bytes(500_000))
            self.close_connection = True
            if path == "/reset":
                once_closed_reset(self.connection)
        elif path.startswith("/file/"):
            name = os.path.basename(path)
            self.head(os.path.getsize(os.path.join(DIRECTORY, name)))
            self.send_file(name)
        else:
            self.send_error(404)

    def do_PUT(self):
        if self.path == "/refused":
            # Neither read nor asked for: the answer comes before the body.
            self.answer(b"too large\n", status=413)
            self.close_connection = True
            return
        digest = hashlib.sha256()
        for chunk in self.body():
            digest.update(chunk)
        self.answer(digest.hexdigest().encode() + b"\n")

    do_POST = do_PUT

    def handle_expect_100(self):
        return True if self.path == "/refused" else super().handle_expect_100()

    def body(self):
        """What was uploaded, with a length or in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            yield from self.exactly(int(self.headers["Content-Length"]))
            return
        while size := int(self.rfile.readline(), 16):
            yield from self.exactly(size)
            self.rfile.readline()
        self.rfile.readline()

    def exactly(self, size):
        while size:
            chunk = self.rfile.read(min(size, 1 << 16))
            if not chunk:
                raise ConnectionError("the upload ended early")
            size -= len(chunk)
            yield chunk

    def answer(self, body, status=200):
        self.head(len(body), status)
        self.wfile.write(body)

    def head(self, size, status=200):
        self.send_response(status)
        self.send_header("Content-Length", str(size))
        self.send_header("X-Backend", NAME)
        self.end_headers()

    def send_file(self, name):
        with open(os.path.join(DIRECTORY, name), "rb") as file:
            self.connection.sendfile(file)


def once_closed_reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Server(ThreadingHTTPServer):
    request_queue_size = 256

    def shutdown_request(self, request):
        # No shutdown before the close: a FIN would come before the reset.
        if request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == struct.pack("ii", 1, 0):
            request.close()
        else:
            super().shutdown_request(request)


Server(("127.0.0.1", PORT), Handler).serve_forever()
