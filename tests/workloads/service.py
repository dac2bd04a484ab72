"""A WSGI application with much that its workers share: each answer depends on the path alone, and looks at a part of it that
few others look at. As a script it tells what it answers to the paths from /0 on, as many as it is told."""
import hashlib
import json
import sys

# Made before the workers are forked, read by all of them.
table = {f"key {number}": [number, str(number)] for number in range(300_000)}
keys = list(table)


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path.endswith("7"):
        body = b"nothing here\n"
        start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]
    at = int(path[1:]) * 7919 % 299_980
    values = [table[key] for key in keys[at:at + 20]]
    body = json.dumps({"path": path, "sum": hashlib.sha256(repr(values).encode()).hexdigest()}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


if __name__ == "__main__":
    def answer(path):
        status = []
        body = b"".join(application({"PATH_INFO": path}, lambda line, headers: status.append(line)))
        return status[0], body.decode()
    print(json.dumps([answer(f"/{number}") for number in range(int(sys.argv[1]))]))
