"""TLS in memory: no socket, no loop, so that whoever holds the bytes knows exactly what has left."""

from __future__ import annotations

import ssl


class Seal:
    """One TLS session: what the peer sent goes in sealed and comes out plain, and the other way round."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self.ready = False
        self.ended = False  # the peer said so itself (close_notify); a mere FIN may be anybody's
        self.error: ssl.SSLError | None = None

    def open(self, data: bytes) -> bytes:
        """Plain bytes of ``data``; never raises: a broken seal is kept in ``error``, after what was whole."""
        self._incoming.write(data)
        plain: list[bytes] = []
        try:
            if not self.ready:
                self._tls.do_handshake()
                self.ready = True
            while chunk := self._tls.read(1 << 16):
                plain.append(chunk)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLError as error:
            self.error = error
        return b"".join(plain)

    def close(self, data: bytes) -> bytes:
        """``data``, sealed; nothing if that fails, which is kept in ``error``."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._tls.write(rest) :]
        except ssl.SSLError as error:
            self.error = error
            return b""
        return self.outgoing()

    def outgoing(self) -> bytes:
        """What TLS itself wants to say: handshake, key updates, alerts."""
        return self._outgoing.read()
