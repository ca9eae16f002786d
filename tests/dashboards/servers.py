"""Run real servers on free ports, each in a temporary folder."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from tests.support.rig import PATIENCE_S, ROOT, free_port, wait_until

from .programs import first_line, starting

DASHBOARDS = ROOT / "deploy" / "dashboards"


class Server:
    """A process with its output in a file."""

    def __init__(self, folder, command, ready=None, output="", **options):
        self.log = Path(folder) / "server.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, **options)
        try:
            wait_until(lambda: self._is_ready(ready, output), command[0])
        except BaseException:
            self.process.kill()
            raise

    def _is_ready(self, ready, output):
        assert self.process.poll() is None, self.log.read_text()
        return output in self.log.read_text() and (ready is None or ready())

    def stop(self, signal_number=15):
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
            self.process.wait(PATIENCE_S)


def _postgres_folder():
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        pytest.skip("PostgreSQL is not installed (apt install postgresql)")
    return found[-1].parent


class Postgres:
    """A new cluster with the schema of deploy/dashboards and the default durability."""

    def __init__(self):
        programs = _postgres_folder()
        # not in pytest's folder: postgres rejects root, and its user has no access there
        self.folder = Path(tempfile.mkdtemp(prefix="epithermal-postgres-"))
        user = {}
        if os.geteuid() == 0:
            entry = pwd.getpwnam("postgres")
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
            user = {"user": entry.pw_uid, "group": entry.pw_gid, "cwd": self.folder}
        data, port = self.folder / "data", free_port()
        initdb = [programs / "initdb", "-D", data, "-U", "crns", "--auth=trust", "-E", "UTF8"]
        subprocess.run(initdb, check=True, capture_output=True, **user)
        self._command = [
            *(programs / "postgres", "-D", data, "-k", self.folder, "-p", str(port)),
            *("-c", "listen_addresses=127.0.0.1", "-c", "timezone=Europe/Berlin"),
        ]
        self._port, self._user = port, user
        self.dsn = f"host=127.0.0.1 port={port} user=crns dbname=postgres"
        self.version = first_line(programs / "postgres", "--version")
        self.start()
        self.load_schema()

    def start(self):
        with starting("PostgreSQL", self.version):
            self._server = Server(
                self.folder, self._command, ready=lambda: self._lets_in(), **self._user
            )

    def _lets_in(self):
        import psycopg

        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.dsn):
            return True
        return False

    def load_schema(self):
        """Load the schema as in its README."""
        subprocess.run(
            ["psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.dsn,
             "-f", DASHBOARDS / "postgresql" / "schema.sql"],
            check=True, capture_output=True, text=True,
        )  # fmt: skip

    @property
    def pid(self):
        return self._server.process.pid

    def rows(self, query, *values):
        """Return the rows of a query as dictionaries."""
        import psycopg
        from psycopg.rows import dict_row

        with psycopg.connect(self.dsn, row_factory=dict_row, autocommit=True) as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def stop(self):
        self._server.stop(2)  # SIGINT: without waiting for clients

    def close(self):
        self.stop()
        shutil.rmtree(self.folder)
