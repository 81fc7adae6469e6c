"""A policy server: what stands in a directory, over HTTPS, with entity tags.

    server.py DIRECTORY CERTIFICATE KEY [CLIENT_CA]

Prints its port, then a line for each answer: its status, and the entity tag that the client knew.
"""

import hashlib
import http.server
import pathlib
import ssl
import sys

directory = pathlib.Path(sys.argv[1])


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.headers.get("If-None-Match", "-")
        path = directory / self.path.lstrip("/")
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/policy.toml")
            self.send_header("Content-Length", "0")
            self.end_headers()
            status = 302
        elif not path.is_file():
            self.send_error(404)
            status = 404
        else:
            body = path.read_bytes()
            tag = '"' + hashlib.sha256(body).hexdigest()[:16] + '"'
            status = 304 if known == tag else 200
            self.send_response(status)
            self.send_header("ETag", tag)
            if status == 200:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if status == 200:
                self.wfile.write(body)
        print(status, known, flush=True)

    def log_message(self, *args):
        pass


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
if len(sys.argv) > 4:
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(sys.argv[4])
port = int((directory / "port").read_text()) if (directory / "port").exists() else 0
http.server.ThreadingHTTPServer.allow_reuse_address = True
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
(directory / "port").write_text(str(server.server_port))
print("port", server.server_port, flush=True)
server.serve_forever()
