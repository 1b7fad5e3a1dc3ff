"""A relay that acknowledges at once what a server says, and lets what it is asked wait for a while, as a network does.

s3s-fs sends the head and the body of an answer apart, and the body waits until the head is acknowledged, which systems put off for 40 ms (Nagle's
algorithm and delayed acknowledgements).

usage: quick_ack.py PORT SERVERS_PORT MILLISECONDS
"""
import socket
import sys
import threading
import time

DELAY = int(sys.argv[3]) / 1000


def relay(there, here, quick):
    while True:
        if quick:
            there.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        data = there.recv(1 << 20)
        if not data:
            break
        if DELAY and not quick:
            time.sleep(DELAY)
        here.sendall(data)
    try:
        here.shutdown(socket.SHUT_WR)
    except OSError:
        pass


listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    client, _ = listener.accept()
    server = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
    for end in (client, server):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=relay, args=(client, server, False), daemon=True).start()
    threading.Thread(target=relay, args=(server, client, True), daemon=True).start()
