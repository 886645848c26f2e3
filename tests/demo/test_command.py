"""The command `streamkit` serves the demo, and says in one line what is wrong."""

from __future__ import annotations

import asyncio
import builtins
import logging
import runpy
import signal
import socket
import subprocess
import sys
from typing import Any

import pytest

from streamkit import __main__
from streamkit.demo.record import PlannedFailure
from tests.demo.support import Page
from tests.server import ROOT, Server, free_port, serving, wait_for


@pytest.fixture(scope="module")
def served() -> Any:
    with serving(["streamkit", "--port={port}"]) as server:
        yield server


class TestCommand:
    def test_says_where_it_serves(self, served: Server) -> None:
        line = f"streamkit demo on http://127.0.0.1:{served.port}/ (Ctrl+C stops it)\n"
        wait_for(lambda: served.log() == line, "the first line")

    def test_shows_commands_that_work(self, served: Server) -> None:
        commands = Page(served.fetch("/").body.decode()).sources
        assert f"curl -N http://127.0.0.1:{served.port}/lines" in commands

    @pytest.mark.parametrize(
        "path",
        [
            "/lines",
            "/tokens",
            "/drawing.png",
            "/archive.zip",
            "/answer",
            "/readings.jsonl",
            "/pictures",
        ],
    )
    def test_chunks_arrive_over_time(self, served: Server, path: str) -> None:
        with served.connect(path) as client:
            while len(client.arrivals) < 4:
                assert client.receive()
        assert client.arrivals[-1] - client.arrivals[0] > 0.01

    def test_a_client_that_leaves_leaves_no_file_open(self, served: Server) -> None:
        with served.connect("/slow-file") as client:
            client.receive_until(b"Live routes")
            assert served.fetch("/open-files").body.startswith(b"open files: 1\n")
        wait_for(
            lambda: b"open files: 0\nlast outcome: disconnect" in served.fetch("/open-files").body,
            "the end of the response",
        )

    def test_says_in_one_line_that_the_port_is_taken(self, served: Server) -> None:
        ended = run("--port", str(served.port))
        assert ended.returncode == 1
        assert ended.stdout == ""
        assert ended.stderr == (
            f"streamkit: port {served.port} on 127.0.0.1 is taken; choose another with --port\n"
        )

    def test_says_in_one_line_that_an_address_is_not_here(self) -> None:
        ended = run("--host", "192.0.2.1", "--port", "0")
        assert ended.returncode == 1
        assert ended.stderr.startswith("streamkit: can't listen on 192.0.2.1 port 0: ")
        assert ended.stderr.count("\n") == 1

    @pytest.mark.parametrize(
        ("host", "message"),
        [
            ("127.0.0.1", "streamkit: port {} on 127.0.0.1 is taken; choose another with --port"),
            ("192.0.2.1", "streamkit: can't listen on 192.0.2.1 port {}: "),
        ],
    )
    def test_ends_before_it_starts_a_server(
        self, host: str, message: str, served: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["streamkit", "--host", host, "--port", str(served.port)])
        # It runs as a program here, not as the module that was imported above.
        monkeypatch.delitem(sys.modules, "streamkit.__main__")
        with pytest.raises(SystemExit) as caught:
            runpy.run_module("streamkit", run_name="__main__")
        assert str(caught.value.code).startswith(message.format(served.port))

    def test_logs_failures_but_not_those_that_were_meant(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def log_and_return(self: Any, sockets: list[socket.socket]) -> None:
            for error in (asyncio.CancelledError(), PlannedFailure(), ValueError("boom")):
                logging.getLogger("uvicorn.error").error("failed", exc_info=error)

        monkeypatch.setattr("uvicorn.Server.run", log_and_return)
        # uvicorn's configuration would keep its records to itself.
        monkeypatch.setattr("uvicorn.Config.configure_logging", lambda self: None)
        monkeypatch.setattr(logging.getLogger("uvicorn"), "propagate", True)
        __main__.main(["--port=0"])
        [record] = caplog.records
        assert record.exc_info
        assert isinstance(record.exc_info[1], ValueError)

    @pytest.mark.parametrize("port", ["-1", "65536", "http"])
    def test_refuses_what_is_no_port(self, port: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            __main__.main([f"--port={port}"])
        assert f"a port is a number from 0 to 65535, got '{port}'" in capsys.readouterr().err

    @pytest.mark.skipif(sys.platform == "win32", reason="signals")
    def test_ctrl_c_ends_it_quietly_with_a_stream_open(self) -> None:
        with serving(["streamkit", "--port={port}"]) as server:
            with server.connect("/tokens") as client:
                client.receive_until(b"Each")
                server.process.send_signal(signal.SIGINT)
                assert server.process.wait(10) == 0
            first, *rest = server.log().splitlines()
            assert first.startswith("streamkit demo on")
            assert rest == ["shutting down: cutting 1 open streams"]

    @pytest.mark.parametrize("missing", ["uvicorn", "fastapi"])
    def test_says_what_to_install_where_a_package_is_missing(
        self, missing: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in [name for name in sys.modules if name.startswith("streamkit.demo")]:
            monkeypatch.delitem(sys.modules, name)
        hide(missing, monkeypatch)
        with pytest.raises(SystemExit) as caught:
            __main__.main(["--port", str(free_port())])
        assert caught.value.code == (
            f"streamkit: the demo needs {missing}: pip install 'streamkit[demo]'"
        )

    @pytest.mark.parametrize(
        ("host", "url"), [("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:")]
    )
    def test_serves_on_the_address_it_is_given(
        self,
        host: str,
        url: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def run_until_interrupted(self: Any, sockets: list[socket.socket]) -> None:
            assert sockets[0].getsockname()[0] == host
            raise KeyboardInterrupt

        if host == "::1" and not has_ipv6():
            pytest.skip("no IPv6 on this host")
        monkeypatch.setattr("uvicorn.Server.run", run_until_interrupted)
        __main__.main([f"--host={host}", "--port=0"])
        assert capsys.readouterr().out.startswith(f"streamkit demo on {url}")


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streamkit", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)


def hide(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make importing a module fail as if it were not installed."""
    real_import = builtins.__import__

    def refuse(name: str, *arguments: Any) -> Any:
        if name.partition(".")[0] == module:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        return real_import(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", refuse)
