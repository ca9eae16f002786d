"""Run the real Home Assistant, set up and connected to a broker by its own API."""

from __future__ import annotations

import json
import shutil
import threading
import urllib.error
import urllib.parse
import urllib.request

import pytest
from tests.support.rig import free_port

from .programs import BUILT, first_line, starting
from .servers import DASHBOARDS, Server

HASS = BUILT / "home-assistant" / "bin" / "hass"
CONFIG = """
homeassistant:
  internal_url: http://127.0.0.1:{port}
http:
  server_host: 127.0.0.1
  server_port: {port}
api:
auth:
config:
onboarding:
automation: !include automation.yaml
"""


class HomeAssistant:
    """Home Assistant in a new folder, with the automation of deploy/dashboards."""

    def __init__(self, folder, broker_port):
        if not HASS.exists():
            pytest.skip("no Home Assistant (make test-dashboards, with Python 3.13)")
        home = folder / "home-assistant"
        home.mkdir()
        shutil.copy(DASHBOARDS / "home-assistant" / "automation.yaml", home)
        port = free_port()
        (home / "configuration.yaml").write_text(CONFIG.format(port=port))
        self.url, self._token = f"http://127.0.0.1:{port}", None
        with starting("Home Assistant", first_line(HASS, "--version")):
            self._server = Server(home, [HASS, "-c", home], 280, ready=lambda: self._serves())
        self._onboard()
        self._join(broker_port)
        self.changes = []  # entity and new state of each change
        threading.Thread(target=self._listen, daemon=True).start()

    def _serves(self):
        try:
            return bool(self.call("api/onboarding"))
        except OSError:
            return False

    def _request(self, path, body, form):
        data, headers = None, {}
        if body is not None:
            data = (urllib.parse.urlencode(body) if form else json.dumps(body)).encode()
            kind = "x-www-form-urlencoded" if form else "json"
            headers["Content-Type"] = f"application/{kind}"
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        return urllib.request.Request(f"{self.url}/{path}", data, headers)

    def call(self, path, body=None, form=False):
        """Call the REST API: GET, or POST of a body."""
        with urllib.request.urlopen(self._request(path, body, form), timeout=120) as answer:
            return json.loads(answer.read())

    def _onboard(self):
        client = f"{self.url}/"
        person = {"client_id": client, "name": "Farmer", "username": "farmer", "password": "rain",
                  "language": "en"}  # fmt: skip
        code = self.call("api/onboarding/users", person)["auth_code"]
        grant = {"grant_type": "authorization_code", "code": code, "client_id": client}
        self._token = self.call("auth/token", grant, form=True)["access_token"]

    def _join(self, broker_port):
        """Add the integration MQTT, as in Settings, Devices & services."""
        flow = self.call("api/config/config_entries/flow", {"handler": "mqtt"})
        path = f"api/config/config_entries/flow/{flow['flow_id']}"
        done = self.call(path, {"broker": "127.0.0.1", "port": broker_port})
        assert done["type"] == "create_entry", done

    def _listen(self):
        request = self._request("api/stream?restrict=state_changed", None, False)
        with urllib.request.urlopen(request, timeout=600) as stream:
            for line in stream:
                if line.startswith(b"data: {"):
                    change = json.loads(line[6:])["data"]
                    state = (change["new_state"] or {}).get("state")
                    self.changes.append((change["entity_id"], state))

    def states(self):
        """Return the state of each entity by its id."""
        return {entity["entity_id"]: entity["state"] for entity in self.call("api/states")}

    def state(self, entity):
        """Return the state of an entity with its attributes; None if the entity is unknown."""
        try:
            return self.call(f"api/states/{entity}")
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return None

    def stop(self):
        self._server.stop()
