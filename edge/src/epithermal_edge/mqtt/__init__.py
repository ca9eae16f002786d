"""Publish the journal's outbox to a broker, and receive signed commands.

In: stored messages, the station's health, commands from the broker. Out: messages in order, deleted
from the journal once the broker has accepted them; answers to commands.
Open `sender` first; then `delivery` (what is in flight) and `connection` (one MQTT connection).
"""
