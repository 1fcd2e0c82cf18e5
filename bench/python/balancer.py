#!/usr/bin/env python3
"""A TCP load balancer as people write it in Python: asyncio streams, one thread, no dependencies.

It stands in the comparison for the balancers that evenkeel takes the place of; README.md beside
this file says what it keeps of them and what it does not. Python 3.9 or newer, nothing to install.

Two tasks carry a session, one for each direction: `await reader.read()`, `writer.write()`,
`await writer.drain()`. Everything else is done once for a connection.
"""

import argparse
import asyncio
import collections
import errno
import logging
import resource
import signal
import socket
import struct
import sys

# What is read at a time, and the limit of a StreamReader, which stops reading at twice as much.
CHUNK = 64 * 1024
# Connections that are accepted before others have their turn.
ACCEPTS_AT_A_TIME = 64
# Descriptors that are no session's: the standard streams, the loop's, the listener, the log file.
DESCRIPTORS_KEPT = 16
# How long nobody is accepted when there is no room for a session, in seconds.
ACCEPT_PAUSE = 0.1
# How long a connect may take before another backend is tried, in seconds.
CONNECT_TIMEOUT = 3.0
# How often a client that is held looks for a backend, in seconds.
HOLD_PAUSE = 0.1
# Clients whose backend is remembered; the one that has not come for longest is forgotten.
STICKY_CLIENTS_MAX = 65536
# What is no fault of the backend that was connected to.
OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}
# SO_LINGER with no time: close(2) sends a reset.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)

log = logging.getLogger("balancer")
# Response times: for the log file only.
request_log = logging.getLogger("balancer.requests")


class Reader(asyncio.StreamReader):
    """Gives all that has arrived before it tells of a reset; the plain one forgets it."""

    # Not an end of stream: what came is cut short.
    reset = False
    finished = False

    def feed_eof(self):
        self.finished = True
        super().feed_eof()

    def set_exception(self, exc):
        # A reset after the end of the stream is about the other direction.
        self.reset = not self.finished
        super().feed_eof()


class TellingReader(Reader):
    """One that is used only where response times are logged."""

    def __init__(self, tell, limit, loop):
        super().__init__(limit, loop)
        self.tell = tell

    def feed_data(self, data):
        self.tell()
        super().feed_data(data)


class Exchange:
    """Response times of one session: from the first bytes of a request to the first of its answer."""

    def __init__(self, loop):
        self.loop = loop
        self.asked_at = None
        self.backend = None

    def on_request(self):
        if self.asked_at is None:
            self.asked_at = self.loop.time()

    def on_answer(self):
        if self.asked_at is not None:
            took = (self.loop.time() - self.asked_at) * 1000
            self.asked_at = None
            who = (self.backend.host, self.backend.port)
            request_log.info("Request processed by %s | Response Time: %.2f ms", who, took)


class Backend:
    """Where sessions go."""

    def __init__(self, host, port):
        self.host = host
        self.port = port
        # Sessions, from before their connect until their end.
        self.sessions = 0
        # When it was chosen last, counted in choices.
        self.chosen_at = 0
        self.up = True

    def __str__(self):
        return endpoint(self.host, self.port)


class Pool:
    """Chooses backends; knows who is up and which client belongs where."""

    def __init__(self, backends, algorithm, sticky_key):
        self.backends = backends
        self.algorithm = algorithm
        self.sticky_key = sticky_key
        self.sticky = collections.OrderedDict()
        self.turn = 0
        self.choices = 0

    def choose(self, client, refused):
        """A backend that is up and not among `refused`, and the name of the rule that chose it."""
        there = [backend for backend in self.backends if backend.up and backend not in refused]
        if not there:
            return None, ""
        own = self.sticky.get(self.key(client)) if self.sticky_key else None
        if own in there:
            return own, "sticky"
        rule = self.algorithm
        if rule == "auto":
            fewest = there[0].sessions
            equal = all(backend.sessions == fewest for backend in there)
            rule = "round-robin" if equal else "least-connections"
        if rule == "round-robin":
            chosen = there[self.turn % len(there)]
            self.turn += 1
        else:
            # Among equals the one that has waited longest, or the first would get everything.
            chosen = min(there, key=lambda backend: (backend.sessions, backend.chosen_at))
        self.choices += 1
        chosen.chosen_at = self.choices
        return chosen, rule

    def remember(self, client, backend):
        """`client` comes back to `backend`, or stays where it had to go."""
        if self.sticky_key:
            key = self.key(client)
            self.sticky[key] = backend
            self.sticky.move_to_end(key)
            if len(self.sticky) > STICKY_CLIENTS_MAX:
                self.sticky.popitem(last=False)

    def key(self, client):
        return client[0] if self.sticky_key == "ip" else client[:2]

    def mark(self, backend, up, why):
        if backend.up != up:
            backend.up = up
            if up:
                log.info("Backend %s is up", backend)
            else:
                log.warning("Backend %s is down: %s", backend, why)


class Balancer:
    """Accepts clients and carries their sessions."""

    def __init__(self, options, pool, loop):
        self.options = options
        self.pool = pool
        self.loop = loop
        self.listener = None
        # The loop itself does not keep tasks alive.
        self.sessions = set()
        self.checks = []
        # Clients beyond that wait to be accepted: each needs a descriptor for its backend too.
        open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.sessions_max = max(1, (open_files - DESCRIPTORS_KEPT - len(pool.backends)) // 2)
        self.stopping = False
        # Asked once: a line that nobody reads must not cost anything.
        self.tells_routes = log.isEnabledFor(logging.INFO)
        self.tells_times = bool(options.log_file) and request_log.isEnabledFor(logging.INFO)

    def start(self, listener):
        self.listener = listener
        self.loop.add_reader(listener, self.accept)
        if self.options.health_check_interval > 0:
            for backend in self.pool.backends:
                self.checks.append(self.loop.create_task(self.check(backend)))

    def accept(self):
        """Not `asyncio.start_server`: without descriptors that tries 4096 times at once and logs
        each time, and it makes one task more for every connection."""
        for _ in range(ACCEPTS_AT_A_TIME):
            if len(self.sessions) >= self.sessions_max:
                self.accept_later()
                return
            try:
                client, address = self.listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning("Cannot accept: %s; raise `ulimit -n`", error)
                self.accept_later()
                return
            client.setblocking(False)
            self.sessions.add(self.loop.create_task(self.serve(client, address)))

    def accept_later(self):
        self.loop.remove_reader(self.listener)
        self.loop.call_later(ACCEPT_PAUSE, self.accept_again)

    def accept_again(self):
        if not self.stopping:
            self.loop.add_reader(self.listener, self.accept)

    async def serve(self, client_socket, address):
        """One session, from accept to close."""
        client = backend = upward = chosen = None
        exchange = Exchange(self.loop) if self.tells_times else None
        try:
            reader = self.reader(exchange and exchange.on_request)
            accepted = self.loop.connect_accepted_socket
            client = await self.streams(reader, accepted, sock=client_socket)
            chosen, backend = await self.reach(reader, address, exchange)
            if backend is None:
                log.warning("No backend for client %s", address)
                return
            upward = self.loop.create_task(copy(client[0], backend[1]))
            await copy(backend[0], client[1])
            await upward
        except OSError as error:
            log.debug("Client %s: %s", address, error)
        finally:
            if upward is not None:
                upward.cancel()
            for side in (client, backend):
                if side is not None:
                    side[1].close()
            if chosen is not None:
                chosen.sessions -= 1
            self.sessions.discard(asyncio.current_task())

    def reader(self, tell):
        return Reader(CHUNK, self.loop) if tell is None else TellingReader(tell, CHUNK, self.loop)

    async def streams(self, reader, connect, *arguments, **options):
        """`reader` and a writer for the connection that `connect` makes. asyncio sets TCP_NODELAY
        on it."""
        protocol = asyncio.StreamReaderProtocol(reader, loop=self.loop)
        transport, _ = await connect(lambda: protocol, *arguments, **options)
        return reader, asyncio.StreamWriter(transport, protocol, reader, self.loop)

    async def reach(self, client, address, exchange):
        """A backend, charged with a session, and its streams; tries the others when one fails, and
        holds the client while there is none."""
        give_up = self.loop.time() + self.options.wait_for_backend_timeout
        while True:
            refused = []
            while True:
                backend, rule = self.pool.choose(address, refused)
                if backend is None:
                    break
                streams = await self.connect(backend, exchange)
                if streams is not None:
                    self.pool.remember(address, backend)
                    if self.tells_routes:
                        log.info("Routing client %s -> %s (%s)", address, backend, rule)
                    return backend, streams
                refused.append(backend)
            left = give_up - self.loop.time()
            # A client that has only finished its request still waits for the answer.
            if left <= 0 or client.reset:
                return None, None
            await asyncio.sleep(min(left, HOLD_PAUSE))

    async def connect(self, backend, exchange):
        """The streams to `backend`, which is charged with a session; or None."""
        if exchange is not None:
            exchange.backend = backend
        streams = None
        backend.sessions += 1
        # `asyncio.wait_for` would make a task for this.
        timer = self.loop.call_later(CONNECT_TIMEOUT, asyncio.current_task().cancel)
        try:
            reader = self.reader(exchange and exchange.on_answer)
            connect = self.loop.create_connection
            streams = await self.streams(reader, connect, backend.host, backend.port)
        except asyncio.CancelledError:
            if self.stopping:
                raise
            self.on_connect_failed(backend, "no answer to a connect")
        except OSError as error:
            self.on_connect_failed(backend, error)
        finally:
            timer.cancel()
            if streams is None:
                backend.sessions -= 1
        return streams

    def on_connect_failed(self, backend, error):
        log.debug("Cannot connect to %s: %s", backend, error)
        ours = getattr(error, "errno", None) in OUT_OF_RESOURCES
        # Without checks nobody would bring it back.
        if self.options.health_check_interval > 0 and not ours:
            self.pool.mark(backend, False, error)

    async def check(self, backend):
        """Asks `backend` for a connection again and again, and nobody else meanwhile waits."""
        options = self.options
        # Before Python 3.12 `wait_for` may lose the cancellation that ends this.
        while not self.stopping:
            try:
                connect = asyncio.open_connection(backend.host, backend.port)
                _, writer = await asyncio.wait_for(connect, options.health_check_timeout)
                writer.close()
                self.pool.mark(backend, True, None)
            except asyncio.TimeoutError:
                self.pool.mark(backend, False, "no answer to a health check")
            except OSError as error:
                if error.errno not in OUT_OF_RESOURCES:
                    self.pool.mark(backend, False, error)
            await asyncio.sleep(options.health_check_interval)

    def stop(self):
        self.stopping = True
        self.loop.remove_reader(self.listener)
        self.listener.close()


async def copy(reader, writer):
    """Carries one direction to its end, and passes on how it ended."""
    try:
        while True:
            data = await reader.read(CHUNK)
            if not data:
                break
            writer.write(data)
            await writer.drain()
    except OSError:
        # Nobody is there to be written to. That side's reader ends, and with it the session.
        return
    end(reader, writer)


def end(reader, writer):
    """A FIN for an end of stream, a reset for a reset; each after all that came before it."""
    if not writer.is_closing():
        if reader.reset:
            connection = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            writer.close()
        else:
            try:
                writer.write_eof()
            except OSError:
                # It has been reset, and its own reader will say so.
                pass


async def run(options, listener):
    """Serves until a signal ends it."""
    loop = asyncio.get_running_loop()
    # A task or a callback that fails is one connection's misfortune.
    loop.set_exception_handler(lambda _, context: log.debug("%s", context))
    ended = loop.create_future()

    def on_signal():
        if not ended.done():
            ended.set_result(None)

    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, on_signal)
    pool = Pool(options.backends, options.algorithm, options.sticky_key)
    balancer = Balancer(options, pool, loop)
    balancer.start(listener)
    host, port = listener.getsockname()[:2]
    print(f"listening on {endpoint(host, port)}", flush=True)
    await ended
    balancer.stop()


def listen(host, port, backlog):
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    listener.listen(backlog)
    listener.setblocking(False)
    return listener


def endpoint(host, port):
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse(arguments):
    parser = argparse.ArgumentParser(description="A TCP load balancer.")
    parser.add_argument("--host", default="0.0.0.0", help="where to listen")
    parser.add_argument("--port", type=port_number, default=8080, help="0 lets the kernel choose")
    parser.add_argument(
        "--backends",
        type=backend_list,
        default="127.0.0.1:8881,127.0.0.1:8882",
        metavar="HOST:PORT,HOST:PORT",
    )
    parser.add_argument(
        "--algorithm", choices=["auto", "round-robin", "least-connections"], default="auto"
    )
    parser.add_argument(
        "--sticky-key",
        nargs="?",
        const="ip",
        choices=["ip", "ip-port"],
        help="clients come back to their backend; without it they do not",
    )
    parser.add_argument(
        "--health-check-interval", type=seconds, default=5.0, metavar="SECONDS", help="0: none"
    )
    parser.add_argument("--health-check-timeout", type=seconds, default=1.0, metavar="SECONDS")
    parser.add_argument(
        "--wait-for-backend-timeout",
        type=seconds,
        default=30.0,
        metavar="SECONDS",
        help="how long a client is held while no backend can be reached",
    )
    parser.add_argument("--backlog", type=at_least_one, default=4096)
    parser.add_argument(
        "--log-level", choices=["DEBUG", "INFO", "WARNING", "ERROR"], default="INFO"
    )
    parser.add_argument(
        "--log-file",
        nargs="?",
        const="load_balancer.log",
        metavar="PATH",
        help="log there too, with response times (without a value: load_balancer.log)",
    )
    return parser.parse_args(arguments)


def backend_list(text):
    backends = []
    for one in filter(None, (part.strip() for part in text.split(","))):
        host, colon, port = one.rpartition(":")
        if not (host and colon):
            raise argparse.ArgumentTypeError(f"{one!r} is not HOST:PORT")
        backends.append(Backend(host.strip("[]"), port_number(port)))
    if not backends:
        raise argparse.ArgumentTypeError("no backend is named")
    return backends


def port_number(text):
    if not (text.isdecimal() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


def seconds(text):
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time in seconds")
    return value


def at_least_one(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value


def start_logging(level, file):
    shape = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    to_stderr = logging.StreamHandler()
    handlers = [to_stderr]
    if file:
        try:
            to_file = logging.FileHandler(file)
        except OSError as error:
            sys.exit(f"cannot write {file}: {error.strerror}")
        handlers.append(to_file)
        request_log.addHandler(to_file)
    for handler in handlers:
        handler.setFormatter(shape)
        log.addHandler(handler)
    request_log.propagate = log.propagate = False
    log.setLevel(level)


def main():
    options = parse(sys.argv[1:])
    start_logging(options.log_level, options.log_file)
    # Two descriptors a session: the soft limit is often 1024.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        listener = listen(options.host, options.port, options.backlog)
    except OSError as error:
        sys.exit(f"cannot listen on {options.host}:{options.port}: {error.strerror}")
    asyncio.run(run(options, listener))


if __name__ == "__main__":
    main()
