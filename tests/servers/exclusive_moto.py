"""moto's server with S3's promise kept: of two who create one object at once, one wins.

moto 5.2.5 looks whether the object is there and then stores it, with nothing between two threads that do so at once. Here one
request at a time does both. The body has been read by then, so that a client that stops in the middle of one holds up nobody.

usage: exclusive_moto.py PORT
"""
import functools
import sys
import threading

from moto.s3.responses import S3Response
from moto.server import main

LOCK = threading.RLock()


def alone(handler):
    @functools.wraps(handler)
    def locked(self, *args, **kwargs):
        with LOCK:
            return handler(self, *args, **kwargs)

    return locked


for name in ["put_object", "_key_response_post"]:
    setattr(S3Response, name, alone(getattr(S3Response, name)))
main(["-p", sys.argv[1]])
