"""A web server that is also a bucket: it serves files with ETags and modification times."""

import hashlib
import http.server
import re
import threading
from contextlib import contextmanager
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape


class Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.answer(has_body=False)

    def do_GET(self):
        self.answer(has_body=True)

    def answer(self, *, has_body):
        path, _, query = self.path.partition("?")
        path, asked_for = unquote(path), parse_qs(query)
        self.server.asked.append((self.command, self.path, self.headers.get("Authorization")))
        content = self.server.files.get(path)
        if "list-type" in asked_for:
            content = self.listing(path.strip("/"), *asked_for.get("prefix", [""]))
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        self.send_response(404 if content is None else 206 if asked else 200)
        content = whole = content or b""
        if asked:
            first, last = int(asked[1]), min(int(asked[2] or len(whole)), len(whole) - 1)
            content = whole[first : last + 1]
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(whole)}")
        self.send_header("Content-Length", str(len(content)))
        if self.server.has_stamps:
            self.send_header("ETag", f'"{hashlib.sha256(whole).hexdigest()}"')
            self.send_header("Last-Modified", self.server.modified)
        self.end_headers()
        if has_body:
            self.wfile.write(content)

    def listing(self, bucket, prefix):
        """Return the answer to ListObjectsV2, for all folders below."""
        found = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(content)}</Size>"
            "<LastModified>2015-10-21T07:28:00.000Z</LastModified></Contents>"
            for path, content in sorted(self.server.files.items())
            for key in [path.removeprefix(f"/{bucket}/")]
            if key != path and key.startswith(prefix)
        )
        return (
            f"<ListBucketResult><Name>{bucket}</Name><IsTruncated>false</IsTruncated>{found}"
            "</ListBucketResult>"
        ).encode()

    def log_message(self, *_):
        pass


@contextmanager
def serve(**files):
    """Serve files by their paths; yield the server."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files, server.asked, server.has_stamps = files, [], True
    server.modified = "Wed, 21 Oct 2015 07:28:00 GMT"
    server.host = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def bucket_address(server, name, user="AKEY:SECRETPART@"):
    """Return the address of a file for pyarrow's client of S3."""
    where = f"endpoint_override={server.host}&scheme=http&region=us-east-1"
    return f"s3://{user}{name}?{where}"
