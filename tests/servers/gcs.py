"""A small, strict server of the calls to Google Cloud Storage that are made here. It is not Google's, and no emulator of
the rest: written from the published JSON API (Objects: insert, get, list, delete; batch requests), it refuses whatever it
does not know. Objects are in memory.

usage: gcs.py PORT BUCKET
"""
import base64
import hashlib
import itertools
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit

BUCKET = sys.argv[2]
OBJECTS, UPLOADS, LOCK, GENERATIONS = {}, {}, threading.Lock(), itertools.count(1_700_000_000_000_000)
MOST_LISTED = 1000


def resource(name):
    generation, data = OBJECTS[name]
    return {
        "kind": "storage#object", "name": name, "bucket": BUCKET, "size": str(len(data)), "generation": str(generation),
        "etag": base64.b64encode(str(generation).encode()).decode(), "updated": "2026-01-01T00:00:00.000Z",
        "md5Hash": base64.b64encode(hashlib.md5(data).digest()).decode(), "contentType": "application/octet-stream",
    }


class Refused(Exception):
    def __init__(self, status, reason):
        super().__init__(reason)
        self.status, self.reason = status, reason


def only(query, *known):
    for name in query:
        if name not in known:
            raise Refused(400, f"unknown parameter {name}")
    return {name: values[0] for name, values in query.items()}


def delete(name):
    with LOCK:
        if name not in OBJECTS:
            raise Refused(404, "notFound")
        del OBJECTS[name]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", kind="application/json", headers=()):
        if isinstance(body, dict):
            body = json.dumps(body).encode()
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def handle_call(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        query = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        try:
            self.route(parts.path, query, body)
        except Refused as refused:
            error = {"code": refused.status, "message": refused.reason, "errors": [{"reason": refused.reason}]}
            self.answer(refused.status, {"error": error})

    do_GET = do_POST = do_DELETE = do_PUT = do_HEAD = handle_call

    def route(self, path, query, body):
        objects = f"/storage/v1/b/{BUCKET}/o"
        if not path.startswith("/batch/") and f"/b/{BUCKET}/" not in path + "/":
            raise Refused(404, "The specified bucket does not exist.")
        if self.command == "POST" and path == f"/upload{objects}":
            return self.insert(only(query, "uploadType", "name", "ifGenerationMatch"), body)
        if self.command in ("PUT", "DELETE") and path == f"/upload{objects}":
            return self.resume(only(query, "uploadType", "name", "upload_id"), body)
        if self.command == "POST" and path == "/batch/storage/v1":
            return self.batch(body)
        if self.command == "GET" and path == objects:
            return self.list(only(query, "prefix", "delimiter", "maxResults", "pageToken", "startOffset"))
        if path.startswith(f"{objects}/"):
            name = path[len(objects) + 1 :]
            if "/" in name:
                raise Refused(400, "a name's slashes are encoded")
            name = unquote(name)
            if self.command == "GET":
                return self.get(name, only(query, "alt"))
            if self.command == "DELETE":
                only(query)
                delete(name)
                return self.answer(204)
        raise Refused(400, f"unknown call {self.command} {path}")

    def insert(self, query, body):
        name = query.get("name")
        if not name or query.get("uploadType") not in ("media", "multipart", "resumable"):
            raise Refused(400, f"unknown upload {query}")
        if query["uploadType"] == "resumable":
            json.loads(body)
            self.check(name, query.get("ifGenerationMatch"))
            number = str(next(GENERATIONS))
            with LOCK:
                UPLOADS[number] = (name, query.get("ifGenerationMatch"), b"")
            host = self.headers["Host"]
            place = f"http://{host}/upload/storage/v1/b/{BUCKET}/o?uploadType=resumable&name={quote(name, safe='')}&upload_id={number}"
            return self.answer(200, headers=[("Location", place)])
        if query["uploadType"] == "multipart":
            kind, _, boundary = self.headers.get("Content-Type", "").partition("; boundary=")
            if kind != "multipart/related":
                raise Refused(400, f"unknown upload {kind}")
            pieces = body.split(b"--" + boundary.strip('"').encode())
            if len(pieces) != 4 or not pieces[3].startswith(b"--"):
                raise Refused(400, "a multipart upload has two parts")
            about, body = (piece[2:-2].split(b"\r\n\r\n", 1)[1] for piece in pieces[1:3])
            json.loads(about)
        self.answer(200, self.store(name, query.get("ifGenerationMatch"), body))

    def check(self, name, wanted):
        if wanted is not None and int(wanted) != OBJECTS.get(name, (0,))[0]:
            raise Refused(412, "conditionNotMet")

    def store(self, name, wanted, body):
        with LOCK:
            self.check(name, wanted)
            OBJECTS[name] = (next(GENERATIONS), body)
            return resource(name)

    def resume(self, query, body):
        """A chunk of an upload, the question how much there is, or its end: "bytes A-B/TOTAL", "bytes */TOTAL"."""
        number = query.get("upload_id", "")
        with LOCK:
            if number not in UPLOADS:
                raise Refused(410 if number.isdigit() else 400, "no such upload")
            name, wanted, have = UPLOADS[number]
        if self.command == "DELETE":
            UPLOADS.pop(number, None)
            return self.answer(499)
        unit, _, span = self.headers.get("Content-Range", "").partition(" ")
        place, _, total = span.partition("/")
        if unit != "bytes" or not (total == "*" or total.isdigit()):
            raise Refused(400, f"unknown range {unit} {span}")
        if place != "*":
            first, last = (int(number) for number in place.split("-"))
            if first > len(have) or last - first + 1 != len(body):
                raise Refused(400, f"{span} does not follow {len(have)} bytes")
            have = have[:first] + body
            if total == "*" and len(body) % (256 << 10):
                raise Refused(400, "a chunk is a multiple of 256 KiB")
            UPLOADS[number] = (name, wanted, have)
        if total.isdigit() and int(total) == len(have) and (place != "*" or have == b""):
            made = self.store(name, wanted, have)
            UPLOADS.pop(number, None)
            return self.answer(200, made)
        return self.answer(308, headers=[("Range", f"bytes=0-{len(have) - 1}")] if have else [])

    def get(self, name, query):
        with LOCK:
            if name not in OBJECTS:
                raise Refused(404, "No such object")
            (generation, data), about = OBJECTS[name], resource(name)
        if query.get("alt") != "media":
            return self.answer(200, about)
        given, headers = self.headers.get("Range"), [("ETag", about["etag"]), ("x-goog-generation", str(generation))]
        if given is None:
            return self.answer(200, data, about["contentType"], headers)
        unit, _, span = given.partition("=")
        first, _, last = span.partition("-")
        if unit != "bytes" or not first.isdigit():
            raise Refused(400, f"unknown range {given}")
        if int(first) >= len(data):
            raise Refused(416, "requestedRangeNotSatisfiable")
        last = min(int(last), len(data) - 1) if last else len(data) - 1
        headers.append(("Content-Range", f"bytes {first}-{last}/{len(data)}"))
        self.answer(206, data[int(first) : last + 1], about["contentType"], headers)

    def list(self, query):
        prefix, after = query.get("prefix", ""), query.get("pageToken")
        delimiter, most = query.get("delimiter"), min(int(query.get("maxResults", MOST_LISTED)), MOST_LISTED)
        with LOCK:
            names = sorted(name for name in OBJECTS if name.startswith(prefix) and (after is None or name > after))
            found = {"kind": "storage#objects", "items": [], "prefixes": []}
            for name in names:
                rest = name[len(prefix) :]
                if delimiter and delimiter in rest:
                    folder = prefix + rest[: rest.index(delimiter) + 1]
                    if folder not in found["prefixes"]:
                        found["prefixes"].append(folder)
                else:
                    found["items"].append(resource(name))
                if len(found["items"]) + len(found["prefixes"]) == most and name != names[-1]:
                    found["nextPageToken"] = name
                    break
        self.answer(200, {name: value for name, value in found.items() if value})

    def batch(self, body):
        kind = self.headers.get("Content-Type", "")
        if not kind.startswith("multipart/mixed; boundary="):
            raise Refused(400, f"unknown batch {kind}")
        boundary = b"--" + kind.split("boundary=")[1].strip('"').encode()
        answers, calls = [], [part for part in body.split(boundary)[1:] if not part.startswith(b"--")]
        if len(calls) > 100:
            raise Refused(400, "a batch has at most 100 calls")
        for call in calls:
            outer, inner = call.strip().split(b"\r\n\r\n", 1)
            number = next(line.split(b":")[1].strip() for line in outer.split(b"\r\n") if line.lower().startswith(b"content-id"))
            method, path = inner.split(b"\r\n")[0].decode().split(" ")[:2]
            at = path.find(f"/storage/v1/b/{BUCKET}/o/")
            status, reason, text = "204", "No Content", b""
            try:
                if method != "DELETE" or at < 0:
                    raise Refused(400, f"unknown call {method} {path}")
                delete(unquote(path[at:].split("/o/", 1)[1]))
            except Refused as refused:
                status, reason = str(refused.status), refused.reason
                text = json.dumps({"error": {"code": refused.status, "message": reason}}).encode()
            head = f"Content-Type: application/http\r\nContent-ID: response-{number.decode()}\r\n\r\nHTTP/1.1 {status} {reason}\r\n"
            answers.append(head.encode() + b"Content-Length: %d\r\n\r\n" % len(text) + text)
        text = b"".join(b"--answers\r\n" + answer + b"\r\n" for answer in answers) + b"--answers--\r\n"
        self.answer(200, text, "multipart/mixed; boundary=answers")


ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
