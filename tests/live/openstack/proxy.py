"""A proxy between a portal and the lab that counts every call and breaks those it is told to, or some by chance.

One port for each service. The catalogue that Keystone hands out is rewritten on its way, so whoever signs in through the proxy
(`auth_url` of `clouds_yaml`) uses it for everything. Bodies are streamed both ways, images included.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Self

import h11
import httpx
from openstack.connection import Connection

from tests.live.openstack.faults import Calls, Fault, Faults, Kind, template
from tests.live.openstack.lab.identity import connect, entry
from tests.live.openstack.lab.lab import Lab
from tests.live.openstack.lab.place import Place

LISTEN = "127.0.0.1"
SERVICES = ("identity", "compute", "network", "image", "placement")
CHUNK = 65536
HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"te", b"trailer", b"upgrade", b"proxy-connection"}
START_SECONDS = 10.0


class FaultProxy:
    """The proxy; runs in a thread of its own between `start` and `stop`, or as a context.

    `seed` decides what chance does, see `by_chance`.
    """

    def __init__(self, *, lab: Lab | Place, seed: int = 0) -> None:
        self._place = lab.place if isinstance(lab, Lab) else lab
        self._faults, self._calls = Faults(seed=seed), Calls()
        self._ports: dict[str, int] = {}
        self._loop = asyncio.new_event_loop()
        self._ready, self._ended = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="fault proxy", daemon=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> Self:
        """Listen; returns at once when everything does."""
        self._thread.start()
        if not self._ready.wait(START_SECONDS):
            raise RuntimeError("The fault proxy did not start.")
        return self

    def stop(self) -> None:
        """Cut all connections and end."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ended.set)
            self._thread.join()

    def url(self, service: str) -> str:
        """Return where the proxy stands for a service."""
        return f"http://{LISTEN}:{self._ports[service]}"

    def clouds_yaml(self, name: str = "carina") -> dict[str, object]:
        """Return a cloud of clouds.yaml (one of the lab's CREDENTIALS) that goes through the proxy."""
        return entry(place=self._place, name=name, auth_url=f"{self.url('identity')}/v3")

    def connect(self, *, cloud: str = "carina") -> Connection:
        """Return openstacksdk's connection through the proxy; the caller closes it."""
        return connect(place=self._place, name=cloud, auth_url=f"{self.url('identity')}/v3")

    def fault(
        self, *, kind: Kind, service: str = "", method: str = "", path: str = "", times: int = 1, seconds: float = 1, skip: int = 0
    ) -> None:
        """Break the next `times` calls (0: all) to which everything that is given applies, after letting `skip` of them pass.

        `path` is a regular expression searched in the path without its query; `seconds` is how long a delay takes.
        """
        self._faults.add(Fault(kind=kind, service=service, method=method, path=path, times=times, seconds=seconds, skip=skip))

    def by_chance(
        self, *, rate: float, kinds: Iterable[Kind] = tuple(Kind), services: Sequence[str] = SERVICES, seconds: float = 1
    ) -> None:
        """From now on break this share (0 to 1) of the calls of these services, each in one of these ways; a rate of 0 ends it."""
        self._faults.by_chance(rate=rate, kinds=tuple(kinds), services=tuple(services), seconds=seconds)

    def clear(self) -> None:
        """Break nothing any more."""
        self._faults.clear()

    def reset(self) -> None:
        """Break nothing any more, and count from nothing."""
        self.clear()
        self._calls.clear()

    def counts(self) -> dict[tuple[str, str, str, int], tuple[int, float]]:
        """Return for each (service, method, path template, status) how many calls there were and their seconds; status 0 was cut off."""
        return self._calls.all()

    def injected(self) -> dict[Kind, int]:
        """Return how often each kind of fault happened since the last `reset`."""
        return self._calls.injected()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _serve(self) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        async with contextlib.AsyncExitStack() as stack:
            client = await stack.enter_async_context(httpx.AsyncClient(timeout=None, limits=limits, trust_env=False))  # noqa: S113 - the caller's
            tasks: set[asyncio.Task[None]] = set()
            for service in SERVICES:
                front = _Front(service=service, upstream=self._place.url(service), client=client, proxy=self, tasks=tasks)
                server = await asyncio.start_server(front.serve, LISTEN, 0)
                self._ports[service] = server.sockets[0].getsockname()[1]
                stack.callback(server.close)
            self._ready.set()
            await self._ended.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def choose(self, *, service: str, method: str, path: str) -> Fault | None:
        """Return what shall happen to a call."""
        return self._faults.choose(service=service, method=method, path=path)

    def record(self, *, service: str, method: str, path: str, status: int, seconds: float, fault: Fault | None) -> None:
        """Count a call."""
        self._calls.add(key=(service, method, template(path), status), seconds=seconds, kind=fault.kind if fault else None)

    def rewrite(self, content: bytes) -> bytes:
        """Replace the lab's addresses by the proxy's."""
        for service in SERVICES:
            content = content.replace(self._place.url(service).encode(), self.url(service).encode())
        return content


class _Cut(Exception):
    """The connection ends here, without an answer."""


class _Front:
    """One service's port."""

    def __init__(
        self, *, service: str, upstream: str, client: httpx.AsyncClient, proxy: FaultProxy, tasks: "set[asyncio.Task[None]]"
    ) -> None:
        self._service, self._upstream, self._client, self._proxy, self._tasks = service, upstream, client, proxy, tasks

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the calls of one connection, one after the other."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        wire = _Wire(reader, writer)
        try:
            while (request := await wire.request()) is not None:
                await self._call(wire, request)
                if not wire.next():
                    break
        except (_Cut, OSError, h11.ProtocolError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _call(self, wire: "_Wire", request: h11.Request) -> None:
        method, target = request.method.decode(), request.target.decode()
        path = target.split("?")[0]
        fault = self._proxy.choose(service=self._service, method=method, path=path)
        started, status = time.monotonic(), 0
        try:
            status = await self._answer(wire, request, method=method, target=target, fault=fault)
        finally:
            seconds = time.monotonic() - started
            self._proxy.record(service=self._service, method=method, path=path, status=status, seconds=seconds, fault=fault)

    async def _answer(self, wire: "_Wire", request: h11.Request, *, method: str, target: str, fault: Fault | None) -> int:
        """Do what the fault says, or pass the call on; return the status that the caller saw."""
        kind = fault.kind if fault else None
        if fault and kind is Kind.DELAY_BEFORE:
            await asyncio.sleep(fault.seconds)
        body, forwarded = wire.body(), kind not in {Kind.DROP_BEFORE, Kind.TOO_MANY, Kind.UNAVAILABLE}
        if not forwarded or not _has_body(request):
            async for _ in body:
                pass  # to its end, also of one that is refused: another request may follow on the connection
        if kind is Kind.DROP_BEFORE:
            raise _Cut
        if not forwarded:
            return await wire.say(429 if kind is Kind.TOO_MANY else 503)
        headers = [(name, value) for name, value in request.headers if name not in HOP_BY_HOP]
        content = body if _has_body(request) else None
        upstream = self._client.build_request(method, self._upstream + target, headers=headers, content=content)
        try:
            response = await self._client.send(upstream, stream=True)
        except httpx.TransportError:
            return await wire.say(503)  # as a load balancer answers for a service that is down
        try:
            return await self._pass_on(wire, response, fault)
        finally:
            await response.aclose()

    async def _pass_on(self, wire: "_Wire", response: httpx.Response, fault: Fault | None) -> int:
        if fault and fault.kind in {Kind.DROP_AFTER, Kind.TIMEOUT_AFTER}:
            async for _ in response.aiter_raw():
                pass
            if fault.kind is Kind.DROP_AFTER:
                raise _Cut
            return await wire.say(504)
        if fault and fault.kind is Kind.DELAY_AFTER:
            await asyncio.sleep(fault.seconds)
        if self._service == "identity":
            return await wire.pass_on(response, _each([self._proxy.rewrite(await response.aread())]), resized=True)
        return await wire.pass_on(response, response.aiter_raw())


class _Wire:
    """HTTP/1.1 towards a client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._state = h11.Connection(h11.SERVER)

    async def request(self) -> h11.Request | None:
        """Return the next request's head, or None when the client has gone."""
        event = await self._event()
        return event if isinstance(event, h11.Request) else None

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the request's body."""
        if self._state.they_are_waiting_for_100_continue:
            await self._send(h11.InformationalResponse(status_code=100, headers=[]))
        while isinstance(event := await self._event(), h11.Data):
            yield bytes(event.data)

    async def say(self, status: int) -> int:
        """Answer with a status and a sentence that names its source."""
        text = b'{"error": {"message": "broken by the fault proxy", "code": %d}}' % status
        headers = [("content-type", "application/json"), ("content-length", str(len(text)))]
        await self._send(h11.Response(status_code=status, headers=headers))
        await self._send(h11.Data(data=text))
        await self._send(h11.EndOfMessage())
        return status

    async def pass_on(self, response: httpx.Response, content: AsyncIterator[bytes], *, resized: bool = False) -> int:
        """Send a response on; `resized` says that the content is no longer what its headers say."""
        dropped = HOP_BY_HOP | ({b"content-length", b"content-encoding"} if resized else set())
        headers = [(name, value) for name, value in response.headers.raw if name.lower() not in dropped]
        await self._send(h11.Response(status_code=response.status_code, headers=headers, reason=response.reason_phrase.encode()))
        bare = response.request.method == "HEAD" or response.status_code in {204, 304}
        async for chunk in content:
            if chunk and not bare:
                await self._send(h11.Data(data=chunk))
        await self._send(h11.EndOfMessage())
        return response.status_code

    def next(self) -> bool:
        """Whether the connection can carry another request."""
        if self._state.our_state is h11.DONE and self._state.their_state is h11.DONE:
            self._state.start_next_cycle()
            return True
        return False

    async def _event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while (event := self._state.next_event()) is h11.NEED_DATA:
            self._state.receive_data(await self._reader.read(CHUNK))
        return event

    async def _send(self, event: h11.Event) -> None:
        data = self._state.send(event)
        if data:
            self._writer.write(data)
            await self._writer.drain()


async def _each(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def _has_body(request: h11.Request) -> bool:
    return any(name == b"transfer-encoding" or (name == b"content-length" and value != b"0") for name, value in request.headers)
