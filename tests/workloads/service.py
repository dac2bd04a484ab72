"""A WSGI application with much that its workers share: each answer depends on the path alone."""
import hashlib
import json

# Made before the workers are forked, read by all of them.
table = {f"key {number}": [number, str(number)] for number in range(60_000)}
keys = list(table)


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/missing":
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"nothing here\n"]
    at = sum(path.encode()) * 97 % 50_000
    values = [table[key] for key in keys[at:at + 2000]]
    body = json.dumps({"path": path, "sum": hashlib.sha256(repr(values).encode()).hexdigest()}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
