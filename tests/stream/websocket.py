"""A WebSocket client of the standard library alone, for tests: blocking, client side."""
import base64
import os
import socket
import struct
from urllib.parse import urlsplit


class Refused(Exception):
    """The server answered the handshake with something else; `status` is its number."""

    def __init__(self, status):
        super().__init__(f"handshake answered with {status}")
        self.status = status


class WebSocket:
    def __init__(self, url, origin=None, timeout=30):
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout)
        self.buffer = b""
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = [f"GET {target} HTTP/1.1", f"Host: {parts.netloc}", "Upgrade: websocket",
                   "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                   "Sec-WebSocket-Key: " + base64.b64encode(os.urandom(16)).decode()]
        if origin:
            headers.append(f"Origin: {origin}")
        self.socket.sendall("\r\n".join(headers + ["", ""]).encode())
        while b"\r\n\r\n" not in self.buffer:
            self._fill()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        status = int(head.split()[1])
        if status != 101:
            self.close()
            raise Refused(status)

    def _fill(self):
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the server closed the connection")
        self.buffer += data

    def _take(self, count):
        while len(self.buffer) < count:
            self._fill()
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def send(self, payload, opcode=None):
        """str goes as text, bytes as binary."""
        if opcode is None:
            opcode = 1 if isinstance(payload, str) else 2
        data = payload.encode() if isinstance(payload, str) else payload
        mask = os.urandom(4)
        if len(data) < 126:
            head = struct.pack("!BB", 0x80 | opcode, 0x80 | len(data))
        elif len(data) < 65536:
            head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, len(data))
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, len(data))
        self.socket.sendall(head + mask + bytes(b ^ mask[i & 3] for i, b in enumerate(data)))

    def receive(self):
        """The next message: str or bytes. Pings are answered; a close raises."""
        message, kind = b"", None
        while True:
            first, second = self._take(2)
            opcode, length = first & 15, second & 127
            if length == 126:
                length, = struct.unpack("!H", self._take(2))
            elif length == 127:
                length, = struct.unpack("!Q", self._take(8))
            data = self._take(length)
            if opcode == 8:
                raise ConnectionError("closed by the server")
            if opcode == 9:
                self.send(data, opcode=10)
            if opcode in (9, 10):
                continue
            kind = opcode or kind
            message += data
            if first & 0x80:
                return message.decode() if kind == 1 else message

    def close(self):
        self.socket.close()
