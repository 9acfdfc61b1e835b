"""Tests python-socketio, an independent client, against the kitchen-sink: over polling, WebSocket and the upgrade."""

import asyncio
import os
import pathlib
import socket
import subprocess
import unittest

import engineio.payload
import socketio

# By default, the client rejects poll responses with more than 16 packets, which Node.js sends as well.
engineio.payload.Payload.max_decode_packets = 10_000

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("KITCHEN_SINK", ROOT / "target" / os.environ.get("PROFILE", "release") / "kitchen-sink")
TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": ["polling", "websocket"]}
DEADLINE = 5


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def setUpModule():
    global server, url
    port = free_port()
    env = {**os.environ, "HOST": "127.0.0.1", "PORT": str(port), "PROFILES": "main"}
    server = subprocess.Popen([BINARY], env=env, stdout=subprocess.PIPE, text=True)
    for line in server.stdout:
        if line.strip() == "ready":
            break
    else:
        raise RuntimeError("the server ended early")
    url = f"http://127.0.0.1:{port}"


def tearDownModule():
    server.kill()
    server.wait()
    server.stdout.close()


class Events:
    """The events of a client, in the order of their arrival."""

    def __init__(self, client, namespace="/"):
        self.queue = asyncio.Queue()

        async def caught(event, *args):
            await self.queue.put((event, *args))

        client.on("*", caught, namespace=namespace)

    async def next(self):
        return await asyncio.wait_for(self.queue.get(), DEADLINE)


class Client(unittest.IsolatedAsyncioTestCase):
    async def connect(self, transport, namespace="/", auth=None):
        client = socketio.AsyncClient(reconnection=False)
        events = Events(client, namespace)
        self.addAsyncCleanup(client.shutdown)
        await client.connect(
            url, transports=TRANSPORTS[transport], namespaces=[namespace], auth=auth, wait_timeout=DEADLINE
        )
        return client, events

    async def call(self, client, event, *args, namespace="/"):
        return await client.call(event, args or None, namespace=namespace, timeout=DEADLINE)

    async def each(self, test):
        for transport in TRANSPORTS:
            with self.subTest(transport):
                await test(transport)

    async def test_connects_over_the_transport(self):
        async def test(transport):
            client, _ = await self.connect(transport)
            who = await self.call(client, "whoami")
            self.assertEqual(who["transport"], "polling" if transport == "polling" else "websocket")
            self.assertEqual(who["sid"], client.get_sid())
            self.assertEqual(who["protocol"], 4)

        await self.each(test)

    async def test_values_come_back_unchanged(self):
        values = ["text é€🦀", 1, -2.5, True, None, [1, [2]], {"a": {"b": []}}, b"\x00\xff", {"deep": [b"1", b"2"]}]

        async def test(transport):
            client, events = await self.connect(transport)
            answer = await self.call(client, "echo", *values)
            self.assertEqual(list(answer), values)
            await client.emit("echo", tuple(values))
            self.assertEqual(await events.next(), ("echo", *values))

        await self.each(test)

    async def test_order_and_large_messages(self):
        async def test(transport):
            client, events = await self.connect(transport)
            await client.emit("burst", 500)
            for n in range(500):
                self.assertEqual(await events.next(), ("burst", n))
            self.assertEqual(await self.call(client, "big", 500_000), "x" * 500_000)
            binary = await self.call(client, "bigbin", 500_000)
            self.assertEqual(binary, bytes(n & 255 for n in range(500_000)))

        await self.each(test)

    async def test_the_server_asks(self):
        async def test(transport):
            client, events = await self.connect(transport)
            client.on("question", lambda a, b: (a + b, "sum"))
            await client.emit("ask", ("question", 2, 3))
            self.assertEqual(await events.next(), ("ask-result", 5, "sum"))

        await self.each(test)

    async def test_namespaces_and_auth(self):
        async def test(transport):
            client, events = await self.connect(transport, "/auth", {"token": "secret"})
            self.assertEqual(await events.next(), ("welcome", {"token": "secret"}))
            self.assertEqual(await self.call(client, "echo", 1, namespace="/auth"), 1)
            for namespace, auth in [("/auth", {"token": "wrong"}), ("/no", None), ("/nowhere", None)]:
                with self.assertRaises(socketio.exceptions.ConnectionError):
                    await self.connect(transport, namespace, auth)

        await self.each(test)

    async def test_rooms(self):
        async def test(transport):
            ann, _ = await self.connect(transport)
            bob, events = await self.connect(transport)
            await self.call(bob, "join", f"room-{transport}")
            await self.call(ann, "cast", {"via": "socket", "to": [f"room-{transport}"]}, "said", "hello", b"\x01")
            self.assertEqual(await events.next(), ("said", "hello", b"\x01"))

        await self.each(test)

    async def test_ends_from_both_sides(self):
        async def test(transport):
            key = f"python-{transport}"
            watcher, _ = await self.connect(transport)
            client, _ = await self.connect(transport, "/custom", {"key": key})
            # The client drops the packets of `disconnect` while it awaits the response to an earlier POST.
            await client.eio.queue.join()
            await client.disconnect()
            records = []
            while not records:
                records = await self.call(watcher, "reasons", key)
            # On a WebSocket, the client may send its close frame before the packets that it has queued.
            reasons = {"client namespace disconnect"} | ({"transport close"} if transport != "polling" else set())
            self.assertIn(records[0]["reason"], reasons)

            client, _ = await self.connect(transport)
            gone = asyncio.get_running_loop().create_future()
            client.on("disconnect", lambda *_: gone.set_result(None))
            await client.emit("bye", True)
            await asyncio.wait_for(gone, DEADLINE)

        await self.each(test)


if __name__ == "__main__":
    unittest.main()
