"""A broker of MQTT, Debian's mosquitto, and another program at it."""

import importlib
import json
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.serving.receiver import PATIENCE_S
from tests.support.serving.servers import free_port

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


def require_broker() -> None:
    """Skip where there is none."""
    pytest.importorskip("paho.mqtt.client", reason="needs paho-mqtt: pip install 'spikesight[mqtt]'")
    if MOSQUITTO is None:
        pytest.skip("needs a broker: apt install mosquitto")


class Broker:
    """Debian's mosquitto."""

    def __init__(self, folder: Path) -> None:
        assert MOSQUITTO is not None
        self.port = free_port()
        self._command = [MOSQUITTO, "-c", str(folder / "broker.conf")]
        rules = f"listener {self.port} 127.0.0.1", "allow_anonymous true", "user root", "log_dest stderr"
        (folder / "broker.conf").write_text("\n".join(rules) + "\n")

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        said = []
        for line in self._process.stderr:
            said.append(line)
            if "running" in line:
                threading.Thread(target=self._process.stderr.read, daemon=True).start()
                return
        pytest.fail(f"mosquitto did not start: {''.join(said)}")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE_S)
        assert self._process.stderr is not None
        self._process.stderr.close()


class Subscriber:
    """Another program at the broker."""

    def __init__(self, port: int, topic: str) -> None:
        mqtt: Any = importlib.import_module("paho.mqtt.client")
        self.came: list[dict[str, Any]] = []
        subscribed = threading.Event()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        self.client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        self.client.on_subscribe = lambda *_: subscribed.set()
        self.client.on_message = lambda _client, _userdata, message: self.came.append(json.loads(message.payload))
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert subscribed.wait(PATIENCE_S)

    def distinct(self) -> list[dict[str, Any]]:
        """The messages that came, each at its last copy."""
        return list({message["id"]: message for message in self.came}.values())

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
