"""A middleware that ends the connection while a file arrives, as a server does that is stopped."""

import socket
import threading

from django.http import HttpResponse

BYTES = 1 << 20
"""How much of the file is read before."""
uploads = threading.Event()
"""Whether uploads are cut: all of them, because a browser sends the file again on its own if it had
used the connection before."""


def cut(get_response):
    def respond(request):
        if request.method == "POST" and uploads.is_set():
            body = request.META["wsgi.input"]
            body.read(BYTES)
            # The server's own handle on the connection, which a request does not offer.
            body._read.__self__.raw._sock.shutdown(socket.SHUT_RDWR)
            return HttpResponse()  # which nobody receives
        return get_response(request)

    return respond
