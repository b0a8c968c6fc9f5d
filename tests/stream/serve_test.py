#!/usr/bin/env python3
"""The live page of attn-stream: its protocol, who may use it, slow and hostile viewers,
and the page itself in a real Chromium where one is installed (skipped, visibly, elsewhere).

    serve_test.py ATTN_STREAM MAKE_TINY_STREAM [--screenshots FOLDER]
"""
import argparse
import http.client
import json
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from websocket import Refused, WebSocket  # noqa: E402

OPTIONS = None


class Served:
    """attn-stream --serve as a process; `folder` holds the tiny model."""

    def __init__(self, folder, *arguments):
        command = [OPTIONS.attn_stream, str(folder / "step.onnx"), "--reference-attention",
                   "--serve", "0", "--frames", "0", *arguments]
        if OPTIONS.model:
            command[1:3] = OPTIONS.model
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.url = None
        for line in self.process.stderr:
            found = re.search(r"live at (\S+)", line)
            if found:
                self.url = found.group(1)
                break
        assert self.url, "attn-stream printed no address"
        self.port = int(re.search(r":(\d+)/", self.url).group(1))

    def connect(self, query="", origin=None):
        return WebSocket(f"ws://127.0.0.1:{self.port}/ws{query}", origin)

    def get(self, path, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, body

    def state(self):
        return json.loads(self.get("/state.json")[1])

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        with self.process.stderr as text:
            text.read()
        return self.process.wait(60)


def states(viewer):
    """The states that a viewer is sent, errors too, frames left out."""
    while True:
        message = viewer.receive()
        if isinstance(message, str):
            yield json.loads(message)


def first(viewer, wanted, what, seconds=60):
    end = time.monotonic() + seconds
    for message in states(viewer):
        if wanted(message):
            return message
        if time.monotonic() > end:
            raise AssertionError(f"no {what} within {seconds} s; last: {message}")


class ServeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp())
        subprocess.run([OPTIONS.make_tiny_stream, str(cls.folder)], check=True,
                       stdout=subprocess.DEVNULL)
        words = (cls.folder / "vocab.txt").read_text().split()
        cls.words = words
        cls.served = Served(cls.folder)
        state = cls.wait_for_frame(cls.served)
        cls.first_prompt = state["prompt"]
        count = len(cls.first_prompt.split())
        cls.prompts = [" ".join(words[(i + j) % len(words)] for j in range(count))
                       for i in range(1, 4)]

    @classmethod
    def tearDownClass(cls):
        code = cls.served.stop()
        shutil.rmtree(cls.folder)
        assert code == 0, f"attn-stream ended with {code}"

    @staticmethod
    def wait_for_frame(served):
        for _ in range(600):
            state = served.state()
            if state.get("frame"):
                return state
            time.sleep(0.05)
        raise AssertionError("no frame was made")

    def test_frames_are_numbered_jpeg_pictures(self):
        viewer = self.served.connect()
        numbers = []
        while len(numbers) < 5:
            message = viewer.receive()
            if isinstance(message, bytes):
                numbers.append(int.from_bytes(message[:8], "little"))
                self.assertEqual(message[8:11], b"\xff\xd8\xff")
                self.assertEqual(message[-2:], b"\xff\xd9")
        self.assertEqual(numbers, sorted(set(numbers)))
        viewer.close()

    def test_multipart_stream(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.served.port}/stream.mjpg") as stream:
            self.assertIn("multipart/x-mixed-replace", stream.headers["Content-Type"])
            data = stream.read(4000)
        self.assertGreaterEqual(data.count(b"--frame\r\n"), 2)

    def test_prompt_now_and_at_a_frame(self):
        viewer = self.served.connect()
        viewer.send(json.dumps({"type": "prompt", "text": self.prompts[0]}))
        first(viewer, lambda m: m.get("prompt") == self.prompts[0], "switch")
        at = self.served.state()["frame"] + 30
        viewer.send(json.dumps({"type": "prompt", "text": self.prompts[1], "frame": at,
                                "recache": "flush"}))
        first(viewer, lambda m: [self.prompts[1], at] in
              [[p["text"], p["frame"]] for p in m.get("pending", [])], "pending prompt")
        switched = first(viewer, lambda m: m.get("prompt") == self.prompts[1], "switch")
        self.assertGreaterEqual(switched["frame"] - switched["frames_per_block"], at)
        self.assertEqual(switched["prompt_frame"], switched["frame"] - switched["frames_per_block"])
        self.assertEqual(switched["pending"], [])
        # Flushed: nothing older than the switch is kept.
        self.assertGreaterEqual(min(switched["sinks"] + switched["window"]), at)
        viewer.close()

    def test_mixed_prompts(self):
        viewer = self.served.connect()
        a, b = self.prompts[:2]
        viewer.send(json.dumps({"type": "prompt", "parts": [{"text": a, "weight": 3},
                                                            {"text": b}]}))
        mixed = f"{a}:0.75 | {b}:0.25"
        first(viewer, lambda m: m.get("prompt") == mixed, "mixed prompt")
        # What the state says may be sent back as a text; the same prompt is no switch.
        viewer.send(json.dumps({"type": "prompt", "text": self.prompts[2]}))
        first(viewer, lambda m: m.get("prompt") == self.prompts[2], "switch")
        viewer.send(json.dumps({"type": "prompt", "text": mixed}))
        first(viewer, lambda m: m.get("prompt") == mixed, "mixed prompt again")
        viewer.close()

    def test_pause_step_resume(self):
        viewer = self.served.connect()
        viewer.send('{"type": "pause"}')
        first(viewer, lambda m: m.get("paused"), "pause")
        time.sleep(0.5)  # the block in the making ends
        held = self.served.state()["frame"]
        time.sleep(0.3)
        self.assertEqual(self.served.state()["frame"], held)
        viewer.send('{"type": "step"}')
        stepped = first(viewer, lambda m: m.get("frame", 0) > held, "step")
        self.assertEqual(stepped["frame"], held + stepped["frames_per_block"])
        viewer.send('{"type": "resume"}')
        first(viewer, lambda m: m.get("frame", 0) > held + 5, "resumed stream")
        viewer.send('{"type": "step"}')
        error = first(viewer, lambda m: m["type"] == "error", "error")
        self.assertIn("paused", error["message"])
        viewer.close()

    def test_seed(self):
        viewer = self.served.connect()
        viewer.send('{"type": "seed", "seed": 123456789}')
        first(viewer, lambda m: m.get("seed") == 123456789, "seed")
        viewer.close()

    def test_bad_messages_are_answered_and_the_stream_lives(self):
        viewer = self.served.connect()
        for text, part in [("{", "JSON object"), ("[]", "JSON object"), ("{}", "JSON object"),
                           ('{"type": "launch"}', "unknown type"),
                           ('{"type": "prompt"}', "needs a text"),
                           ('{"type": "prompt", "text": ""}', "1 to 1000"),
                           ('{"type": "prompt", "text": "xyzzy nonsense"}', "xyzzy"),
                           (json.dumps({"type": "prompt", "text": self.prompts[0], "frame": -1}),
                            "whole number"),
                           (json.dumps({"type": "prompt", "text": self.prompts[0], "frame": 1.5}),
                            "whole number"),
                           (json.dumps({"type": "prompt", "text": self.prompts[0], "recache": "x"}),
                            "full, window, stale or flush"),
                           (json.dumps({"type": "prompt", "parts": []}), "a list of 1 to 8"),
                           (json.dumps({"type": "prompt", "parts": ["x"]}), "must have a text"),
                           (json.dumps({"type": "prompt", "parts": [{"text": self.prompts[0],
                                                                     "size": 1}]}),
                            "may have a weight"),
                           (json.dumps({"type": "prompt", "parts": [{"text": self.prompts[0],
                                                                     "weight": "1"}]}),
                            "weight must be a number from 0 to 1000"),
                           (json.dumps({"type": "prompt", "parts": [{"text": self.prompts[0],
                                                                     "weight": -1}]}),
                            "has weight -1; give a number from 0 to 1000"),
                           (json.dumps({"type": "prompt", "parts": [{"text": self.prompts[0],
                                                                     "weight": 0}]}),
                            "have weight 0"),
                           (json.dumps({"type": "prompt", "text": self.prompts[0],
                                        "parts": [{"text": self.prompts[0]}]}), "not both"),
                           (json.dumps({"type": "prompt", "text": self.prompts[0] + " | "}),
                            "part 2 of the prompt"),
                           ('{"type": "pause", "for": 3}', "unknown member"),
                           ('{"type": "seed"}', "needs a number"),
                           ("[" * 200 + "]" * 200, "JSON object")]:
            viewer.send(text)
            error = first(viewer, lambda m: m["type"] == "error", f"error for {text[:40]}")
            self.assertIn(part, error["message"])
        before = self.served.state()["frame"]
        first(viewer, lambda m: m.get("frame", 0) > before, "next block")
        viewer.close()

    def test_oversized_message_closes_that_viewer_alone(self):
        hostile, other = self.served.connect(), self.served.connect()
        hostile.send('{"type": "prompt", "text": "' + "x" * 100000 + '"}')
        with self.assertRaises(ConnectionError):
            for _ in range(1000):
                hostile.receive()
        hostile.close()
        before = self.served.state()["frame"]
        first(other, lambda m: m.get("frame", 0) > before, "next block")
        other.close()

    def test_foreign_pages_are_refused(self):
        with self.assertRaises(Refused) as refused:
            self.served.connect(origin="http://example.org")
        self.assertEqual(refused.exception.status, 403)
        self.assertEqual(self.served.get("/", Host="example.org")[0], 403)
        self.served.connect(origin=f"http://127.0.0.1:{self.served.port}").close()

    def test_http_errors(self):
        self.assertEqual(self.served.get("/nothing")[0], 404)
        self.assertEqual(self.served.get("/ws")[0], 426)
        self.assertEqual(self.served.get("/", Padding="x" * 20000)[0], 431)
        connection = http.client.HTTPConnection("127.0.0.1", self.served.port, timeout=30)
        connection.request("POST", "/", body=b"hello")
        self.assertIn(connection.getresponse().status, (405, 413))
        connection.close()
        with socket.create_connection(("127.0.0.1", self.served.port)) as raw:
            raw.sendall(b"\x00\xff not http at all\r\n\r\n")
            raw.settimeout(30)
            while raw.recv(4096):
                pass

    def test_slow_viewer_misses_frames_and_holds_nobody_up(self):
        slow = self.served.connect()  # never reads
        quick = self.served.connect()
        before = self.served.state()["frame"]
        first(quick, lambda m: m.get("frame", 0) > before + 20, "20 more frames")
        memory = pathlib.Path(f"/proc/{self.served.process.pid}/statm")
        if memory.exists():
            pages = int(memory.read_text().split()[1])
            now = self.served.state()["frame"]
            first(quick, lambda m: m.get("frame", 0) > now + 60, "60 more frames")
            self.assertLess(int(memory.read_text().split()[1]) - pages, 2048)
        slow.close()
        quick.close()


class TokenTest(unittest.TestCase):
    def test_token_is_asked_for_off_loopback(self):
        folder = pathlib.Path(tempfile.mkdtemp())
        subprocess.run([OPTIONS.make_tiny_stream, str(folder)], check=True,
                       stdout=subprocess.DEVNULL)
        served = Served(folder, "--bind", "0.0.0.0")
        token = re.search(r"\?token=([0-9a-f]{32})$", served.url).group(1)
        self.assertEqual(served.get("/")[0], 403)
        self.assertEqual(served.get("/?token=" + token[:-1] + "x")[0], 403)
        self.assertEqual(served.get("/?token=" + token)[0], 200)
        self.assertEqual(served.get("/state.json", Cookie=f"a=b; attn_token={token}")[0], 200)
        with self.assertRaises(Refused):
            served.connect()
        served.connect("?token=" + token).close()
        self.assertEqual(served.stop(), 0)
        shutil.rmtree(folder)

    def test_taken_port_is_an_environment_error(self):
        folder = pathlib.Path(tempfile.mkdtemp())
        subprocess.run([OPTIONS.make_tiny_stream, str(folder)], check=True,
                       stdout=subprocess.DEVNULL)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            run = subprocess.run([OPTIONS.attn_stream, str(folder / "step.onnx"),
                                  "--reference-attention", "--serve",
                                  str(taken.getsockname()[1])], capture_output=True, text=True,
                                 timeout=60)
        self.assertEqual(run.returncode, 3)
        self.assertIn("choose another port with --serve", run.stderr)
        shutil.rmtree(folder)


class Chromium:
    """A headless Chromium, steered through its debugging socket."""

    def __init__(self, path):
        self.profile = tempfile.mkdtemp()
        self.process = subprocess.Popen(
            [path, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--remote-debugging-port=0", "--remote-allow-origins=*",
             f"--user-data-dir={self.profile}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port_file = pathlib.Path(self.profile, "DevToolsActivePort")
        for _ in range(1200):
            if port_file.exists() and "\n" in port_file.read_text():
                break
            time.sleep(0.1)
        port = port_file.read_text().split()[0]
        pages = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json"))
        page = next(p for p in pages if p["type"] == "page")
        self.socket = WebSocket(page["webSocketDebuggerUrl"], timeout=180)
        self.count = 0
        self.errors = []
        self.call("Runtime.enable")
        self.call("Log.enable")
        self.call("Page.enable")

    def call(self, method, **parameters):
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.receive())
            if message.get("method") == "Runtime.exceptionThrown":
                self.errors.append(message["params"]["exceptionDetails"])
            if message.get("method") == "Log.entryAdded" and \
                    message["params"]["entry"]["level"] == "error":
                self.errors.append(message["params"]["entry"]["text"])
            if message.get("id") == self.count:
                assert "error" not in message, message
                return message["result"]

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True,
                           returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, expression, seconds=60):
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"never true: {expression}"
            time.sleep(0.2)

    def key(self, key, code, text=""):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code,
                      **({"text": text} if text and kind == "keyDown" else {}))

    def screenshot(self, name, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=width < 600)
        time.sleep(0.5)
        if OPTIONS.screenshots:
            import base64
            data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
            OPTIONS.screenshots.mkdir(parents=True, exist_ok=True)
            (OPTIONS.screenshots / name).write_bytes(base64.b64decode(data))

    def close(self):
        self.socket.close()
        self.process.terminate()
        self.process.wait(30)
        shutil.rmtree(self.profile, ignore_errors=True)


class PageTest(unittest.TestCase):
    """The page as a person uses it, by keyboard alone."""

    def test_page(self):
        path = shutil.which("chromium") or shutil.which("google-chrome")
        if not path:
            self.skipTest("no Chromium is installed")
        folder = pathlib.Path(tempfile.mkdtemp())
        subprocess.run([OPTIONS.make_tiny_stream, str(folder)], check=True,
                       stdout=subprocess.DEVNULL)
        served = Served(folder)
        state = ServeTest.wait_for_frame(served)
        if OPTIONS.model:
            words = (pathlib.Path(OPTIONS.model[0]).parent / "vocab.txt").read_text().split()
            prompt = "blue square right"
        else:
            words = (folder / "vocab.txt").read_text().split()
            prompt = " ".join(words[1:1 + len(state["prompt"].split())])
        self.assertTrue(set(prompt.split()) <= set(words))
        browser = Chromium(path)
        try:
            browser.call("Page.navigate", url=served.url)
            browser.wait("document.getElementById('status')?.textContent === 'live'")
            browser.wait("document.getElementById('position').textContent.startsWith('frame')")
            # The picture is drawn, and moves on.
            pixels = "document.getElementById('frame').toDataURL()"
            before = browser.evaluate(pixels)
            browser.wait(f"{pixels} !== {json.dumps(before)}")
            # Type a prompt and press Enter.
            browser.evaluate("document.getElementById('prompt').focus()")
            browser.call("Input.insertText", text=prompt)
            browser.key("Enter", 13, "\r")
            browser.wait(f"document.querySelector('#prompts button')?.textContent === "
                         f"{json.dumps(prompt)}")
            # A prompt that the model does not know is refused where it was typed.
            browser.evaluate("document.getElementById('prompt').value = ''")
            browser.call("Input.insertText", text="xyzzy")
            browser.key("Enter", 13, "\r")
            browser.wait("document.getElementById('prompt-error').textContent.includes('xyzzy')")
            # Mix it with another one, by keyboard: the arrows move the weight.
            browser.evaluate(f"document.getElementById('prompt').value = {json.dumps(prompt)}")
            browser.evaluate("document.getElementById('add').focus()")
            browser.key(" ", 32, " ")
            browser.wait("document.activeElement.getAttribute('aria-label') === 'prompt 2'")
            browser.call("Input.insertText", text=state["prompt"])
            browser.evaluate("document.querySelector('#parts [type=range]').focus()")
            for _ in range(5):
                browser.key("ArrowLeft", 37)
            self.assertEqual(browser.evaluate("document.querySelector('#parts output').textContent"),
                             "25")
            browser.evaluate("document.querySelector('#parts [type=text]').focus()")
            browser.key("Enter", 13, "\r")
            mixed = f"{prompt}:0.8 | {state['prompt']}:0.2"
            browser.wait(f"document.querySelector('#prompts button')?.textContent === "
                         f"{json.dumps(mixed)}")
            # Pause with the space bar; step is enabled then.
            browser.evaluate("document.getElementById('pause').focus()")
            browser.key(" ", 32, " ")
            browser.wait("!document.getElementById('step').disabled")
            self.assertEqual(
                browser.evaluate("document.getElementById('pause').getAttribute('aria-pressed')"),
                "true")
            browser.key(" ", 32, " ")
            browser.wait("document.getElementById('step').disabled")
            # Every control has a name; what is shown says in words what it shows.
            unnamed = browser.evaluate(
                "[...document.querySelectorAll('input, select, button')].filter(e => "
                "!(e.labels?.length || e.textContent.trim() || e.getAttribute('aria-label')))"
                ".map(e => e.outerHTML)")
            self.assertEqual(unnamed, [])
            browser.screenshot("page-mix.png", 1200, 900)
            self.assertIn(prompt, browser.evaluate(
                "document.getElementById('frame').getAttribute('aria-label')"))
            self.assertIn("ring frames", browser.evaluate(
                "document.getElementById('cache').getAttribute('aria-label')"))
            time.sleep(3 if OPTIONS.screenshots else 0)
            browser.screenshot("page-wide.png", 1200, 900)
            browser.screenshot("page-phone.png", 360, 740)
            # On a phone's width nothing has to be scrolled sideways.
            self.assertLessEqual(browser.evaluate("document.documentElement.scrollWidth"), 360)
            self.assertEqual(browser.errors, [])
            # A server that goes away is reported.
            self.assertEqual(served.stop(), 0)
            browser.wait("document.getElementById('status').classList.contains('lost')")
        finally:
            browser.close()
            if served.process.poll() is None:
                served.stop()
            shutil.rmtree(folder)


def main():
    global OPTIONS
    parser = argparse.ArgumentParser()
    parser.add_argument("attn_stream")
    parser.add_argument("make_tiny_stream")
    parser.add_argument("--screenshots", type=pathlib.Path)
    parser.add_argument("--model", nargs=2, metavar=("MODEL.onnx", "BUNDLE"),
                        help="another model for the page's test")
    OPTIONS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)


if __name__ == "__main__":
    main()
